// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupts as the guest's kernel counts them: what shows that polled I/O was polled, whoever's
//! the device is. A polled queue has no vector: its completions are found by looking, or never.

/// Where the kernel tells.
pub const FILE: &str = "/proc/interrupts";

/// The names of `nvme0`'s interrupts, a queue identifier behind each.
const QUEUE: &str = "nvme0q";

/// Interrupts that all processors took so far on vectors of `nvme0`'s I/O queues; `None` when the
/// kernel lists none. The admin queue is not an I/O queue, and a vector that it shares with one
/// counts as the latter's.
pub fn of_io_queues(text: &str) -> Option<u64> {
    let mut total = None;
    for line in text.lines() {
        let Some((_, rest)) = line.split_once(':') else {
            continue;
        };
        let is_io = rest
            .split([' ', ','])
            .filter_map(|word| word.strip_prefix(QUEUE))
            .any(|qid| qid != "0");
        if is_io {
            let counts = rest
                .split_whitespace()
                .map_while(|word| word.parse::<u64>().ok());
            *total.get_or_insert(0) += counts.sum::<u64>();
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_CPUS: &str = "\
            CPU0       CPU1
   4:        912          0   IO-APIC   4-edge      ttyS0
  24:          0         31   PCI-MSIX-0000:00:02.0   0-edge      nvme0q0
  25:       1500          2   PCI-MSIX-0000:00:02.0   1-edge      nvme0q1
 NMI:          0          0   Non-maskable interrupts
";

    #[test]
    fn of_io_queues_all_processors_are_counted_and_the_admin_queue_is_not() {
        assert_eq!(of_io_queues(TWO_CPUS), Some(1502));
    }

    #[test]
    fn of_io_queues_shared_vector_is_counted_once() {
        let text = "  9:  7  UML MSI  nvme0q0, nvme0q1\n";
        assert_eq!(of_io_queues(text), Some(7));
    }

    #[test]
    fn of_io_queues_without_a_vector_is_not_known() {
        assert_eq!(of_io_queues(""), None);
        assert_eq!(of_io_queues("  24:  31  PCI-MSIX  nvme0q0\n"), None);
    }
}

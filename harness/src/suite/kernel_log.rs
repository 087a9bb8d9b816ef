// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest kernel's log: which part of it belongs to a job, and whether the kernel complains.

use std::sync::LazyLock;

use hipri_agent::job_mark;
use regex::Regex;

/// What the kernel's complaints look like. `kernel-is-clean` looks for the same ones in the guest.
static COMPLAINT: LazyLock<Regex> = LazyLock::new(|| {
    let patterns: Vec<_> = include_str!("../../../guest-kernel/tools/complaints")
        .lines()
        .collect();
    Regex::new(&patterns.join("|")).expect("guest-kernel/tools/complaints: one expression a line")
});

/// The part of `log` that belongs to the boot's jobs `first` to `last`: the agent writes a line there
/// when a job begins. What comes before the first job is the first job's, what comes after the last
/// one is the last one's.
pub fn part(log: &str, first: u32, last: u32) -> &str {
    let from = match first {
        0 => 0,
        _ => log.find(&job_mark(first)).unwrap_or(log.len()),
    };
    let part = &log[from..];
    let to = part.find(&job_mark(last + 1)).unwrap_or(part.len());
    &part[..to]
}

/// The first line with which the kernel complains. Lines of its own driver about a device that errs are
/// no complaints.
pub fn complaint(log: &str) -> Option<&str> {
    log.lines()
        .map(message)
        .find(|line| COMPLAINT.is_match(line))
}

/// A line without its time stamp.
fn message(line: &str) -> &str {
    match line.split_once("] ") {
        Some((stamp, said)) if stamp.starts_with('[') => said.trim(),
        _ => line.trim(),
    }
}

/// The last `lines` lines of a log.
pub fn tail(log: &str, lines: usize) -> &str {
    let end = log.trim_end();
    let mut breaks = end.rmatch_indices('\n').map(|(at, _)| at + 1);
    &end[breaks.nth(lines.saturating_sub(1)).unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_is_what_lies_between_two_marks() {
        let log = format!(
            "[ 0.1] boot\n[ 1.0] {} a\n[ 1.1] in the first\n[ 2.0] {} b\n[ 2.1] in the second\n",
            job_mark(0),
            job_mark(1)
        );
        let first = part(&log, 0, 0);
        assert!(first.contains("in the first") && first.contains("boot"));
        assert!(!first.contains("in the second"));
        assert!(part(&log, 1, 1).ends_with("in the second\n"));
        assert!(!part(&log, 1, 1).contains("in the first"));
        assert_eq!(part(&log, 0, 1), log);
        assert_eq!(part(&log, 2, 2), "");
    }

    #[test]
    fn complaint_is_the_kernels_own_and_no_driver_message() {
        let bad = "[    5.0] nvme nvme0: I/O tag 1 timeout, aborting\n\
                   [    5.1] WARNING: CPU: 0 PID: 1 at fs/aio.c:1 f+0x0/0x1\n";
        assert!(complaint(bad).unwrap().starts_with("WARNING: CPU"));
        for good in [
            "[    5.0] nvme nvme0: I/O tag 1 timeout, aborting\n",
            "[    0.0] kmemleak: Kernel memory leak detector initialized (mem pool available: 1)\n",
            "[    0.0] Kernel command line: DEBUG: 1\n",
        ] {
            assert_eq!(complaint(good), None, "{good}");
        }
        for bad in [
            "[    9.0] kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n",
            "[    9.0] BUG: KASAN: slab-use-after-free in aio_poll\n",
            "[   40.0] INFO: task fio:40 blocked for more than 30 seconds.\n",
        ] {
            assert!(complaint(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn tail_of_a_short_log_is_all_of_it() {
        assert_eq!(tail("a\nb\n", 5), "a\nb");
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! I/Os a second out of the device's command trace.
//!
//! In virtual time a cell takes some milliseconds, and fio counts its runtime in milliseconds. The
//! trace knows to the nanosecond when the guest took each completion.

use std::ops::Range;

use emulator::observe::TraceRecord;

use super::trace::taken;

/// The share of a cell's I/Os that are let pass before the time is taken.
const WARM_UP: usize = 10;

/// What is measured of a cell that had `depth` in flight: after a warm-up, and before its end, at
/// which fewer and fewer are in flight. `None` where that leaves nothing.
pub fn measured(commands: usize, depth: u32) -> Option<Range<usize>> {
    let begin = commands / WARM_UP;
    let end = commands.checked_sub(1 + usize::try_from(depth).ok()?)?;
    (end > begin).then_some(begin..end)
}

/// I/Os a second of what is measured of a cell.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times are far below 2^53"
)]
pub fn rate(cell: &[TraceRecord], depth: u32) -> Option<f64> {
    let Range { start, end } = measured(cell.len(), depth)?;
    let elapsed = taken(&cell[end]).checked_sub(taken(&cell[start]))?;
    (elapsed > 0).then(|| (end - start) as f64 * 1e9 / elapsed as f64)
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::io;
    use super::*;

    #[test]
    fn rate_is_that_of_the_middle() {
        let cell = |every: u64| -> Vec<_> { (0..100).map(|n| io(100 + every * n)).collect() };
        assert_eq!(rate(&cell(100), 1), Some(1e7));
        assert_eq!(rate(&cell(200), 4), Some(5e6));
        assert_eq!(measured(100, 4), Some(10..95));
        let mut slow_at_both_ends = cell(100);
        slow_at_both_ends[0].reaped.set(1);
        slow_at_both_ends[99].reaped.set(1_000_000);
        assert_eq!(rate(&slow_at_both_ends, 4), Some(1e7));
    }

    #[test]
    fn rate_of_too_few_is_none() {
        assert_eq!(rate(&[io(1), io(2)], 2), None);
        assert_eq!(rate(&[], 1), None);
    }
}

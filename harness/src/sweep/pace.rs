// SPDX-License-Identifier: Apache-2.0 OR MIT
//! I/Os a second out of the device's command trace.
//!
//! In virtual time a cell takes some milliseconds, and fio counts its runtime in milliseconds. The
//! trace knows to the nanosecond when the guest took each completion.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, ensure};
use emulator::observe::{LOG_COUNTERS, TraceRecord, read_trace};
use emulator::spec::AdminOpcode;

use super::Boot;

/// The share of a cell's I/Os that are let pass before the time is taken.
const WARM_UP: usize = 10;

/// The I/O commands of each cell of a boot, in the order of its cells, out of the trace that lies in
/// `logs`.
///
/// # Errors
/// When there is no trace, or as [`split`].
pub fn of_boot(logs: &Path, boot: &Boot) -> anyhow::Result<Vec<Vec<TraceRecord>>> {
    let file = logs.join(format!("{}commands.trace", boot.log_prefix()));
    let read = || split(&read_trace(File::open(&file)?)?, boot.cells.len());
    read().with_context(|| format!("reading {}", file.display()))
}

/// The I/O commands of each cell, in the order in which the guest took their completions.
///
/// # Errors
/// When there are more or fewer cells in the trace than `cells`.
pub fn split(records: &[TraceRecord], cells: usize) -> anyhow::Result<Vec<Vec<TraceRecord>>> {
    let mut records = records.to_vec();
    records.sort_by_key(|record| record.fetched.get());
    let mut found: Vec<Vec<TraceRecord>> = Vec::new();
    // What the kernel reads by itself comes before the first look at the counters, which the guest
    // takes before and after each cell.
    let mut open: Option<Vec<TraceRecord>> = None;
    for record in records {
        let admin = record.queue.get() == 0;
        if admin
            && AdminOpcode(record.opcode) == AdminOpcode::GET_LOG_PAGE
            && record.block.get() & 0xFF == u64::from(LOG_COUNTERS)
        {
            found.extend(open.replace(Vec::new()).filter(|cell| !cell.is_empty()));
        } else if !admin && let Some(cell) = &mut open {
            cell.push(record);
        }
    }
    ensure!(
        found.len() == cells,
        "the command trace has {} cells in place of {cells}",
        found.len()
    );
    for cell in &mut found {
        cell.sort_by_key(taken);
    }
    Ok(found)
}

/// I/Os a second of a cell that had `depth` in flight: after a warm-up, and before its end, at which
/// fewer and fewer are in flight.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times are far below 2^53"
)]
pub fn rate(cell: &[TraceRecord], depth: u32) -> Option<f64> {
    let begin = cell.len() / WARM_UP;
    let end = cell
        .len()
        .checked_sub(1 + usize::try_from(depth).ok()?)
        .filter(|end| *end > begin)?;
    let elapsed = taken(&cell[end]).checked_sub(taken(&cell[begin]))?;
    (elapsed > 0).then(|| (end - begin) as f64 * 1e9 / elapsed as f64)
}

/// When the guest took a completion: when it said so, or at least not before it was there.
fn taken(record: &TraceRecord) -> u64 {
    record.reaped.get().max(record.completed.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(at: u64) -> TraceRecord {
        let mut record = TraceRecord::default();
        record.queue.set(1);
        record.fetched.set(at);
        record.completed.set(at + 50);
        record.reaped.set(at + 60);
        record
    }

    fn look(at: u64) -> TraceRecord {
        let mut record = TraceRecord {
            opcode: AdminOpcode::GET_LOG_PAGE.0,
            ..TraceRecord::default()
        };
        record.block.set(u64::from(LOG_COUNTERS) | 0x7F_0000);
        record.fetched.set(at);
        record
    }

    #[test]
    fn split_takes_what_lies_between_looks_at_the_counters() {
        let mut records = vec![io(1), look(10), look(11)];
        records.extend((0..100).map(|n| io(100 + 100 * n)));
        records.extend([look(20_000), look(20_001), look(30_000)]);
        records.extend((0..50).map(|n| io(40_000 + 200 * n)));
        records.push(look(90_000));
        records.reverse();
        let cells = split(&records, 2).unwrap();
        assert_eq!(cells.iter().map(Vec::len).collect::<Vec<_>>(), [100, 50]);
        assert_eq!(rate(&cells[0], 1), Some(1e7));
        assert_eq!(rate(&cells[1], 4), Some(5e6));
        let error = split(&records, 3).unwrap_err().to_string();
        assert!(error.contains("2 cells in place of 3"), "{error}");
    }

    #[test]
    fn rate_of_too_few_is_none() {
        assert_eq!(rate(&[io(1), io(2)], 2), None);
        assert_eq!(rate(&[], 1), None);
    }
}

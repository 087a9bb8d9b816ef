// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A boot's command trace, cell by cell.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, ensure};
use emulator::observe::{LOG_COUNTERS, TraceRecord, read_trace};
use emulator::spec::AdminOpcode;

use super::log_prefix;
use crate::guest::Flavour;

/// The name that a boot's trace has in the result folder.
pub fn file_name(flavour: Flavour) -> String {
    format!("{}commands.trace", log_prefix(flavour))
}

/// The I/O commands of each cell, in the order in which the guest took their completions.
///
/// # Errors
/// When the file cannot be read or is no trace, or has more or fewer cells than `cells`.
pub fn read(file: &Path, cells: usize) -> anyhow::Result<Vec<Vec<TraceRecord>>> {
    File::open(file)
        .and_then(read_trace)
        .map_err(anyhow::Error::from)
        .and_then(|records| split(records, cells))
        .with_context(|| format!("reading {}", file.display()))
}

fn split(mut records: Vec<TraceRecord>, cells: usize) -> anyhow::Result<Vec<Vec<TraceRecord>>> {
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

/// When the guest took a completion: when it said so, or at least not before it was there.
pub fn taken(record: &TraceRecord) -> u64 {
    record.reaped.get().max(record.completed.get())
}

/// When a command was due; what is not timed is due when it is done.
pub fn due(record: &TraceRecord) -> u64 {
    match record.due.get() {
        0 => record.completed.get(),
        due => due,
    }
}

/// Tracks of a picture: commands that overlap lie on tracks of their own.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    /// Until when each is taken.
    until: Vec<u64>,
}

impl Tracks {
    /// The first track that is free for a command. They come in the order of their fetching.
    pub fn place(&mut self, record: &TraceRecord) -> usize {
        let free = |until: &u64| *until <= record.fetched.get();
        let track = self.until.iter().position(free).unwrap_or_else(|| {
            self.until.push(0);
            self.until.len() - 1
        });
        self.until[track] = taken(record);
        track
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.until.len()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A read that is completed 50 ns after it was fetched, and taken 10 ns later.
    pub fn io(at: u64) -> TraceRecord {
        let mut record = TraceRecord::default();
        record.queue.set(1);
        record.fetched.set(at);
        record.completed.set(at + 50);
        record.reaped.set(at + 60);
        record
    }

    /// A look at the device's counters.
    pub fn look(at: u64) -> TraceRecord {
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
        let cells = split(records.clone(), 2).unwrap();
        assert_eq!(cells.iter().map(Vec::len).collect::<Vec<_>>(), [100, 50]);
        assert_eq!(cells[1][0], io(40_000));
        let error = split(records, 3).unwrap_err().to_string();
        assert!(error.contains("2 cells in place of 3"), "{error}");
    }

    #[test]
    fn tracks_are_as_many_as_commands_overlap() {
        let mut tracks = Tracks::default();
        let places = [100, 130, 160, 165, 200].map(|at| tracks.place(&io(at)));
        assert_eq!(places, [0, 1, 0, 2, 1]);
        assert_eq!(tracks.count(), 3);
    }
}

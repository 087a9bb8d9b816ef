// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tests of the room, by topic.

mod cache;
mod file;
mod model;
mod open;
mod ram_null;

use std::time::{Duration, Instant};

use vm_memory::VolatileSlice;

use super::{FlushStart, FlushTicket, Media, MediaError};

/// Writes `data` at `offset`.
fn put(media: &mut dyn Media, offset: u64, data: &[u8]) -> Result<(), MediaError> {
    let mut data = data.to_vec();
    media.write(offset, &VolatileSlice::from(data.as_mut_slice()))
}

/// Reads `length` bytes at `offset`.
fn get(media: &mut dyn Media, offset: u64, length: usize) -> Vec<u8> {
    // Not zeros, so that a read which does nothing shows.
    let mut data = vec![0xEE; length];
    let into = VolatileSlice::from(data.as_mut_slice());
    media.read(offset, &into).unwrap();
    data
}

/// Polls until a flush has ended.
fn wait_flush(media: &mut dyn Media) -> (FlushTicket, Result<(), MediaError>) {
    let start = Instant::now();
    loop {
        if let Some(ended) = media.poll_flush() {
            return ended;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "flush hangs");
        std::thread::yield_now();
    }
}

/// Flushes and waits for it.
fn flush(media: &mut dyn Media) {
    if media.start_flush(7).unwrap() == FlushStart::Pending {
        let (ticket, result) = wait_flush(media);
        assert_eq!(ticket, 7);
        result.unwrap();
    }
}

/// A medium in memory that fails when told so and counts what is done to it.
#[derive(Default)]
struct Scripted {
    data: Vec<u8>,
    fail_writes: bool,
    fail_reads: bool,
    writes: usize,
    /// Flushes stay pending until the test ends them.
    hold_flushes: bool,
    held: Vec<FlushTicket>,
    ended: Vec<FlushTicket>,
}

impl Scripted {
    fn new(size: usize) -> Self {
        Self {
            data: vec![0; size],
            ..Self::default()
        }
    }

    fn range(offset: u64, length: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(offset).unwrap();
        start..start + length
    }
}

impl Media for Scripted {
    fn size(&self) -> u64 {
        self.data.len() as u64
    }

    fn read(&mut self, offset: u64, into: &VolatileSlice<'_>) -> Result<(), MediaError> {
        if self.fail_reads {
            return Err(MediaError::Read(std::io::ErrorKind::Other.into()));
        }
        into.copy_from(&self.data[Self::range(offset, into.len())]);
        Ok(())
    }

    fn write(&mut self, offset: u64, from: &VolatileSlice<'_>) -> Result<(), MediaError> {
        if self.fail_writes {
            return Err(MediaError::NoSpace);
        }
        self.writes += 1;
        from.copy_to(&mut self.data[Self::range(offset, from.len())]);
        Ok(())
    }

    fn write_zeroes(&mut self, offset: u64, length: u64, _: bool) -> Result<(), MediaError> {
        let length = usize::try_from(length).unwrap();
        self.data[Self::range(offset, length)].fill(0);
        Ok(())
    }

    fn start_flush(&mut self, ticket: FlushTicket) -> Result<FlushStart, MediaError> {
        if self.hold_flushes {
            self.held.push(ticket);
            return Ok(FlushStart::Pending);
        }
        Ok(FlushStart::Done)
    }

    fn poll_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)> {
        self.ended.pop().map(|ticket| (ticket, Ok(())))
    }

    fn set_volatile_cache(&mut self, _: bool) {}

    fn power_cut(&mut self, _: u64) -> super::PowerCut {
        self.held.clear();
        super::PowerCut::default()
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queue memory: SQEs are fetched from it, CQEs are posted to it. Physically contiguous queues
//! only (CAP.CQR = 1), checked against guest RAM once, when the queue is made.

use super::{GuestRam, OutOfRange};
use crate::spec::{CompletionQueueEntry, SubmissionQueueEntry};

/// The memory of a submission queue.
pub struct SubmissionRing {
    _ram: GuestRam,
}

impl SubmissionRing {
    /// `entries` entries of 64 bytes at guest address `base`.
    ///
    /// # Errors
    /// [`OutOfRange`] when the queue is not wholly in one region of guest RAM.
    pub fn new(_ram: &GuestRam, _base: u64, _entries: u32) -> Result<Self, OutOfRange> {
        unimplemented!()
    }

    /// Copies entry `index` out, once. `index` must be below the number of entries.
    pub fn fetch(&self, _index: u32) -> SubmissionQueueEntry {
        unimplemented!()
    }
}

/// The memory of a completion queue.
pub struct CompletionRing {
    _ram: GuestRam,
}

impl CompletionRing {
    /// `entries` entries of 16 bytes at guest address `base`.
    ///
    /// # Errors
    /// [`OutOfRange`] when the queue is not wholly in one region of guest RAM.
    pub fn new(_ram: &GuestRam, _base: u64, _entries: u32) -> Result<Self, OutOfRange> {
        unimplemented!()
    }

    /// Writes entry `index`; the dword with the phase tag is published last, with release order.
    /// `entry.status_and_phase` already holds the phase.
    pub fn post(&self, _index: u32, _entry: CompletionQueueEntry) {
        unimplemented!()
    }
}

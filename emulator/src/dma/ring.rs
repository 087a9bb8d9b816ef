// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queue memory: SQEs are fetched from it, CQEs are posted to it. Physically contiguous queues
//! only (CAP.CQR = 1), checked against guest RAM once, when the queue is made.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::transmute;

use super::ram::KeepMapped;
use super::{GuestRam, OutOfRange};
use crate::spec::{CompletionQueueEntry, SubmissionQueueEntry};

/// Queue memory as 64-bit words that the guest may be changing at the same time.
///
/// Invariant: `words` is aligned to 8 bytes and `length` words from it on are guest RAM, which
/// `_keep` keeps mapped.
struct Words {
    words: NonNull<u64>,
    length: usize,
    _keep: KeepMapped,
}

// SAFETY: the words are shared memory; they are accessed only as atomics.
unsafe impl Send for Words {}

impl Words {
    fn new(ram: &GuestRam, base: u64, bytes: u64) -> Result<Self, OutOfRange> {
        let out_of_range = OutOfRange {
            address: base,
            length: bytes,
        };
        let (host, keep) = ram.pin(base, bytes)?;
        let words = host.cast::<u64>();
        if !words.is_aligned() {
            return Err(out_of_range);
        }
        Ok(Self {
            words,
            length: usize::try_from(bytes / 8).map_err(|_| out_of_range)?,
            _keep: keep,
        })
    }

    /// The `N` words of entry `index`. The index is the device's own, never the guest's.
    #[inline]
    fn entry<const N: usize>(&self, index: u32) -> &[AtomicU64; N] {
        let first = index as usize * N;
        assert!(first + N <= self.length, "queue index {index} out of range");
        // SAFETY: words `first..first + N` are inside the mapping (checked above, and by the
        // invariant), aligned, and `[AtomicU64; N]` has the layout of `N` words. Shared memory may
        // be changed by others while a reference to atomics exists.
        unsafe { self.words.add(first).cast::<[AtomicU64; N]>().as_ref() }
    }
}

/// The memory of a submission queue.
pub struct SubmissionRing {
    words: Words,
}

impl SubmissionRing {
    /// `entries` entries of 64 bytes at guest address `base`, which is a multiple of 8.
    ///
    /// # Errors
    /// [`OutOfRange`] when the queue is not aligned or not wholly in one region of guest RAM.
    pub fn new(ram: &GuestRam, base: u64, entries: u32) -> Result<Self, OutOfRange> {
        let words = Words::new(ram, base, u64::from(entries) * 64)?;
        Ok(Self { words })
    }

    /// Copies entry `index` out, once. `index` must be below the number of entries.
    ///
    /// # Panics
    /// When it is not.
    #[inline]
    pub fn fetch(&self, index: u32) -> SubmissionQueueEntry {
        // Relaxed: the doorbell was read with acquire order before.
        let words: [u64; 8] = self
            .words
            .entry(index)
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        transmute!(words)
    }
}

/// The memory of a completion queue.
pub struct CompletionRing {
    words: Words,
}

impl CompletionRing {
    /// `entries` entries of 16 bytes at guest address `base`, which is a multiple of 8.
    ///
    /// # Errors
    /// [`OutOfRange`] when the queue is not aligned or not wholly in one region of guest RAM.
    pub fn new(ram: &GuestRam, base: u64, entries: u32) -> Result<Self, OutOfRange> {
        let words = Words::new(ram, base, u64::from(entries) * 16)?;
        Ok(Self { words })
    }

    /// Writes entry `index`, which must be below the number of entries; the dword with the phase
    /// tag is published last, with release order. `entry.status_and_phase` already holds the phase.
    ///
    /// # Panics
    /// When `index` is too large.
    #[inline]
    pub fn post(&self, index: u32, entry: CompletionQueueEntry) {
        let [low, high]: [u64; 2] = transmute!(entry);
        let words: &[AtomicU64; 2] = self.words.entry(index);
        words[0].store(low, Ordering::Relaxed);
        // Dwords 2 and 3 in one store: whoever sees the new phase sees all of the entry, and the
        // data that was copied before it.
        words[1].store(high, Ordering::Release);
    }
}

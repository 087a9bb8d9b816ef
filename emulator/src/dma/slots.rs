// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Words of guest memory that both sides write.

use std::ptr::NonNull;

use super::ram::KeepMapped;
use super::{GuestRam, OutOfRange};
use crate::sync::atomic::AtomicU32;

/// 32-bit words that the guest reads and writes at the same time.
///
/// Invariant: `first` is aligned to 4 bytes and `count` words from it on are guest RAM, which
/// `_keep` keeps mapped.
pub(super) struct Slots {
    first: NonNull<AtomicU32>,
    count: u32,
    _keep: KeepMapped,
}

// SAFETY: the slots are shared memory; they are accessed only as atomics.
unsafe impl Send for Slots {}
// SAFETY: the same; nothing else of them can be reached.
unsafe impl Sync for Slots {}

impl Slots {
    /// `count` words from guest address `address` on.
    ///
    /// # Errors
    /// [`OutOfRange`] when they are not aligned, or not wholly in one region of guest RAM.
    pub(super) fn new(ram: &GuestRam, address: u64, count: u32) -> Result<Self, OutOfRange> {
        let length = u64::from(count) * 4;
        let (host, keep) = ram.pin(address, length)?;
        let first = host.cast::<AtomicU32>();
        if !first.is_aligned() {
            return Err(OutOfRange { address, length });
        }
        Ok(Self {
            first,
            count,
            _keep: keep,
        })
    }

    /// The word `slot`.
    ///
    /// # Panics
    /// When `slot` is not below the count.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> &AtomicU32 {
        assert!(slot < self.count, "doorbell slot {slot} out of range");
        // SAFETY: `slot` is below the count of words that the invariant promises, and shared memory
        // may be changed by others while a reference to an atomic exists.
        unsafe { self.first.add(slot as usize).as_ref() }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shadow doorbells and event indices (NVMe Base 2.0c, 5.8 Doorbell Buffer Config, and B.5).

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use super::ram::KeepMapped;
use super::{GuestRam, OutOfRange};

/// The two buffers of Doorbell Buffer Config, a 32-bit slot for each doorbell in the order of the
/// doorbell registers (stride 4 bytes: SQ 0 tail, CQ 0 head, SQ 1 tail, ...).
pub struct ShadowDoorbells {
    doorbells: Slots,
    event_indices: Slots,
}

/// 32-bit words that the guest reads and writes at the same time.
///
/// Invariant: `first` is aligned to 4 bytes and `count` words from it on are guest RAM, which
/// `_keep` keeps mapped.
struct Slots {
    first: NonNull<AtomicU32>,
    count: u32,
    _keep: KeepMapped,
}

// SAFETY: the slots are shared memory; they are accessed only as atomics.
unsafe impl Send for Slots {}
// SAFETY: the same; nothing else of them can be reached.
unsafe impl Sync for Slots {}

impl Slots {
    fn new(ram: &GuestRam, address: u64, count: u32) -> Result<Self, OutOfRange> {
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

    #[inline]
    fn at(&self, slot: u32) -> &AtomicU32 {
        assert!(slot < self.count, "doorbell slot {slot} out of range");
        // SAFETY: `slot` is below the count of words that the invariant promises, and shared memory
        // may be changed by others while a reference to an atomic exists.
        unsafe { self.first.add(slot as usize).as_ref() }
    }
}

impl ShadowDoorbells {
    /// Takes the pages at guest addresses `doorbells` and `event_indices`, each for `slots` slots.
    ///
    /// # Errors
    /// [`OutOfRange`] when either is not aligned to 4 bytes or not wholly in one region of guest
    /// RAM.
    pub fn new(
        ram: &GuestRam,
        doorbells: u64,
        event_indices: u64,
        slots: u32,
    ) -> Result<Self, OutOfRange> {
        Ok(Self {
            doorbells: Slots::new(ram, doorbells, slots)?,
            event_indices: Slots::new(ram, event_indices, slots)?,
        })
    }

    /// What the guest last wrote to `slot`, with acquire order: entries that it wrote before are
    /// visible. The value is the guest's and not checked.
    ///
    /// # Panics
    /// As all of these, when `slot` is not below the number of slots.
    #[inline]
    pub fn doorbell(&self, slot: u32) -> u32 {
        u32::from_le(self.doorbells.at(slot).load(Ordering::Acquire))
    }

    /// Mirrors a trapped doorbell write into `slot` (the admin queue's writes always trap).
    #[inline]
    pub fn set_doorbell(&self, slot: u32, value: u32) {
        let value = value.to_le();
        self.doorbells.at(slot).store(value, Ordering::Release);
    }

    /// Publishes `slot`'s event index: the guest traps when its doorbell moves past it. Before
    /// doorbells are looked at for the last time, call [`ShadowDoorbells::barrier`].
    #[inline]
    pub fn set_event_index(&self, slot: u32, value: u32) {
        let value = value.to_le();
        self.event_indices.at(slot).store(value, Ordering::Release);
    }

    /// Orders event indices published before against doorbells read after. The guest does the
    /// reverse (writes the doorbell, full barrier, reads the event index), so at least one side
    /// sees the other's value.
    #[inline]
    pub fn barrier() {
        fence(Ordering::SeqCst);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shadow doorbells and event indices (NVMe Base 2.0c, 5.8 Doorbell Buffer Config, and B.5).

use super::slots::Slots;
use super::{GuestRam, OutOfRange};
use crate::sync::atomic::{Ordering, fence};

/// The two buffers of Doorbell Buffer Config, a 32-bit slot for each doorbell in the order of the
/// doorbell registers (stride 4 bytes: SQ 0 tail, CQ 0 head, SQ 1 tail, ...).
pub struct ShadowDoorbells {
    doorbells: Slots,
    event_indices: Slots,
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shadow doorbells and event indices (NVMe Base 2.0c, 5.8 Doorbell Buffer Config, and B.5).

use super::{GuestRam, OutOfRange};

/// The two buffers of Doorbell Buffer Config, a 32-bit slot for each doorbell in the order of the
/// doorbell registers (stride 4 bytes: SQ 0 tail, CQ 0 head, SQ 1 tail, ...).
pub struct ShadowDoorbells {
    _ram: GuestRam,
}

impl ShadowDoorbells {
    /// Takes the pages at guest addresses `doorbells` and `event_indices`, each for `slots` slots.
    ///
    /// # Errors
    /// [`OutOfRange`] when either is not wholly in one region of guest RAM.
    pub fn new(
        _ram: &GuestRam,
        _doorbells: u64,
        _event_indices: u64,
        _slots: u32,
    ) -> Result<Self, OutOfRange> {
        unimplemented!()
    }

    /// What the guest last wrote to `slot`, with acquire order.
    pub fn doorbell(&self, _slot: u32) -> u32 {
        unimplemented!()
    }

    /// Mirrors a trapped doorbell write into `slot` (the admin queue's writes always trap).
    pub fn set_doorbell(&self, _slot: u32, _value: u32) {
        unimplemented!()
    }

    /// Publishes `slot`'s event index: the guest traps when its doorbell moves past it.
    pub fn set_event_index(&self, _slot: u32, _value: u32) {
        unimplemented!()
    }
}

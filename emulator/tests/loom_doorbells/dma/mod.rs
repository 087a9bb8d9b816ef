// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `crate::dma`: the device's shadow doorbells, on guest memory of loom's words.

#[path = "../../../src/dma/shadow.rs"]
mod shadow;
mod slots;

pub use shadow::ShadowDoorbells;
pub use slots::{GuestRam, OutOfRange};

/// No model has a page of doorbells: nothing sleeps with one.
pub struct DoorbellPage;

impl DoorbellPage {
    pub fn doorbell(&self, _slot: u32) -> u32 {
        0
    }

    pub fn set_doorbell(&self, _slot: u32, _value: u32) {}
}

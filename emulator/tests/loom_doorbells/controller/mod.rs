// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `crate::controller`: how event indices are announced.

#[path = "../../../src/controller/doorbells.rs"]
#[expect(dead_code, reason = "no model has a head doorbell")]
mod doorbells;

pub use doorbells::{DoorbellMemory, sq_slot};

impl DoorbellMemory {
    /// A queue was made.
    pub fn begin_queue(&self, slot: u32) {
        self.begin(slot);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every interleaving of a guest and a poller that is about to sleep, with every value that a weak
//! memory model lets a load see (loom). No wake-up may be lost.
//!
//! The files that hold the protocols' atomics are the device's own, compiled a second time with
//! loom's: `frontend/kvm/access.rs`, `dma/shadow.rs` and `controller/doorbells.rs`. What they name
//! from the rest of the crate is here in small. Each model is also run without one of its barriers
//! and must then fail, so that it is known to be able to.

mod controller;
mod dma;
mod drive;
mod frontend;
mod mailbox;
mod shadow;
mod sync;

/// As in the device.
mod pci {
    pub use emulator::pci::Region;
}

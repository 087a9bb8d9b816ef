// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite again, through the queues of virtio-pcidev, the PCI function and MSI-X: a
//! driver that reaches the device as User-Mode Linux does.

mod pcidev;
#[path = "../conformance/suite.rs"]
mod suite;

#[path = "../conformance/shadow_doorbells.rs"]
mod shadow_doorbells;

use suite::{doorbells, host};

/// How doorbells reach the device.
const DOORBELL_MODE: emulator::controller::DoorbellMode =
    emulator::controller::DoorbellMode::Shadow;

/// The media have a volatile write cache.
const MEDIA_CACHE: bool = true;

/// The device that the tests get.
fn connect(
    engine: emulator::engine::Engine,
    ram: &emulator::dma::GuestRam,
) -> Box<dyn host::Transport> {
    Box::new(pcidev::Pcidev::new(engine, ram))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite again, through the PCI function and MSI-X, with the doorbell registers as
//! memory: a guest whose virtual machine monitor lays the page of doorbells into it.

mod mapped;
mod mapped_doorbells;
#[path = "../conformance/suite.rs"]
mod suite;

use suite::{doorbells, host};

/// How doorbells reach the device.
const DOORBELL_MODE: emulator::controller::DoorbellMode =
    emulator::controller::DoorbellMode::Mapped;

/// All I/O queues are the function's.
const LANE: bool = false;

/// The media have a volatile write cache.
const MEDIA_CACHE: bool = true;

/// The device that the tests get.
fn connect(
    engine: emulator::engine::Engine,
    ram: &emulator::dma::GuestRam,
) -> Box<dyn host::Transport> {
    Box::new(mapped::Mapped::new(engine, ram))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite again, with a page of doorbells that is laid into the guest, and the I/O
//! queues lent to a lane and taken back around each step.

#[path = "../conformance_mapped/mapped.rs"]
mod mapped;
#[path = "../conformance_mapped/mapped_doorbells.rs"]
mod mapped_doorbells;
#[path = "../conformance/suite.rs"]
mod suite;

use suite::{doorbells, host};

/// How doorbells reach the device.
const DOORBELL_MODE: emulator::controller::DoorbellMode =
    emulator::controller::DoorbellMode::Mapped;

/// All I/O queues are lent to a lane around each step.
const LANE: bool = true;

/// The media have no volatile write cache, so that several threads may use them.
const MEDIA_CACHE: bool = false;

/// The device that the tests get.
fn connect(
    engine: emulator::engine::Engine,
    ram: &emulator::dma::GuestRam,
) -> Box<dyn host::Transport> {
    Box::new(mapped::Mapped::new(engine, ram))
}

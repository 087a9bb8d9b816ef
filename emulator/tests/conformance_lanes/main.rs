// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite again, through the PCI function, with the I/O queues lent to a lane and
//! taken back around each step, as a second poller would have them; doorbells in shadow memory.

#[path = "../conformance_mapped/mapped.rs"]
mod mapped;
#[path = "../conformance/suite.rs"]
mod suite;

#[path = "../conformance/shadow_doorbells.rs"]
mod shadow_doorbells;

use suite::{doorbells, host};

/// How doorbells reach the device.
const DOORBELL_MODE: emulator::controller::DoorbellMode =
    emulator::controller::DoorbellMode::Shadow;

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

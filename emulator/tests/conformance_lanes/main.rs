// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite again, through the PCI function, with the I/O queues lent to a lane and
//! taken back around each step, as a second poller would have them; doorbells in shadow memory.

#[path = "../conformance/host.rs"]
mod host;
#[path = "../conformance_mapped/mapped.rs"]
mod mapped;

#[path = "../conformance/doorbells.rs"]
mod doorbells;
#[path = "../conformance/events.rs"]
mod events;
#[path = "../conformance/features.rs"]
mod features;
#[path = "../conformance/format.rs"]
mod format;
#[path = "../conformance/hostile.rs"]
mod hostile;
#[path = "../conformance/identify.rs"]
mod identify;
#[path = "../conformance/io.rs"]
mod io;
#[path = "../conformance/logs.rs"]
mod logs;
#[path = "../conformance/prp.rs"]
mod prp;
#[path = "../conformance/queues.rs"]
mod queues;
#[path = "../conformance/registers.rs"]
mod registers;
#[path = "../conformance/reset.rs"]
mod reset;
#[path = "../conformance/shadow_doorbells.rs"]
mod shadow_doorbells;

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

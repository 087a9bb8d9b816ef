// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite again, through the PCI function and MSI-X, with the doorbell registers as
//! memory: a guest whose virtual machine monitor lays the page of doorbells into it.

#[path = "../conformance/host.rs"]
mod host;
mod mapped;
mod mapped_doorbells;

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

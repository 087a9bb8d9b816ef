// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite again, through the queues of virtio-pcidev, the PCI function and MSI-X: a
//! driver that reaches the device as User-Mode Linux does.

#[path = "../conformance/host.rs"]
mod host;
mod pcidev;

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

/// The media have a volatile write cache.
const MEDIA_CACHE: bool = true;

/// The device that the tests get.
fn connect(
    engine: emulator::engine::Engine,
    ram: &emulator::dma::GuestRam,
) -> Box<dyn host::Transport> {
    Box::new(pcidev::Pcidev::new(engine, ram))
}

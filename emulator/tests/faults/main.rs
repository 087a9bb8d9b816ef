// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Does each fault happen as docs/faults.md says, and nothing beside it? The engine in the process,
//! and a driver that knows registers, queues and bytes in memory.

#[path = "../conformance/host.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod host;
#[path = "../conformance/in_process.rs"]
mod in_process;
mod rig;

mod completions;
mod controller;
mod data;
mod interrupts;
mod rules;

/// How doorbells reach the device.
const DOORBELL_MODE: emulator::controller::DoorbellMode = emulator::controller::DoorbellMode::Exit;

/// The media have a volatile write cache, which a power cut loses.
const MEDIA_CACHE: bool = true;

/// The device that the tests get.
fn connect(
    engine: emulator::engine::Engine,
    ram: &emulator::dma::GuestRam,
) -> Box<dyn host::Transport> {
    Box::new(in_process::InProcess::new(engine, ram))
}

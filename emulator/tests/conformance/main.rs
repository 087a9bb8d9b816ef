// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance suite on the engine alone, in the process.

mod in_process;
#[path = "suite.rs"]
mod suite;

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
    Box::new(in_process::InProcess::new(engine, ram))
}

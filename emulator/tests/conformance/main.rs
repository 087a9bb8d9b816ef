// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Does the device do what the specification says? Black-box tests, by topic: they know registers,
//! queues and bytes in memory, and nothing of the device's own types, so that a wrong layout there
//! cannot hide here. The same tests run against every front end: see [`host::Transport`].
//!
//! Numbers in comments are sections of NVMe Base 2.0c and NVM Command Set 1.0c.

mod host;
mod in_process;

mod doorbells;
mod events;
mod features;
mod format;
mod hostile;
mod identify;
mod io;
mod logs;
mod prp;
mod queues;
mod registers;
mod reset;
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
    Box::new(in_process::InProcess::new(engine, ram))
}

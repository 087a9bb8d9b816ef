// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Does the device do what the specification says? Black-box tests, by topic: they know registers,
//! queues and bytes in memory, and nothing of the device's own types, so that a wrong layout there
//! cannot hide here. Every test program that runs them says in its root how the device is reached:
//! `connect`, `DOORBELL_MODE`, `MEDIA_CACHE`. See [`host::Transport`].
//!
//! Numbers in comments are sections of NVMe Base 2.0c and NVM Command Set 1.0c.

pub mod host;

pub mod doorbells;
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

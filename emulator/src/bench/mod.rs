// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Measures the device without a guest's kernel: its own floor, and whether it keeps the word that a
//! profile gives.
//!
//! A [`Driver`] in this process has one core, the device's poller another one. Where there is KVM the
//! same is measured through the micro-guest.

mod driver;
mod floor;
mod timing;

use std::io;

pub use driver::{Access, Driver, Latencies, MOST_IN_FLIGHT, Watch};
pub use floor::measure_floor;
pub use timing::{TimingOptions, TimingReport, TimingRow, bench_timing};

use crate::frontend::kvm::micro::MicroError;
use crate::timing::ProfileError;

/// A measurement that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The profile is faster than the emulator.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The host.
    #[error(transparent)]
    Host(#[from] io::Error),
    /// The device.
    #[error("{0}")]
    Device(String),
    /// The micro-guest.
    #[error(transparent)]
    Micro(#[from] MicroError),
}

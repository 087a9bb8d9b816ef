// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Chooses and starts a guest, listens to it, and tells how it ended.
//!
//! A run is two children of `hipri`, the emulated device and the guest, and a scratch directory
//! that holds what they share. None of them outlives `hipri`, whatever kills it.

pub mod accel;
mod channel;
pub mod device;
pub mod host;
pub mod outcome;
mod patience;
mod process;
mod run;
mod scratch;
pub mod start;
pub mod transcript;
pub mod uml;

use std::path::Path;
use std::time::Duration;

use hipri_agent::CommandList;

pub use device::DeviceSpec;
pub use host::{Host, Placement};
pub use outcome::Outcome;
pub use run::{RunReport, job_exit, require_completed, run};
pub use transcript::{JobRecord, Transcript};

/// What the guest's `tty0` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Nothing.
    None,
    /// The terminal `hipri` was started on.
    Terminal,
}

/// One boot of a guest.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// The kernel to start.
    pub kernel: &'a Path,
    /// The image: a directory, never written to.
    pub root: &'a Path,
    /// The guest's memory, in MiB.
    pub memory_mib: u64,
    /// More words for the kernel's command line.
    pub kernel_args: Vec<String>,
    /// What the agent does.
    pub commands: CommandList,
    /// The device.
    pub device: DeviceSpec,
    /// Cores.
    pub placement: Placement,
    /// What `tty0` is.
    pub console: Console,
    /// The whole run may take this long.
    pub time_limit: Option<Duration>,
    /// Where `console.log` and `device.log` stay, a directory that exists; `None` when nobody
    /// wants them after the run.
    pub logs: Option<&'a Path>,
    /// Prefix of the logs' names, to tell several boots apart; may be empty.
    pub log_prefix: &'a str,
    /// Whether the kernel's log is shown on stderr while it grows.
    pub show_console: bool,
}

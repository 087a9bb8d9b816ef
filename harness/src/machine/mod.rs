// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Chooses and starts a guest, listens to it, and tells how it ended.
//!
//! What executes a guest is a [`Machine`]. A run is the machine's processes, children of `hipri`,
//! and a scratch directory that holds what they share. None of them outlives `hipri`, whatever
//! kills it.

pub mod accel;
mod channel;
mod contract;
pub mod device;
mod follower;
pub mod host;
mod initrd;
mod interpreted;
mod kernel_file;
mod kvm;
mod mconsole;
pub mod outcome;
mod patience;
mod pc;
mod placement;
mod process;
mod qemu;
mod run;
mod scratch;
pub mod start;
mod terminal;
pub mod transcript;
mod uml;

use std::path::Path;
use std::time::Duration;

use emulator::cli::HugePagesChoice;
use hipri_agent::CommandList;

pub use accel::Accel;
pub use contract::{
    CpuRange, DeviceKind, End, Files, Machine, Pace, Running, SHARE, Told, VirtualTime,
};
pub use device::DeviceSpec;
pub use host::Host;
pub use outcome::{Outcome, unanswered_command};
pub use placement::{Pin, Placement};
pub use run::{RunReport, job_exit, require_completed, run};
pub use transcript::{JobRecord, Transcript};

/// The guest's terminal for people.
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
    /// What executes it.
    pub accel: Accel,
    /// The kernel to start.
    pub kernel: &'a Path,
    /// The image: a directory, never written to.
    pub root: &'a Path,
    /// The same image as an archive, for machines that load it with the kernel.
    pub initramfs: Option<&'a Path>,
    /// The guest's memory, in MiB.
    pub memory_mib: u64,
    /// The guest's processors, 1 or more.
    pub cpus: u32,
    /// How many times as long as another kernel this one may take.
    pub slowness: u32,
    /// More words for the kernel's command line.
    pub kernel_args: Vec<String>,
    /// What the agent does.
    pub commands: CommandList,
    /// The device.
    pub device: DeviceSpec,
    /// What its memory is made of, as told.
    pub huge_pages: Option<HugePagesChoice>,
    /// Threads that serve the device's I/O queues.
    pub pollers: u16,
    /// Cores.
    pub placement: Placement,
    /// Whether the device keeps a trace of its commands, beside the logs.
    pub trace: bool,
    /// Simulated time; `None` is the host's own.
    pub virtual_time: Option<VirtualTime>,
    /// The guest's terminal.
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

impl Spec<'_> {
    /// Whose time passes in the guest, as documents call it.
    pub fn time_name(&self) -> &'static str {
        match self.virtual_time {
            Some(_) => "virtual",
            None => "real",
        }
    }
}

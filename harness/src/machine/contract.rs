// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a way to run a guest promises to the rest of `hipri`.
//!
//! A [`Machine`] is facts and a start; what is started is a [`Running`]. Everything else about a
//! run (the channel, the transcript, patience, the console, limits, interrupts) is the same for all
//! of them and lives in [`super::run`]. No other file asks which machine it is dealing with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use emulator::cli::{Doorbells, HugePagesChoice};
use emulator::config::DeviceConfig;
use hipri_agent::MountEntry;
use serde::{Deserialize, Serialize};

use super::{DeviceSpec, Pin, Placement, Spec};
use crate::exit::Failure;
use crate::guest::Arch;

/// Where a shared host directory is seen in the guest.
pub const SHARE: &str = "/mnt/share";

/// A way to run a guest.
pub trait Machine: fmt::Debug + Sync {
    /// What its kernels are built for.
    fn arch(&self) -> Arch;

    /// Whose NVMe device the guest gets.
    fn device(&self) -> DeviceKind;

    /// How many processors a guest may have.
    fn cpus(&self) -> CpuRange;

    /// How fast it is.
    fn pace(&self) -> Pace;

    /// Which of the host's `cores` it uses for what, unless the user says.
    fn placement(&self, cores: &[usize], cpus: u32, pollers: u16) -> Placement;

    /// Refuses what the user told and this machine cannot do.
    ///
    /// # Errors
    /// Exit 2.
    fn check_told(&self, told: &Told) -> Result<(), Failure>;

    /// The mount by which the guest sees `dir`, an absolute path, at [`SHARE`].
    ///
    /// # Errors
    /// Exit 2, when it cannot.
    fn share(&self, dir: &Path) -> Result<MountEntry, Failure>;

    /// Refuses a device that this machine cannot have, and says in a line each what of it has no
    /// effect here. Called before anything is built.
    ///
    /// # Errors
    /// Exit 2.
    fn check_device(
        &self,
        spec: &DeviceSpec,
        device: &DeviceConfig,
    ) -> Result<Vec<String>, Failure>;

    /// Refuses a kernel file that it cannot boot.
    ///
    /// # Errors
    /// Exit 2.
    fn check_kernel(&self, kernel: &Path) -> Result<(), Failure>;

    /// Looks for what it needs of the host, and gives the name and version of the program that
    /// executes the guest where that is none of ours.
    ///
    /// # Errors
    /// Exit 3, with the way to get what is missing.
    fn check_host(&self) -> Result<Option<String>, Failure>;

    /// Bytes that a run takes of the tmpfs.
    fn scratch_bytes(&self, spec: &Spec<'_>) -> u64;

    /// Starts a guest and its device. The channel, the console and the command list are there.
    ///
    /// # Errors
    /// Exit 2, when the device's configuration is refused; exit 3, when it cannot be started.
    fn start(&self, spec: &Spec<'_>, files: &Files) -> anyhow::Result<Box<dyn Running>>;
}

/// What the user may tell of how a machine is made, where not every machine can do it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Cores.
    pub pin: Option<Pin>,
    /// Threads that serve the device's I/O queues.
    pub pollers: Option<u16>,
    /// How doorbells reach the device.
    pub doorbells: Option<Doorbells>,
    /// What the guest's memory is made of.
    pub huge_pages: Option<HugePagesChoice>,
    /// Whether time is simulated.
    pub virtual_time: bool,
    /// Whether the device keeps a trace of its commands.
    pub trace: bool,
}

/// Simulated time, exact and repeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualTime {
    /// What the kernel's operations cost, as its command line takes it.
    pub costs: String,
    /// What all of the guest's random numbers follow from.
    pub seed: u64,
}

/// A guest and its device under way. Dropping it kills every process that belongs to it.
pub trait Running: fmt::Debug {
    /// How it ended by itself, if it has.
    ///
    /// # Errors
    /// When a process cannot be asked.
    fn ended(&mut self) -> anyhow::Result<Option<End>>;

    /// Lets the kernel of a guest that hangs show what each task waits for, on its console, where
    /// that can be had.
    fn show_tasks(&mut self) {}

    /// Ends what is left of it, the guest first and then, in order, its device.
    ///
    /// # Errors
    /// When a process cannot be waited for.
    fn stop(self: Box<Self>) -> anyhow::Result<()>;
}

/// How a machine ended by itself, as far as its processes tell. The console may know more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest is gone: powered off, reset, panicked or killed; how its process ended.
    Guest(String),
    /// The guest's processor gave up: a fault while it handled a fault while it handled a fault.
    TripleFault,
    /// What executes the guest failed; what it said.
    Machine(String),
    /// The device ended before the guest; how.
    Device(String),
}

/// Whose NVMe device a guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum DeviceKind {
    /// Ours: it has a speed profile and counts.
    #[serde(rename = "hipri")]
    Hipri,
    /// QEMU's own, a reference.
    #[serde(rename = "qemu-nvme")]
    Qemu,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hipri => "the emulated NVMe device",
            Self::Qemu => "QEMU's own nvme",
        })
    }
}

impl DeviceKind {
    /// Whether the speed profile has an effect.
    pub fn has_profile(self) -> bool {
        self == Self::Hipri
    }

    /// Whether it has counters (log page C0h).
    pub fn counts(self) -> bool {
        self == Self::Hipri
    }
}

/// How many processors a guest may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuRange {
    /// When nobody says.
    pub default: u32,
    /// At most.
    pub most: u32,
}

/// How long a guest may take on a busy host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From its start to the agent's first word.
    pub boot: Duration,
    /// A fio job beyond its own runtime.
    pub fio_grace: Duration,
}

/// The files of one run.
#[derive(Clone, Debug)]
pub struct Files {
    /// The run's own directory, on a tmpfs: for whatever a machine needs. The command list is in
    /// it.
    pub scratch: PathBuf,
    /// The FIFO of the agent's channel.
    pub channel: PathBuf,
    /// Receives the kernel's console; exists.
    pub console: PathBuf,
    /// Receives what the guest's process says before it has a console, where it is a kernel.
    pub early: PathBuf,
    /// Receives the words of whatever serves the device.
    pub device_log: PathBuf,
    /// Receives the device's command trace, if one is wanted.
    pub trace: PathBuf,
}

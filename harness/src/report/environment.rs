// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The circumstances of a run: what somebody else needs to judge or to repeat it.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::machine::accel::Decision;
use crate::machine::{DeviceKind, Host, Placement};

/// Written into each result folder.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Version of this program.
    pub hipri: &'static str,
    /// The checkout's revision, with `-dirty` when it was changed; `None` outside git.
    pub revision: Option<String>,
    /// The command line.
    pub command: Vec<String>,
    /// The host.
    pub host: Host,
    /// How the guest ran, and why so.
    pub accel: Decision,
    /// Which cores were used.
    pub placement: Placement,
    /// The same in words.
    pub placement_note: String,
    /// What the device subtracted for the way to it and back, in nanoseconds.
    pub floor_ns: u64,
    /// Seed of service times and random offsets.
    pub seed: u64,
    /// The guest's memory, in MiB.
    pub memory_mib: u64,
    /// The guest's processors.
    pub cpus: u32,
    /// Whose NVMe device the guest had.
    pub device: DeviceKind,
    /// The program that executed the guest, with its version, where that is none of ours.
    pub executor: Option<String>,
    /// Added to the guest kernel's command line by the user.
    pub append: Vec<String>,
    /// For each boot, nanoseconds from the kernel's start to the agent's first word.
    pub boot_ns: Vec<u64>,
}

/// The revision of the checkout at `root`.
pub fn revision(root: &Path) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! User-Mode Linux: the guest kernel as an ordinary process.
//!
//! | guest | host |
//! |---|---|
//! | root, read-only | the image directory, by hostfs |
//! | `/dev/nvme0` | the emulator's vhost-user socket (virtio-pcidev) |
//! | `ttyS0` | the agent's channel, a FIFO |
//! | `ttyS1`, the kernel's console | `console.log` |
//! | `tty0` | the user's terminal, or nothing |

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use hipri_agent::cmdline::{Options, RunSource};

use super::start::{OnParentDeath, Starter};
use super::{Console, Spec};
use crate::exit::Failure;

/// The virtio device number by which the guest kernel knows virtio-pcidev; no official one exists.
/// The kernel's configuration (`CONFIG_UML_PCI_OVER_VIRTIO_DEVICE_ID`) says the same.
pub const VIRTIO_PCIDEV_ID: u32 = 1234;

/// Where a shared host directory is seen in the guest.
pub const SHARE: &str = "/mnt/share";

/// The files of a run that the guest's command line names.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The run's own directory.
    pub scratch: &'a Path,
    /// The emulator's socket.
    pub socket: &'a Path,
    /// The FIFO of the agent's channel.
    pub channel: &'a Path,
    /// Receives the kernel's console.
    pub console: &'a Path,
    /// Receives what the process says before it has a console.
    pub early: &'a Path,
}

/// The guest kernel's command line, `{channel}` and `{console}` standing for descriptors.
///
/// # Errors
/// Exit 2, when a word cannot be quoted.
pub fn kernel_words(spec: &Spec<'_>, files: &Files<'_>) -> anyhow::Result<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    words.push(format!("mem={}M", spec.memory_mib).into());
    words.extend([
        "rootfstype=hostfs".into(),
        with_path("rootflags=", spec.root),
    ]);
    words.extend(["ro", "init=/init", "panic=-1", "stderr=1"].map(OsString::from));
    words.push(with_path("uml_dir=", files.scratch));
    let mut device = with_path("virtio_uml.device=", files.socket);
    device.push(format!(":{VIRTIO_PCIDEV_ID}"));
    words.push(device);
    words.push("con=null".into());
    words.push(match spec.console {
        Console::None => "con0=null".into(),
        Console::Terminal => "con0=fd:0,fd:1".into(),
    });
    words.extend(
        [
            "ssl=null",
            "ssl0=null,fd:{channel}",
            "ssl1=null,fd:{console}",
        ]
        .map(OsString::from),
    );
    words.push("console=ttyS1".into());
    let agent = Options {
        run: Some(RunSource::Hostfs(text(files.scratch)?)),
        channel: Some("/dev/ttyS0".into()),
        console: Some("/dev/tty0".into()),
        ..Options::default()
    };
    let agent = agent
        .to_words()
        .ok_or_else(|| Failure::usage("the run directory's path cannot be quoted"))?;
    words.extend(agent.into_iter().map(OsString::from));
    words.extend(spec.kernel_args.iter().map(OsString::from));
    Ok(words)
}

/// The command that starts the guest.
///
/// # Errors
/// As [`kernel_words`], and when the early log cannot be made.
pub fn command(spec: &Spec<'_>, files: &Files<'_>) -> anyhow::Result<Command> {
    let starter = Starter::new(OnParentDeath::Kill)
        .cpu(spec.placement.guest)
        .open("channel", files.channel)
        .open("console", files.console);
    let mut command = if layout_can_be_fixed() {
        // The guest's physical addresses follow the host's brk: without randomization a run can
        // be repeated exactly.
        let mut command = starter.command("setarch");
        command.arg("-R").arg(spec.kernel);
        command
    } else {
        starter.command(spec.kernel)
    };
    command.args(kernel_words(spec, files)?);
    command.env("TMPDIR", files.scratch);
    let early = std::fs::File::create(files.early)
        .with_context(|| format!("making {}", files.early.display()))?;
    match spec.console {
        Console::None => {
            let output = early.try_clone().context("sharing the early log")?;
            command.stdin(Stdio::null()).stdout(output);
        }
        Console::Terminal => {
            command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
        }
    }
    command.stderr(early);
    Ok(command)
}

/// Whether this host lets a process switch address space randomization off: some containers
/// forbid the system call.
fn layout_can_be_fixed() -> bool {
    Command::new("setarch")
        .args(["-R", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn with_path(key: &str, path: &Path) -> OsString {
    let mut word = OsString::from(key);
    word.push(path);
    word
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display())).into())
}

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
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use emulator::cli::Doorbells;
use emulator::config::DeviceConfig;
use hipri_agent::MountEntry;
use hipri_agent::cmdline::{Options, RunSource};

use super::contract::{
    CpuRange, DeviceKind, End, Files, Machine, Pace, Running, SHARE, Told, VirtualTime,
};
use super::device::{Device, DeviceSpec, Terminal};
use super::kernel_file::{self, KernelFormat};
use super::mconsole;
use super::process::{GuestProcess, describe};
use super::start::{OnParentDeath, Starter};
use super::{Console, Placement, Spec};
use crate::exit::Failure;
use crate::guest::Arch;

/// The virtio device number by which the guest kernel knows virtio-pcidev; no official one exists.
/// The kernel's configuration (`CONFIG_UML_PCI_OVER_VIRTIO_DEVICE_ID`) says the same.
pub const VIRTIO_PCIDEV_ID: u32 = 1234;

/// User-Mode Linux with the emulator beside it.
#[derive(Debug)]
pub struct Uml;

impl Machine for Uml {
    fn arch(&self) -> Arch {
        Arch::Um
    }

    fn device(&self) -> DeviceKind {
        DeviceKind::Hipri
    }

    fn cpus(&self) -> CpuRange {
        CpuRange {
            default: 1,
            most: 1,
        }
    }

    fn pace(&self) -> Pace {
        Pace {
            // It boots in well under a second; a busy host may make it a few.
            boot: Duration::from_secs(60),
            fio_grace: Duration::from_secs(30),
        }
    }

    fn placement(&self, cores: &[usize], cpus: u32, pollers: u16) -> Placement {
        Placement::choose(cores, cpus, pollers)
    }

    fn check_told(&self, told: &Told) -> Result<(), Failure> {
        if told.doorbells == Some(Doorbells::Mapped) {
            return Err(Failure::usage(
                "--doorbells mapped works with --accel kvm only: User-Mode Linux has no device \
                 memory that is plain memory; take shadow or exit",
            ));
        }
        if told.pollers.is_some_and(|pollers| pollers > 1) {
            return Err(Failure::usage(
                "--pollers works with --accel kvm only: User-Mode Linux has one processor, and one \
                 poller is enough for it",
            ));
        }
        if told.virtual_time && told.doorbells == Some(Doorbells::Shadow) {
            return Err(Failure::usage(
                "--doorbells shadow has no place in --time virtual, where nobody polls memory; take \
                 exit",
            ));
        }
        if told.huge_pages.is_some() {
            return Err(Failure::usage(
                "--huge-pages works with --accel kvm only: User-Mode Linux keeps its memory in a \
                 file of the tmpfs",
            ));
        }
        Ok(())
    }

    fn share(&self, dir: &Path) -> Result<MountEntry, Failure> {
        Ok(MountEntry {
            source: "none".into(),
            target: SHARE.into(),
            fstype: "hostfs".into(),
            options: text(dir)?,
            read_only: false,
        })
    }

    fn check_device(&self, _: &DeviceSpec, _: &DeviceConfig) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    fn check_kernel(&self, kernel: &Path) -> Result<(), Failure> {
        match kernel_file::identify(kernel)? {
            KernelFormat::Program => Ok(()),
            other => Err(Failure::usage(format!(
                "{} is {other}: --accel uml boots a kernel that was built with ARCH=um",
                kernel.display()
            ))),
        }
    }

    fn check_host(&self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    /// The guest's memory is a file there.
    fn scratch_bytes(&self, spec: &Spec<'_>) -> u64 {
        spec.memory_mib << 20
    }

    fn start(&self, spec: &Spec<'_>, files: &Files) -> anyhow::Result<Box<dyn Running>> {
        let mut words: Vec<OsString> = vec![
            "serve".into(),
            "vhost-user".into(),
            "--ready-fd".into(),
            "{ready}".into(),
            "--socket".into(),
            files.scratch.join(SOCKET).into(),
        ];
        if spec.virtual_time.is_some() {
            kernel_file::require_time_costs(spec.kernel)?;
            words.push("--virtual-time".into());
            words.push(files.scratch.join(TIME_SOCKET).into());
        }
        if spec.trace {
            words.push("--trace".into());
            words.push(files.trace.clone().into());
        }
        let device = Device::start(
            words.into_iter().chain(spec.device.words()),
            spec.placement.device.first().copied(),
            Terminal::No,
            &files.scratch,
            &files.device_log,
        )?;
        let command = command(spec, files)?;
        log::debug!("{command:?}");
        Ok(Box::new(Pair {
            guest: GuestProcess::start(command)?,
            device,
            scratch: files.scratch.clone(),
        }))
    }
}

/// The guest's process and the device's.
#[derive(Debug)]
struct Pair {
    // Dropped in this order: the guest goes before its device.
    guest: GuestProcess,
    device: Device,
    scratch: PathBuf,
}

impl Running for Pair {
    fn ended(&mut self) -> anyhow::Result<Option<End>> {
        if let Some(status) = self.guest.ended()? {
            return Ok(Some(End::Guest(describe(status))));
        }
        let device = self.device.ended()?;
        Ok(device.map(|status| End::Device(describe(status))))
    }

    fn show_tasks(&mut self) {
        if let Err(error) = mconsole::ask(&self.scratch, "sysrq t") {
            log::warn!("the guest's management console: {error}");
        }
    }

    fn stop(self: Box<Self>) -> anyhow::Result<()> {
        let Self { guest, device, .. } = *self;
        drop(guest);
        device.stop()
    }
}

/// The emulator's socket, in the scratch directory.
const SOCKET: &str = "device.socket";

/// The socket of the guest's time.
const TIME_SOCKET: &str = "time.socket";

/// The guest kernel's command line, `{channel}` and `{console}` standing for descriptors. In virtual
/// time no word depends on where the scratch directory is, which the guest is started in: its random
/// numbers follow from its command line too.
///
/// # Errors
/// Exit 2, when a word cannot be quoted.
fn kernel_words(spec: &Spec<'_>, files: &Files) -> anyhow::Result<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    words.push(format!("mem={}M", spec.memory_mib).into());
    words.extend([
        "rootfstype=hostfs".into(),
        with_path("rootflags=", spec.root),
    ]);
    words.extend(["ro", "init=/init", "panic=-1", "stderr=1"].map(OsString::from));
    let scratch = match spec.virtual_time {
        // hostfs takes absolute paths only.
        Some(_) => Path::new("/proc/self/cwd/."),
        None => &files.scratch,
    };
    words.push(with_path("uml_dir=", scratch));
    if let Some(VirtualTime { costs, seed }) = &spec.virtual_time {
        words.push(with_path("time-travel=ext:", &scratch.join(TIME_SOCKET)));
        words.push(format!("time-costs={costs}").into());
        words.push(format!("rng-seed={seed}").into());
        // Else it is random.
        words.push("umid=guest".into());
    }
    let mut device = with_path("virtio_uml.device=", &scratch.join(SOCKET));
    device.push(format!(":{VIRTIO_PCIDEV_ID}"));
    words.push(device);
    // A device that has lost its core to another process for a while has not gone.
    words.push("virt_pci.max_delay_us=10000000".into());
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
        run: Some(RunSource::Hostfs(text(scratch)?)),
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
fn command(spec: &Spec<'_>, files: &Files) -> anyhow::Result<Command> {
    let starter = Starter::new(OnParentDeath::Kill)
        .cpu(spec.placement.guest.first().copied())
        .open("channel", &files.channel)
        .open("console", &files.console);
    // In virtual time it is started elsewhere.
    let kernel = std::path::absolute(spec.kernel).context("finding the kernel")?;
    let mut command = if layout_can_be_fixed() {
        // The guest's physical addresses follow the host's brk: without randomization a run can
        // be repeated exactly.
        let mut command = starter.command("setarch");
        command.arg("-R").arg(kernel);
        command
    } else {
        starter.command(kernel)
    };
    command.args(kernel_words(spec, files)?);
    if spec.virtual_time.is_some() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path);
        command.current_dir(&files.scratch);
    }
    command.env("TMPDIR", &files.scratch);
    let early = std::fs::File::create(&files.early)
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

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display())))
}

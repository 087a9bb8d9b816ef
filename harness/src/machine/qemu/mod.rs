// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The distribution's QEMU, with QEMU's own nvme: several processors where there is no KVM, and a
//! reference beside our device.
//!
//! | guest | host |
//! |---|---|
//! | root, in memory | the image's archive, with the command list behind it |
//! | `/dev/nvme0` | QEMU's nvme on a sparse file in the run's directory, or on the user's file |
//! | `ttyS0`, the kernel's console | `console.log`; the user's terminal too, for a shell |
//! | `ttyS1` | the agent's channel, a FIFO |
//!
//! What QEMU itself says is in `device.log`.

mod arguments;
mod executor;
mod process;
mod storage;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use emulator::config::DeviceConfig;
use emulator::controller::ControllerConfig;
use emulator::media::Backing;
use hipri_agent::MountEntry;

use self::executor::Executor;
use self::process::QemuProcess;
use self::storage::Storage;
use super::contract::{CpuRange, DeviceKind, Files, Machine, Pace, Running, Told};
use super::device::DeviceSpec;
use super::kernel_file::{self, KernelFormat};
use super::process::GuestProcess;
use super::start::{OnParentDeath, Starter};
use super::{Console, Placement, Spec, initrd};
use crate::exit::Failure;
use crate::guest::Arch;

/// The program, looked for in `PATH`.
const PROGRAM: &str = "qemu-system-x86_64";

/// How to get it.
const INSTALL: &str = "apt-get install --no-install-recommends qemu-system-x86";

/// QEMU.
#[derive(Debug)]
pub struct Qemu;

impl Machine for Qemu {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn device(&self) -> DeviceKind {
        DeviceKind::Qemu
    }

    fn cpus(&self) -> CpuRange {
        CpuRange {
            default: 2,
            most: 16,
        }
    }

    fn pace(&self) -> Pace {
        Pace {
            // It boots in two to six seconds; the processor is shared with other work.
            boot: Duration::from_secs(120),
            // fio starts and ends slowly: it calibrates a clock and writes a long document.
            fio_grace: Duration::from_secs(60),
        }
    }

    /// QEMU has a thread for each processor and more for its device.
    fn placement(&self, _: &[usize], _: u32, _: u16) -> Placement {
        Placement::FREE
    }

    fn check_told(&self, told: &Told) -> Result<(), Failure> {
        let option = match told {
            Told {
                doorbells: Some(_), ..
            } => "--doorbells",
            Told {
                huge_pages: Some(_),
                ..
            } => "--huge-pages",
            Told { pin: Some(_), .. } => "--pin",
            Told {
                pollers: Some(_), ..
            } => "--pollers",
            Told { trace: true, .. } => "--trace",
            _ => return Ok(()),
        };
        Err(Failure::usage(format!(
            "{option} has no effect with --accel qemu, where QEMU makes machine and device: take \
             --accel kvm or uml"
        )))
    }

    fn share(&self, _: &Path) -> Result<MountEntry, Failure> {
        Err(Failure::usage(
            "--share works with --accel uml only: a guest under QEMU sees no directory of the host",
        ))
    }

    fn check_device(
        &self,
        spec: &DeviceSpec,
        device: &DeviceConfig,
    ) -> Result<Vec<String>, Failure> {
        for (index, (media, _)) in device.namespaces().iter().enumerate() {
            if let Backing::Null { .. } = media.backing {
                return Err(Failure::usage(format!(
                    "{}: namespace {}: media = \"null\" is not possible with --accel qemu, whose \
                     nvme keeps its data in a file: take \"ram\" or \"file\"",
                    spec.device.display(),
                    index + 1
                )));
            }
        }
        let (told, usual) = (device.controller(), ControllerConfig::default());
        let mut warnings = Vec::new();
        let on_files = device
            .namespaces()
            .iter()
            .any(|(media, _)| matches!(media.backing, Backing::File { .. }));
        if told.volatile_write_cache && on_files {
            warnings.push(
                "volatile_write_cache has no effect: with QEMU's own nvme, data that was written \
                 survives the end of QEMU"
                    .to_owned(),
            );
        }
        if told.queue_depth != usual.queue_depth {
            warnings.push(format!(
                "queue_depth = {} has no effect: QEMU's own nvme decides",
                told.queue_depth
            ));
        }
        Ok(warnings)
    }

    fn check_kernel(&self, kernel: &Path) -> Result<(), Failure> {
        match kernel_file::identify(kernel)? {
            KernelFormat::Vmlinux | KernelFormat::BzImage => Ok(()),
            other => Err(Failure::usage(format!(
                "{} is {other}: --accel qemu boots an x86-64 vmlinux with CONFIG_PVH, or a bzImage",
                kernel.display()
            ))),
        }
    }

    fn check_host(&self) -> Result<Option<String>, Failure> {
        let version = version()?;
        Ok(Some(format!("{version}, {}", Executor::choose())))
    }

    /// The archive that is loaded; what the guest writes to `ram` media is not reserved.
    fn scratch_bytes(&self, spec: &Spec<'_>) -> u64 {
        initrd::bytes(spec)
    }

    fn start(&self, spec: &Spec<'_>, files: &Files) -> anyhow::Result<Box<dyn Running>> {
        let initrd = initrd::make(spec, &files.scratch)?;
        let storage = Storage::make(&spec.device, &files.scratch)?;
        let mut command = Starter::new(OnParentDeath::Kill).command(PROGRAM);
        command.args(arguments::arguments(spec, files, &initrd, &storage)?);
        let log = std::fs::File::create(&files.device_log)
            .with_context(|| format!("making {}", files.device_log.display()))?;
        match spec.console {
            Console::None => {
                let output = log.try_clone().context("sharing QEMU's log")?;
                // Ctrl-C is for hipri alone. A guest that has the terminal must stay in its
                // foreground group.
                command.process_group(0);
                command.stdin(Stdio::null()).stdout(output);
            }
            Console::Terminal => {
                command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
            }
        }
        command.stderr(log);
        log::debug!("{command:?}");
        Ok(Box::new(QemuProcess::new(
            GuestProcess::start(command)?,
            files,
        )))
    }
}

/// The first line of QEMU's own account.
fn version() -> Result<String, Failure> {
    let output = Command::new(PROGRAM)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::infrastructure(format!(
                "--accel qemu needs {PROGRAM} ({error}); type: {INSTALL}"
            ))
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(Failure::infrastructure(format!(
            "{PROGRAM} does not run ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<String>, Failure> {
        let device = DeviceConfig::parse(text, "mine.toml", Path::new(".")).unwrap();
        let spec = DeviceSpec {
            profile: "p".into(),
            device: "mine.toml".into(),
            seed: 1,
            doorbells: None,
            faults: None,
            floor: 0,
        };
        Qemu.check_device(&spec, &device)
    }

    #[test]
    fn check_device_null_media_are_refused_with_the_way_out() {
        let text = "[[namespace]]\nmedia = \"ram\"\nsize = \"1MiB\"\n\
                    [[namespace]]\nmedia = \"null\"\nsize = \"1MiB\"\n";
        let error = check(text).unwrap_err().to_string();
        assert!(error.starts_with("mine.toml: namespace 2"), "{error}");
        assert!(error.contains("\"ram\" or \"file\""), "{error}");
    }

    #[test]
    fn check_device_what_has_no_effect_is_told() {
        let namespace = "[[namespace]]\nmedia = \"ram\"\nsize = \"1MiB\"\n";
        assert_eq!(check(namespace).unwrap(), [""; 0]);
        let file = "[[namespace]]\nmedia = \"file\"\npath = \"disk\"\nsize = \"1MiB\"\n";
        let text = format!("[controller]\nvolatile_write_cache = true\nqueue_depth = 32\n{file}");
        assert_eq!(check(&text).unwrap().len(), 2);
    }
}

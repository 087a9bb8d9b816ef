// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our own virtual machine monitor on KVM: guest and device are one process, `nvme-emulator vmm`.
//!
//! | guest | host |
//! |---|---|
//! | root, in memory | the image's archive, with the command list behind it |
//! | `/dev/nvme0` | the controller, in the monitor's process |
//! | `ttyS0`, the kernel's console | `console.log`; the user's terminal instead, for a shell |
//! | `ttyS1` | the agent's channel, a FIFO |
//!
//! What the monitor itself says, its counters at the end included, is in `device.log`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use emulator::config::DeviceConfig;
use emulator::frontend::kvm::KvmProbe;
use hipri_agent::MountEntry;

use super::contract::{CpuRange, DeviceKind, End, Files, Machine, Pace, Running, Told};
use super::device::{Device, DeviceSpec, Terminal, value_name};
use super::kernel_file::{self, KernelFormat};
use super::outcome::tail;
use super::process::describe;
use super::{Console, Placement, Spec, initrd, interpreted, pc};
use crate::exit::Failure;
use crate::guest::Arch;

/// The monitor's exit code when the guest has crashed.
const EXIT_GUEST_CRASH: i32 = 6;

/// Lines of the monitor's own words that are shown.
const SHOWN_LINES: usize = 4;

/// Our own virtual machine monitor.
#[derive(Debug)]
pub struct Kvm;

impl Machine for Kvm {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn device(&self) -> DeviceKind {
        DeviceKind::Hipri
    }

    fn cpus(&self) -> CpuRange {
        CpuRange {
            default: 1,
            most: 16,
        }
    }

    fn pace(&self) -> Pace {
        if interpreted::is_allowed() {
            return interpreted::PACE;
        }
        Pace {
            // It boots in about a second; a busy host may make it a few.
            boot: Duration::from_secs(60),
            fio_grace: Duration::from_secs(30),
        }
    }

    fn placement(&self, cores: &[usize], cpus: u32, pollers: u16) -> Placement {
        Placement::choose(cores, cpus, pollers)
    }

    fn check_told(&self, told: &Told) -> Result<(), Failure> {
        if told.trace {
            return Err(Failure::usage(
                "--trace works with --accel uml only; nvme-emulator vmm takes it too",
            ));
        }
        Ok(())
    }

    fn share(&self, _: &Path) -> Result<MountEntry, Failure> {
        Err(Failure::usage(
            "--share works with --accel uml only: a guest on KVM sees no directory of the host",
        ))
    }

    fn check_device(&self, _: &DeviceSpec, _: &DeviceConfig) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    fn check_kernel(&self, kernel: &Path) -> Result<(), Failure> {
        match kernel_file::identify(kernel)? {
            KernelFormat::Vmlinux | KernelFormat::BzImage => Ok(()),
            other => Err(Failure::usage(format!(
                "{} is {other}: --accel kvm boots an x86-64 vmlinux or bzImage",
                kernel.display()
            ))),
        }
    }

    fn check_host(&self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    fn scratch_bytes(&self, spec: &Spec<'_>) -> u64 {
        initrd::bytes(spec)
    }

    fn start(&self, spec: &Spec<'_>, files: &Files) -> anyhow::Result<Box<dyn Running>> {
        let image = if interpreted::is_allowed() {
            Image::Disk(interpreted::make_device(spec, &files.scratch)?)
        } else {
            Image::Memory(initrd::make(spec, &files.scratch)?)
        };
        let terminal = match spec.console {
            Console::None => Terminal::No,
            Console::Terminal => Terminal::Yes,
        };
        let device = Device::start(
            words(spec, files, image)?,
            None,
            terminal,
            &files.scratch,
            &files.device_log,
        )?;
        Ok(Box::new(Monitor {
            device,
            words: files.device_log.clone(),
        }))
    }
}

/// Says why KVM is not taken, or is no good, on a host where it was found to be `found`.
///
/// # Errors
/// Exit 3, when it cannot run a guest.
pub fn require(found: &KvmProbe) -> Result<(), Failure> {
    if found.native || (found.kvm && interpreted::is_allowed()) {
        return Ok(());
    }
    Err(Failure::infrastructure(format!(
        "--accel kvm: {}; take --accel uml, which needs nothing of the host, or --accel qemu",
        shortcoming(found)
    )))
}

/// What is wrong with KVM here, in words that can follow a colon.
pub fn shortcoming(found: &KvmProbe) -> String {
    match (&found.error, found.supervisor_ns_per_iteration) {
        (Some(error), _) => error.clone(),
        (None, Some(nanos)) => format!(
            "KVM here interprets supervisor code ({nanos:.0} ns for an iteration of a loop of two \
             instructions; a processor takes less than {:.0})",
            emulator::frontend::kvm::NATIVE_BELOW_NS
        ),
        (None, None) => "KVM was not tried".to_owned(),
    }
}

/// How the image reaches the guest.
enum Image {
    /// In an archive that is loaded with the kernel.
    Memory(PathBuf),
    /// On a disk of the device with this configuration: see [`interpreted`].
    Disk(PathBuf),
}

fn words(spec: &Spec<'_>, files: &Files, image: Image) -> anyhow::Result<Vec<OsString>> {
    let mut words: Vec<OsString> = vec!["vmm".into(), "--ready-fd".into(), "{ready}".into()];
    let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
    let mut kernel_words = pc::kernel_words(spec)?;
    let mut device = spec.device.clone();
    match image {
        Image::Memory(archive) => add("--initrd", archive.into()),
        Image::Disk(configuration) => {
            device.device = configuration;
            kernel_words.extend(interpreted::ROOT_WORDS.map(str::to_owned));
            kernel_words.extend(interpreted::KERNEL_WORDS.map(str::to_owned));
            add("--cpu-features", "interpretable".into());
        }
    }
    add("--kernel", spec.kernel.into());
    add("--append", kernel_words.join(" ").into());
    add("--memory", format!("{}MiB", spec.memory_mib).into());
    add("--cpus", spec.cpus.to_string().into());
    add(
        "--console",
        match spec.console {
            Console::None => files.console.clone().into(),
            Console::Terminal => "stdio".into(),
        },
    );
    add("--channel", files.channel.clone().into());
    let cores = spec.placement.of_processors(spec.cpus);
    if !cores.is_empty() {
        add("--pin", list(&cores).into());
    }
    if let Some(choice) = spec.huge_pages {
        add("--huge-pages", value_name(&choice).into());
    }
    add("--pollers", spec.pollers.to_string().into());
    if !spec.placement.device.is_empty() {
        add("--cpu", list(&spec.placement.device).into());
    }
    words.extend(device.words());
    Ok(words)
}

/// Cores as the monitor's options take them.
fn list(cores: &[usize]) -> String {
    let names: Vec<String> = cores.iter().map(usize::to_string).collect();
    names.join(",")
}

/// The monitor's process.
#[derive(Debug)]
struct Monitor {
    device: Device,
    /// What it says.
    words: PathBuf,
}

impl Running for Monitor {
    fn ended(&mut self) -> anyhow::Result<Option<End>> {
        let status = self.device.ended()?;
        Ok(status.map(|status| {
            let words = std::fs::read(&self.words).unwrap_or_default();
            end(status, &String::from_utf8_lossy(&words))
        }))
    }

    fn stop(self: Box<Self>) -> anyhow::Result<()> {
        self.device.stop()
    }
}

/// What the monitor's end means.
fn end(status: ExitStatus, words: &str) -> End {
    match status.code() {
        Some(0) => End::Guest("it switched itself off or reset itself".into()),
        Some(EXIT_GUEST_CRASH) => End::TripleFault,
        _ => {
            let said = tail(words, SHOWN_LINES);
            let how = format!("the monitor ended with {}", describe(status));
            End::Machine(if said.is_empty() {
                how
            } else {
                format!("{how}: {}", said.trim())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn found(nanos: f64) -> KvmProbe {
        KvmProbe {
            kvm: true,
            supervisor_ns_per_iteration: Some(nanos),
            native: nanos < 100.0,
            ..KvmProbe::default()
        }
    }

    #[test]
    fn require_native_kvm_is_enough() {
        assert!(require(&found(0.6)).is_ok());
    }

    #[test]
    fn require_interpreted_kvm_is_refused_with_the_figure_and_the_way_out() {
        let error = require(&found(1234.0)).unwrap_err().to_string();
        assert!(error.contains("1234 ns"), "{error}");
        assert!(error.contains("--accel uml"), "{error}");
    }

    #[test]
    fn end_tells_a_triple_fault_from_a_failure_of_kvm() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        assert!(matches!(end(exited(0), ""), End::Guest(_)));
        assert_eq!(end(exited(6), ""), End::TripleFault);
        let End::Machine(how) = end(exited(3), "KVM reports an error\n") else {
            panic!("not the machine's");
        };
        assert!(how.ends_with("KVM reports an error"), "{how}");
    }
}

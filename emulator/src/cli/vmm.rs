// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vmm`: a virtual machine on KVM with the device in its process.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::{Deserialize, Serialize};

use super::{DeviceArgs, Failure, infrastructure, usage};
use crate::config::Bytes;
use crate::control::Report;
use crate::controller::DoorbellMode;
use crate::frontend::kvm::linux::{
    BootOptions, Features, Machine, MachineError, MachineOptions, RunningMachine, SerialPort,
};
use crate::frontend::kvm::{Ending, Enforcement, HugePages, MemoryOptions};

/// Exit code when the guest has crashed: a triple fault.
const EXIT_GUEST_CRASH: u8 = 6;

/// A virtual machine.
#[derive(Args)]
pub(super) struct VmmOptions {
    /// The guest's kernel: a vmlinux or bzImage for x86-64
    #[arg(long, value_name = "PATH")]
    kernel: PathBuf,
    /// Initial RAM disk; may be repeated, the archives are laid one behind the other
    #[arg(long, value_name = "PATH")]
    initrd: Vec<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// The guest's memory
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    memory: Bytes,
    /// What the guest's memory is made of
    #[arg(long, value_enum, default_value_t = HugePagesChoice::Transparent)]
    huge_pages: HugePagesChoice,
    /// Processors, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u8,
    /// Cores of the host for the processors, in order
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pin: Vec<usize>,
    /// Which of the host's processor features the guest sees
    #[arg(long, value_enum, default_value_t = FeaturesChoice::Host)]
    cpu_features: FeaturesChoice,
    /// Where the console's output goes: a file, which is appended to, or `stdio` for this terminal
    #[arg(long, value_name = "PATH")]
    console: Option<PathBuf>,
    /// Where the output of the second serial port goes: a file or FIFO
    #[arg(long, value_name = "PATH")]
    channel: Option<PathBuf>,
    /// What happens when a thread asks of the host what it has no need of
    #[arg(long, value_enum, default_value_t = SeccompChoice::Enforce)]
    seccomp: SeccompChoice,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SeccompChoice {
    /// The process ends
    Enforce,
    /// The host's audit log tells
    Log,
    /// Nothing: threads may ask what they want
    Off,
}

/// What the guest's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HugePagesChoice {
    /// Huge pages where the host gives them
    Transparent,
    /// Huge pages that were set aside (vm.nr_hugepages)
    Reserved,
    /// Small pages
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FeaturesChoice {
    /// All that KVM offers
    Host,
    /// Without those that a KVM that interprets supervisor code does not know
    Interpretable,
}

/// What is printed at the end.
#[derive(Serialize)]
struct VmmReport {
    /// How the guest ended: power-off, reset, triple-fault, internal-error, stopped.
    ending: &'static str,
    /// What KVM told, when it could not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    device: Report,
}

pub(super) fn run(options: VmmOptions) -> Result<ExitCode, Failure> {
    let stop = options.device.prepare_process()?;
    // A poller that reads shadow doorbells can sleep while nothing happens.
    let function = options.device.build(DoorbellMode::Shadow)?;
    let vectors = function.engine().config().vectors;
    let device = &options.device;
    let interactive = options.console.as_deref() == Some(Path::new("stdio"));
    let console = match &options.console {
        Some(_) if interactive => Some(terminal_output().map_err(infrastructure)?),
        Some(path) => Some(append_to(path)?),
        None => None,
    };
    let machine = Machine::build(
        MachineOptions {
            boot: BootOptions {
                kernel: options.kernel,
                initrds: options.initrd,
                command_line: options.append,
            },
            memory: MemoryOptions {
                bytes: options.memory.0,
                huge_pages: match options.huge_pages {
                    HugePagesChoice::Transparent => HugePages::Transparent,
                    HugePagesChoice::Reserved => HugePages::Reserved,
                    HugePagesChoice::Off => HugePages::Off,
                },
            },
            cpus: options.cpus,
            features: match options.cpu_features {
                FeaturesChoice::Host => Features::Host,
                FeaturesChoice::Interpretable => Features::Interpretable,
            },
            cores: options.pin,
            console,
            channel: options.channel.as_deref().map(append_to).transpose()?,
            vectors,
            poller: device.poller(),
        },
        function,
    )
    .map_err(failure)?;
    let _control = device.control_server(machine.device().poller().handle())?;
    let _raw = interactive.then(RawTerminal::enter).flatten();
    if interactive {
        feed_console(machine.console()).map_err(infrastructure)?;
    }
    device.tell_ready()?;
    let machine = machine
        .start(match options.seccomp {
            SeccompChoice::Enforce => Enforcement::Enforce,
            SeccompChoice::Log => Enforcement::Log,
            SeccompChoice::Off => Enforcement::Off,
        })
        .map_err(failure)?;
    let ending = wait(&machine, &stop);
    let (mut function, counters) = machine.end().map_err(failure)?;
    options.device.end_trace(&mut function)?;
    let (name, detail, code) = describe(ending);
    let report = VmmReport {
        ending: name,
        detail,
        device: Report::of(&function, &counters),
    };
    // Whoever does not want to know has closed it; a terminal belongs to the guest.
    if !interactive {
        let text = serde_json::to_string(&report)
            .context("writing the report")
            .map_err(infrastructure)?;
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    if let Some(detail) = &report.detail {
        log::error!("{detail}");
    }
    Ok(ExitCode::from(code))
}

fn failure(error: MachineError) -> Failure {
    if error.is_usage() {
        usage(error)
    } else {
        infrastructure(error)
    }
}

fn describe(ending: Ending) -> (&'static str, Option<String>, u8) {
    match ending {
        Ending::PowerOff => ("power-off", None, 0),
        Ending::Exit(code) => ("power-off", Some(format!("code {code}")), 0),
        Ending::Reset => ("reset", None, 0),
        Ending::Stopped => ("stopped", None, 0),
        Ending::TripleFault => ("triple-fault", None, EXIT_GUEST_CRASH),
        Ending::InternalError(detail) => {
            ("internal-error", Some(detail), super::EXIT_INFRASTRUCTURE)
        }
    }
}

/// Waits until the guest has ended or somebody wants the program to end.
fn wait(machine: &RunningMachine, stop: &UnixStream) -> Ending {
    let vcpus = machine.vcpus();
    loop {
        if let Some(ending) = vcpus.ending() {
            return ending;
        }
        let mut fds = [
            PollFd::from_borrowed_fd(vcpus.ended().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
        ];
        // An interrupted or failed wait is a short one: the loop looks at everything again.
        let _ = poll(&mut fds, None);
        if !fds[1].revents().is_empty() {
            vcpus.handle().stop();
        }
    }
}

fn append_to(path: impl AsRef<Path>) -> Result<File, Failure> {
    let path = path.as_ref();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("{}: cannot be written", path.display()))
        .map_err(usage)
}

fn terminal_output() -> std::io::Result<File> {
    Ok(File::from(std::io::stdout().as_fd().try_clone_to_owned()?))
}

/// Gives the guest what is typed, for as long as the process lives.
fn feed_console(console: &Arc<SerialPort>) -> std::io::Result<()> {
    let console = Arc::clone(console);
    std::thread::Builder::new()
        .name("console".into())
        .spawn(move || {
            let mut buffer = [0; 256];
            // Ends at the end of input or of the process.
            while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
                console.input(&buffer[..count]);
            }
        })?;
    Ok(())
}

/// The terminal's settings, put back when dropped: the guest's own terminal does the editing.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let saved = tcgetattr(&stdin).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(saved))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no tidying.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line of `nvme-emulator`, as a function: `hipri` runs it in a child of its own.

mod vmm;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::config::{self, DeviceConfig};
use crate::control::{self, ControlServer, Report};
use crate::controller::DoorbellMode;
use crate::drive::{
    Clock, FrontEnd, Poller, PollerCounters, PollerHandle, PollerOptions, pin_thread,
};
use crate::engine::Engine;
use crate::fault::Rules;
use crate::frontend::vhost_user::{Server, VirtualServer};
use crate::media::Backing;
use crate::observe::Trace;
use crate::pci::{Identity, NvmeFunction};
use crate::timing::units::{self, setting};
use crate::timing::{Floor, Model, Nanos};

pub use vmm::HugePagesChoice;

const EXIT_USAGE: u8 = 2;
const EXIT_INFRASTRUCTURE: u8 = 3;

/// An NVMe controller with a chosen speed, for guests of other people's virtual machine monitors.
///
/// Exit codes: 0 ended as asked, 2 usage or configuration, 3 the host refused something.
#[derive(Parser)]
#[command(name = "nvme-emulator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the device until SIGTERM or SIGINT, then print its counters
    Serve {
        #[command(subcommand)]
        transport: Transport,
    },
    /// Run a virtual machine on KVM with the device in it, until its guest ends; then print how it
    /// ended and what was counted
    Vmm(Box<vmm::VmmOptions>),
    /// Ask a running device something
    Control {
        /// The socket that the device was given with --control
        socket: PathBuf,
        #[command(subcommand)]
        request: ControlRequest,
    },
}

#[derive(Subcommand)]
enum Transport {
    /// As a PCI device over vhost-user, for User-Mode Linux (`virtio_uml.device=SOCKET:ID`)
    VhostUser(ServeOptions),
}

#[derive(Subcommand)]
enum ControlRequest {
    /// Whether it is there
    Ping,
    /// What it has counted, as JSON
    Counters,
    /// Change its speed while a guest runs
    Profile {
        /// Name in configs/profiles/, or a path; the profile in force when it is left out
        #[arg(required_unless_present = "set")]
        profile: Option<String>,
        /// Another value for a key of the profile, as in `--set read.time=7us`
        #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
        set: Vec<(String, String)>,
    },
    /// What its fault rules have done, as JSON; with FILE or --clear, other rules from now on
    Faults {
        /// Rules that take the place of those before
        #[arg(value_name = "FILE", conflicts_with = "clear")]
        file: Option<PathBuf>,
        /// No rules any more
        #[arg(long)]
        clear: bool,
    },
}

#[derive(Args)]
struct ServeOptions {
    /// Where to listen; a socket that nobody serves any more is replaced
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// End after the first guest
    #[arg(long)]
    once: bool,
    /// Keep the time of one guest, which connects here too (`time-travel=ext:PATH`): virtual time
    #[arg(long, value_name = "PATH")]
    virtual_time: Option<PathBuf>,
}

/// The device, whichever front end it has.
#[derive(Args)]
struct DeviceArgs {
    /// Speed: a name in configs/profiles/, or a path
    #[arg(
        long,
        value_name = "NAME|PATH",
        env = "HIPRI_PROFILE",
        default_value = "high-iops"
    )]
    profile: String,
    /// Controller and namespaces: a name in configs/devices/, or a path
    #[arg(
        long,
        value_name = "NAME|PATH",
        env = "HIPRI_DEVICE",
        default_value = "default"
    )]
    device: String,
    /// Seed of the service times: the same seed gives the same times
    #[arg(long, value_name = "N", env = "HIPRI_SEED", default_value_t = 1)]
    seed: u64,
    /// Fault rules: a file (docs/faults.md)
    #[arg(long, value_name = "FILE", env = "HIPRI_FAULTS")]
    faults: Option<PathBuf>,
    /// Threads that serve the I/O queues, each its share of them (more than 1 with vmm only)
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pollers: u16,
    /// Keep the pollers on these cores, in order; those beyond the list run anywhere
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpu: Vec<usize>,
    /// Keep a trace of every command in this file (docs/virtual-time.md); with one poller only
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Answer questions on a socket at PATH
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// After how long without work the poller sleeps: 500us, 2ms, 1s or never [default: 2ms]
    #[arg(long, value_name = "TIME", value_parser = parse_idle)]
    idle_sleep: Option<IdleSleep>,
    /// What the way from a doorbell to the device and back takes on this machine (hipri bench floor):
    /// it is subtracted from the profile's times, and a profile that wants less is refused
    #[arg(long, value_name = "TIME", default_value = "0ns", value_parser = units::duration)]
    floor: Nanos,
    /// How the guest's doorbells reach the device
    #[arg(long, value_enum, default_value_t = Doorbells::Auto)]
    doorbells: Doorbells,
    /// Write a byte to this file descriptor, a pipe, once a guest can connect
    #[arg(long, value_name = "N")]
    ready_fd: Option<u32>,
    /// End when the parent process, or its thread that started this one, dies
    #[arg(long)]
    die_with_parent: bool,
}

/// How the guest's doorbells reach the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Doorbells {
    /// The best that the front end can do: shadow
    Auto,
    /// Every doorbell write traps
    Exit,
    /// Doorbell Buffer Config is offered: I/O queues ring in guest memory
    Shadow,
    /// The doorbell page is memory that the poller reads (not with vhost-user)
    Mapped,
}

impl Doorbells {
    /// The mode, with `best` as what the front end can do.
    fn mode(self, best: DoorbellMode) -> DoorbellMode {
        match self {
            Self::Auto => best,
            Self::Exit => DoorbellMode::Exit,
            Self::Shadow => DoorbellMode::Shadow,
            Self::Mapped => DoorbellMode::Mapped,
        }
    }
}

#[derive(Clone, Copy)]
struct IdleSleep(Option<Duration>);

impl Default for IdleSleep {
    fn default() -> Self {
        Self(Some(Duration::from_millis(2)))
    }
}

/// What ends the program early, by whose fault it is.
enum Failure {
    Usage(anyhow::Error),
    Infrastructure(anyhow::Error),
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Usage(error.into())
}

fn infrastructure(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Infrastructure(error.into())
}

/// Runs the command line `args` (the program's name first) and returns the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nowhere to print to: the exit code has to do.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    // Somebody else's logger is as good.
    let _ = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_millis()
        .format_target(false)
        .try_init();
    let result = match cli.command {
        Command::Serve {
            transport: Transport::VhostUser(options),
        } => serve_vhost_user(&options).map(|()| ExitCode::SUCCESS),
        Command::Vmm(options) => vmm::run(*options),
        Command::Control { socket, request } => ask(&socket, request).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Usage(error)) => fail(EXIT_USAGE, &error),
        Err(Failure::Infrastructure(error)) => fail(EXIT_INFRASTRUCTURE, &error),
    }
}

fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    // The chain in one line.
    eprintln!("nvme-emulator: {error:#}");
    ExitCode::from(code)
}

fn serve_vhost_user(options: &ServeOptions) -> Result<(), Failure> {
    let device = &options.device;
    if device.doorbells == Doorbells::Mapped {
        return Err(usage(anyhow::anyhow!(
            "--doorbells mapped needs a front end that shares BAR0 with its guest; vhost-user does \
             not: use shadow or exit"
        )));
    }
    if device.pollers > 1 {
        return Err(usage(anyhow::anyhow!(
            "--pollers {}: vhost-user has one poller; nvme-emulator vmm can have several",
            device.pollers
        )));
    }
    let stop = device.prepare_process()?;
    if let Some(time) = &options.virtual_time {
        return serve_in_virtual_time(options, time, &stop);
    }
    let function = device.build(DoorbellMode::Shadow)?;
    let poller = Poller::spawn(function, Clock::new(), device.poller())
        .with_context(|| match device.cpu.first() {
            Some(cpu) => format!("the poller cannot run on core {cpu}"),
            None => "the poller cannot be started".into(),
        })
        .map_err(infrastructure)?;

    let served = serve_until_stopped(options, &poller, &stop);
    let (mut function, counters) = poller.end().map_err(infrastructure)?;
    device.end_trace(&mut function)?;
    if served.is_ok() {
        // Whoever does not want to know has closed it.
        let _ = writeln!(std::io::stdout(), "{}", Report::of(&function, &counters));
    }
    served
}

/// One thread, which nothing but the guest can ask anything: what it does is to depend on nothing
/// else.
fn serve_in_virtual_time(
    options: &ServeOptions,
    time: &Path,
    stop: &UnixStream,
) -> Result<(), Failure> {
    let device = &options.device;
    if device.doorbells == Doorbells::Shadow {
        return Err(usage(anyhow::anyhow!(
            "--doorbells shadow: in virtual time nobody polls memory; take exit"
        )));
    }
    if device.idle_sleep.is_some() {
        return Err(usage(anyhow::anyhow!(
            "--idle-sleep: in virtual time there is no poller that could sleep"
        )));
    }
    if device.floor > 0 {
        return Err(usage(anyhow::anyhow!(
            "--floor: in virtual time the way to the device takes nothing of its own"
        )));
    }
    if device.control.is_some() {
        return Err(usage(anyhow::anyhow!(
            "--control: in virtual time the device hears only its guest, so that a run can be repeated"
        )));
    }
    let function = device.build(DoorbellMode::Exit)?;
    if let Some(&cpu) = device.cpu.first() {
        pin_thread(cpu)
            .with_context(|| format!("the device cannot run on core {cpu}"))
            .map_err(infrastructure)?;
    }
    let server = VirtualServer::bind(&options.socket, time).map_err(infrastructure)?;
    log::info!("listening on {}", options.socket.display());
    device.tell_ready()?;
    let served = server
        .serve(function, stop.as_fd())
        .map_err(infrastructure)?;
    if matches!(served.gone_at, Ok(Some(_))) && !options.once {
        wait_for_stop(stop).map_err(infrastructure)?;
    }
    if let Some(mut function) = served.function {
        device.end_trace(&mut function)?;
        // Whoever does not want to know has closed it.
        let report = Report::of(&function, &PollerCounters::default());
        let _ = writeln!(std::io::stdout(), "{report}");
    }
    served.gone_at.map(drop).map_err(infrastructure)
}

fn serve_until_stopped(
    options: &ServeOptions,
    poller: &Poller<crate::frontend::vhost_user::PciQueues>,
    stop: &UnixStream,
) -> Result<(), Failure> {
    let server = Server::bind(&options.socket).map_err(infrastructure)?;
    let _control = options.device.control_server(poller.handle())?;
    log::info!("listening on {}", options.socket.display());
    options.device.tell_ready()?;
    server
        .serve(poller.handle(), stop.as_fd(), options.once)
        .map_err(infrastructure)
}

impl DeviceArgs {
    /// What has to happen before anything else: a signal that comes while the device is being built
    /// must not be lost. Returns what becomes readable when the program is to end.
    fn prepare_process(&self) -> Result<UnixStream, Failure> {
        if self.die_with_parent {
            die_with_parent().map_err(infrastructure)?;
        }
        stop_on_signals().map_err(infrastructure)
    }

    /// Builds the device: configuration, media, timing, faults. `best` is what `--doorbells auto` means.
    fn build(&self, best: DoorbellMode) -> Result<NvmeFunction, Failure> {
        let device = DeviceConfig::load(&self.device).map_err(usage)?;
        self.check_pollers(&device)?;
        let profile = config::load_profile(&self.profile).map_err(usage)?;
        profile
            .check_floor(Floor::of_way(self.floor))
            .map_err(usage)?;
        let rules = self.faults.as_deref().map(Rules::read);
        let rules = rules.transpose().map_err(usage)?;
        let (mut controller, namespaces) = device.open().map_err(usage)?;
        controller.doorbells = self.doorbells.mode(best);
        let vectors = controller.vectors;
        let model = Model::new(profile, self.seed).with_floor(self.floor);
        let engine = Engine::new(controller, namespaces, model).map_err(usage)?;
        let mut function = NvmeFunction::new(engine, &Identity::default(), vectors);
        if let Some(rules) = rules {
            log::info!("{} fault rules are in force", rules.len());
            function.set_faults(rules);
        }
        if let Some(file) = &self.trace {
            function.engine_mut().set_trace(self.trace_to(file)?);
        }
        Ok(function)
    }

    fn trace_to(&self, file: &Path) -> Result<Trace, Failure> {
        if self.pollers > 1 {
            return Err(usage(anyhow::anyhow!(
                "--trace: with {} pollers no order of commands is known; take --pollers 1",
                self.pollers
            )));
        }
        std::fs::File::create(file)
            .and_then(Trace::begin)
            .with_context(|| format!("--trace {}: it cannot be written", file.display()))
            .map_err(usage)
    }

    /// Several pollers want media that several threads can use, and no more cores than they are.
    fn check_pollers(&self, device: &DeviceConfig) -> Result<(), Failure> {
        if self.cpu.len() > usize::from(self.pollers) {
            return Err(usage(anyhow::anyhow!(
                "--cpu names {} cores for {} pollers (--pollers)",
                self.cpu.len(),
                self.pollers
            )));
        }
        if self.pollers == 1 {
            return Ok(());
        }
        for (nsid, (media, _)) in (1..).zip(device.namespaces()) {
            let what = match media.backing {
                Backing::File { .. } => "media = \"file\"",
                Backing::Ram if media.volatile_cache => "volatile_write_cache = true",
                Backing::Ram | Backing::Null { .. } => continue,
            };
            return Err(usage(anyhow::anyhow!(
                "{}: namespace {nsid} has {what}, which one poller has to itself: take --pollers 1, or \
                 media = \"ram\" and volatile_write_cache = false",
                self.device
            )));
        }
        Ok(())
    }

    fn poller(&self) -> PollerOptions {
        PollerOptions {
            cpu: self.cpu.first().copied(),
            lanes: (1..usize::from(self.pollers))
                .map(|poller| self.cpu.get(poller).copied())
                .collect(),
            idle_sleep: self.idle_sleep.unwrap_or_default().0,
        }
    }

    fn control_server<F: FrontEnd>(
        &self,
        poller: &PollerHandle<F>,
    ) -> Result<Option<ControlServer>, Failure> {
        self.control
            .as_ref()
            .map(|path| {
                ControlServer::start(path, poller)
                    .with_context(|| format!("{}: cannot listen there", path.display()))
            })
            .transpose()
            .map_err(infrastructure)
    }

    fn end_trace(&self, function: &mut NvmeFunction) -> Result<(), Failure> {
        let (Some(trace), Some(file)) = (function.engine_mut().take_trace(), &self.trace) else {
            return Ok(());
        };
        trace
            .end()
            .with_context(|| format!("--trace {}: it cannot be written", file.display()))
            .map_err(infrastructure)
    }

    fn tell_ready(&self) -> Result<(), Failure> {
        let Some(fd) = self.ready_fd else {
            return Ok(());
        };
        tell_ready(fd)
            .with_context(|| format!("--ready-fd {fd} is no pipe that can be written"))
            .map_err(usage)
    }
}

fn ask(socket: &Path, request: ControlRequest) -> Result<(), Failure> {
    let request = match request {
        ControlRequest::Ping => control::Request::Ping {},
        ControlRequest::Counters => control::Request::Counters {},
        ControlRequest::Profile { profile, set } => control::Request::Profile {
            profile,
            set: set.into_iter().collect(),
        },
        ControlRequest::Faults { file, clear } => control::Request::Faults {
            rules: file.as_deref().map(rules_text).transpose()?,
            clear,
        },
    };
    let answer = control::ask(socket, &request)
        .with_context(|| format!("{}: no device answers there", socket.display()))
        .map_err(infrastructure)?;
    // Whoever does not read the answer still has the exit code.
    let _ = writeln!(std::io::stdout(), "{answer}");
    let done = serde_json::from_str::<serde_json::Value>(&answer)
        .is_ok_and(|answer| answer["ok"] == serde_json::Value::Bool(true));
    if done {
        Ok(())
    } else {
        Err(usage(anyhow::anyhow!("the device has refused that")))
    }
}

/// The text of a file of fault rules, which was found to be right: the device would not know the
/// file's name.
fn rules_text(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: cannot be read", file.display()))
        .map_err(usage)?;
    Rules::parse(&text, &file.display().to_string()).map_err(usage)?;
    Ok(text)
}

/// There is nobody left to serve, but who started the device wants to hear of its end himself.
fn wait_for_stop(mut stop: &UnixStream) -> std::io::Result<()> {
    stop.read_exact(&mut [0])
}

/// A stream that becomes readable when somebody wants the program to end.
fn stop_on_signals() -> std::io::Result<UnixStream> {
    let (stop, sender) = UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
    }
    Ok(stop)
}

fn die_with_parent() -> anyhow::Result<()> {
    // None for one outside this PID namespace; in a container, 1 is a parent like any other.
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    // It may have died just before: then there is another one now.
    anyhow::ensure!(
        rustix::process::getppid() == parent,
        "the parent process is gone already"
    );
    Ok(())
}

/// The descriptor was inherited; opening it through /proc takes no ownership that is not ours.
fn tell_ready(fd: u32) -> std::io::Result<()> {
    let mut pipe = std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))?;
    pipe.write_all(b"\n")
}

fn parse_idle(text: &str) -> Result<IdleSleep, String> {
    if text == "never" {
        return Ok(IdleSleep(None));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return Err("write a whole number with us, ms or s, or never".into()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .map(|nanos| IdleSleep(Some(Duration::from_nanos(nanos))))
        .ok_or_else(|| "write a whole number with us, ms or s, or never".into())
}

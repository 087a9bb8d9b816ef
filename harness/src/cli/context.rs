// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every subcommand that boots a guest works out first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use emulator::config::DeviceConfig;
use emulator::timing::Profile;
use hipri_agent::{CommandList, MountEntry};

use super::options::TimeChoice;
use super::settings::MachineSettings;
use crate::exit::Failure;
use crate::guest::{self, BuildOptions, Flavour, Guest};
use crate::machine::accel::{self, Decision};
use crate::machine::{Accel, Console, DeviceSpec, Host, Machine, Placement, Spec, VirtualTime};
use crate::model::Costs;
use crate::progress::Progress;
use crate::repository::Repository;

/// Host, decisions and files of a run.
#[derive(Debug)]
pub struct Context {
    /// The checkout.
    pub repository: Repository,
    /// The host.
    pub host: Host,
    /// How the guest runs, and why.
    pub accel: Decision,
    /// Which cores are used.
    pub placement: Placement,
    /// The device.
    pub device: DeviceSpec,
    /// The profile's name: its file's stem.
    pub profile: String,
    /// The guest's processors.
    pub cpus: u32,
    /// The device's pollers.
    pub pollers: u16,
    /// What the user said and has no effect, a line each.
    pub warnings: Vec<String>,
    /// The settings that all this came from.
    pub settings: MachineSettings,
    /// Simulated time, if it is to be.
    pub virtual_time: Option<VirtualTime>,
    /// The file that its costs come from.
    pub costs_file: Option<PathBuf>,
    share: Option<MountEntry>,
}

impl Context {
    /// Works it out; nothing has been started or written after it.
    ///
    /// # Errors
    /// Exit 2, for what the user asked for and does not exist.
    pub fn new(settings: MachineSettings) -> anyhow::Result<Self> {
        Self::with_time(settings, |_| TimeChoice::Real)
    }

    /// The same, with `usual` as the time that passes on a machine when nobody says.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn with_time(
        mut settings: MachineSettings,
        usual: impl Fn(Accel) -> TimeChoice,
    ) -> anyhow::Result<Self> {
        let repository = Repository::find()?;
        let host = Host::look();
        let accel = accel::decide(settings.accel, &host)?;
        let profile_path = repository.config("profiles", "toml", &settings.profile)?;
        let device_path = repository.config("devices", "toml", &settings.device)?;
        let device = DeviceSpec {
            profile: profile_path,
            device: device_path,
            seed: settings.seed,
            doorbells: settings.told.doorbells,
            faults: None,
            floor: 0,
        };
        let machine = accel.accel.machine();
        let time = settings.time.unwrap_or_else(|| usual(accel.accel));
        settings.told.virtual_time = time == TimeChoice::Virtual;
        machine.check_told(&settings.told)?;
        let (virtual_time, costs_file) = virtual_time(&settings, accel.accel, &repository)?.unzip();
        let cpus = cpus(settings.cpus, &accel)?;
        let pollers = settings.told.pollers.unwrap_or(1);
        let placement = match &settings.told.pin {
            Some(pin) => Placement::told(pin, &host.cores, cpus, pollers)?,
            None => machine.placement(&host.cores, cpus, pollers),
        };
        let mut warnings = machine.check_device(&device, &load_configs(&device)?)?;
        if settings.profile_told && !machine.device().has_profile() {
            warnings.push(format!(
                "--profile {} has no effect: {} has no speed model",
                settings.profile,
                machine.device()
            ));
        }
        let profile = device
            .profile
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let share = settings.share.as_ref().map(|dir| {
            let canonical = dir.canonicalize().ok().filter(|dir| dir.is_dir());
            let canonical = canonical.ok_or_else(|| {
                Failure::usage(format!("--share {} is no directory", dir.display()))
            })?;
            machine.share(&canonical)
        });
        let context = Self {
            repository,
            placement,
            cpus,
            pollers,
            host,
            accel,
            device,
            profile,
            warnings,
            virtual_time,
            costs_file,
            share: share.transpose()?,
            settings,
        };
        context.check_floor_told()?;
        Ok(context)
    }

    /// What executes the guest.
    pub fn machine_kind(&self) -> &'static dyn Machine {
        self.accel.accel.machine()
    }

    /// Says what has no effect.
    pub fn warn(&self, progress: &dyn Progress) {
        for warning in &self.warnings {
            progress.line(warning);
        }
    }

    /// Says in one line how the guest runs, and why.
    pub fn announce(&self, progress: &dyn Progress) {
        let Decision { accel, reason } = &self.accel;
        let floor = match self.device.floor {
            0 => String::new(),
            floor => format!("; {floor} ns subtracted for the way to the device"),
        };
        progress.line(&format!(
            "accel {}: {reason}; {}{floor}",
            accel.name(),
            self.placement.describe()
        ));
    }

    /// Makes whatever is missing of the guest with these kernels, which may be none, and looks for
    /// what the machine needs of the host.
    ///
    /// # Errors
    /// Exit 2 or 3, as [`guest::build`] and [`Machine::check_host`].
    pub fn guest(&self, flavours: &[Flavour], progress: &dyn Progress) -> anyhow::Result<Guest> {
        let options = BuildOptions {
            kernel_source: self.settings.kernel_source.clone(),
            arch: self.machine_kind().arch(),
            flavours: flavours.to_vec(),
            image_only: flavours.is_empty(),
            as_is: false,
        };
        let guest = guest::build(&options, progress).context("making the guest")?;
        self.machine_kind().check_host()?;
        Ok(guest)
    }

    /// The guest's memory on such a kernel; none is a kernel that hipri did not build.
    pub fn memory_mib(&self, flavour: Option<Flavour>) -> u64 {
        let usual = flavour.map_or(Flavour::MEMORY_MIB, Flavour::memory_mib);
        self.settings.memory_mib.unwrap_or(usual)
    }

    /// What all boots of this context have in common.
    pub fn machine<'a>(
        &self,
        guest: &'a Guest,
        kernel: &'a Path,
        logs: Option<&'a Path>,
        verbose: u8,
    ) -> Spec<'a> {
        let flavour = guest.flavour(kernel);
        let words = flavour.map_or(&[][..], Flavour::kernel_words).iter();
        let words = words.map(|word| (*word).to_owned());
        Spec {
            accel: self.accel.accel,
            kernel,
            root: &guest.root,
            initramfs: guest.initramfs.as_deref(),
            cpus: self.cpus,
            memory_mib: self.memory_mib(flavour),
            slowness: flavour.map_or(1, Flavour::slowness),
            kernel_args: words.chain(self.settings.append.iter().cloned()).collect(),
            commands: CommandList {
                mounts: self.share.iter().cloned().collect(),
                ..CommandList::default()
            },
            device: self.device.clone(),
            huge_pages: self.settings.told.huge_pages,
            pollers: self.pollers,
            placement: self.placement.clone(),
            trace: self.settings.told.trace,
            virtual_time: self.virtual_time.clone(),
            console: Console::None,
            time_limit: None::<Duration>,
            logs,
            log_prefix: "",
            show_console: verbose > 0,
        }
    }
}

/// The emulator's own reading of its files: a mistake is told before anything is built.
fn load_configs(spec: &DeviceSpec) -> Result<DeviceConfig, Failure> {
    load_profile(spec)?;
    DeviceConfig::load(&spec.device.display().to_string())
        .map_err(|error| Failure::usage(error.to_string()))
}

/// The speed profile.
pub(super) fn load_profile(spec: &DeviceSpec) -> Result<Profile, Failure> {
    emulator::config::load_profile(&spec.profile.display().to_string())
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Simulated time, where it was asked for and is possible, and the file of its costs.
fn virtual_time(
    settings: &MachineSettings,
    accel: Accel,
    repository: &Repository,
) -> Result<Option<(VirtualTime, PathBuf)>, Failure> {
    if !settings.told.virtual_time {
        if settings.costs_told {
            return Err(Failure::usage(
                "--costs has no effect in real time: add --time virtual",
            ));
        }
        return Ok(None);
    }
    if accel != Accel::Uml {
        return Err(Failure::usage(format!(
            "--time virtual works with --accel uml only, not with {}: nobody else lets its time be \
             simulated",
            accel.name()
        )));
    }
    let file = repository.config("costs", "toml", &settings.costs)?;
    let (costs, _) = Costs::load(&file)?;
    let time = VirtualTime {
        costs: costs.kernel_word(),
        seed: settings.seed,
    };
    Ok(Some((time, file)))
}

/// The processors that the guest gets.
fn cpus(told: Option<u32>, accel: &Decision) -> Result<u32, Failure> {
    let range = accel.accel.machine().cpus();
    match told {
        None => Ok(range.default),
        Some(cpus) if cpus <= range.most => Ok(cpus),
        Some(cpus) => Err(Failure::usage(format!(
            "--cpus {cpus} is more than the {} of --accel {}: see --accel kvm and --accel qemu",
            range.most,
            accel.accel.name()
        ))),
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every subcommand that boots a guest works out first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use emulator::config::DeviceConfig;
use hipri_agent::CommandList;

use super::settings::MachineSettings;
use crate::exit::Failure;
use crate::guest::{self, BuildOptions, Flavour, Guest};
use crate::machine::accel::{self, Decision};
use crate::machine::{Console, DeviceSpec, Host, Machine, Placement, Spec};
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
    /// The settings that all this came from.
    pub settings: MachineSettings,
    share: Option<PathBuf>,
}

impl Context {
    /// Works it out; nothing has been started or written after it.
    ///
    /// # Errors
    /// Exit 2, for what the user asked for and does not exist.
    pub fn new(settings: MachineSettings) -> anyhow::Result<Self> {
        let repository = Repository::find()?;
        let host = Host::look();
        let accel = accel::decide(settings.accel, &host)?;
        let profile_path = repository.config("profiles", "toml", &settings.profile)?;
        let device_path = repository.config("devices", "toml", &settings.device)?;
        check_configs(&profile_path, &device_path)?;
        let profile = profile_path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let share = settings.share.as_ref().map(|dir| {
            dir.canonicalize()
                .ok()
                .filter(|dir| dir.is_dir())
                .ok_or_else(|| Failure::usage(format!("--share {} is no directory", dir.display())))
        });
        Ok(Self {
            repository,
            placement: accel.accel.machine().placement(&host.cores),
            host,
            accel,
            device: DeviceSpec {
                profile: profile_path,
                device: device_path,
                seed: settings.seed,
            },
            profile,
            share: share.transpose()?,
            settings,
        })
    }

    /// What executes the guest.
    pub fn machine_kind(&self) -> &'static dyn Machine {
        self.accel.accel.machine()
    }

    /// Says in one line how the guest runs, where the user left that to us.
    pub fn announce(&self, progress: &dyn Progress) {
        let Decision { accel, reason } = &self.accel;
        progress.line(&format!(
            "accel {}: {reason}; {}",
            accel.name(),
            self.placement.describe()
        ));
    }

    /// Makes whatever is missing of the guest with these kernels.
    ///
    /// # Errors
    /// Exit 2 or 3, as [`guest::build`].
    pub fn guest(&self, flavours: &[Flavour], progress: &dyn Progress) -> anyhow::Result<Guest> {
        let options = BuildOptions {
            kernel_source: self.settings.kernel_source.clone(),
            arch: self.machine_kind().arch(),
            flavours: flavours.to_vec(),
        };
        guest::build(&options, progress).context("making the guest")
    }

    /// What all boots of this context have in common.
    ///
    /// # Errors
    /// Exit 2, when the shared directory's path is not UTF-8.
    pub fn machine<'a>(
        &self,
        guest: &'a Guest,
        logs: Option<&'a Path>,
        verbose: u8,
    ) -> anyhow::Result<Spec<'a>> {
        let mut commands = CommandList::default();
        if let Some(share) = &self.share {
            commands.mounts.push(self.machine_kind().share(share)?);
        }
        let kernel = guest.kernels.first().context("no kernel was asked for")?;
        Ok(Spec {
            accel: self.accel.accel,
            kernel: &kernel.path,
            root: &guest.root,
            initramfs: guest.initramfs.as_deref(),
            cpus: self.machine_kind().cpus().default,
            memory_mib: self.settings.memory_mib,
            kernel_args: self.settings.append.clone(),
            commands,
            device: self.device.clone(),
            placement: self.placement,
            console: Console::None,
            time_limit: None::<Duration>,
            logs,
            log_prefix: "",
            show_console: verbose > 0,
        })
    }
}

/// The emulator's own reading of its files: a mistake is told before anything is built.
fn check_configs(profile: &Path, device: &Path) -> Result<(), Failure> {
    emulator::config::load_profile(&profile.display().to_string())
        .map_err(|error| Failure::usage(error.to_string()))?;
    DeviceConfig::load(&device.display().to_string())
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(())
}

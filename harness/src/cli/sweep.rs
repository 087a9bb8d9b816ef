// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The main job and `sweep`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::context::Context;
use super::options::{SweepOptions, TimeChoice};
use super::settings::{SettingsFile, SweepSettings};
use super::tell::tell;
use crate::exit::Failure;
use crate::guest::Guest;
use crate::machine::Accel;
use crate::progress::{self, Progress};
use crate::report::{self, Environment, ResultFolder, Style};
use crate::sweep::{self, Boot, Common, Document, Extent, SweepSpec};

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// `hipri` without a subcommand.
    MainJob,
    /// `hipri sweep`.
    Command,
}

impl Sweep {
    /// User-Mode Linux takes hundreds of microseconds for what it simulates: in its own time the main
    /// job shows figures that mean something beside the seed's.
    fn usual_time(self, accel: Accel) -> TimeChoice {
        match (self, accel) {
            (Self::MainJob, Accel::Uml) => TimeChoice::Virtual,
            _ => TimeChoice::Real,
        }
    }
}

/// I/Os of a cell in virtual time, when nobody says.
const DEFAULT_IOS: u64 = 10_000;

/// How long a cell is, given whose time passes in the guest.
fn extent(settings: &SweepSettings, virtual_time: bool) -> Result<Extent, Failure> {
    let refused = |option, reason| Err(Failure::usage(format!("{option} {reason}")));
    match (virtual_time, settings.runtime, settings.ios) {
        (true, Some(_), _) => refused(
            "--runtime",
            "has no place in virtual time, where a cell is --ios N: take that, or --time real",
        ),
        (true, None, _) if settings.reference.is_some() => refused(
            "--reference",
            "has no place in virtual time, where null_blk takes no time at all: take --time real",
        ),
        (false, _, Some(_)) => refused(
            "--ios",
            "has no place in real time, where a cell is --runtime SECONDS: take that, or --time virtual",
        ),
        (true, None, ios) => Ok(Extent::Ios(ios.unwrap_or(DEFAULT_IOS))),
        (false, runtime, None) => Ok(Extent::Seconds(runtime)),
    }
}

/// A cell's rate is taken in its middle, which there has to be.
fn enough(extent: Extent, depths: &[u32]) -> Result<(), Failure> {
    let least = 4 * u64::from(depths.iter().copied().max().unwrap_or(1));
    match extent {
        Extent::Ios(ios) if ios < least => Err(Failure::usage(format!(
            "--ios {ios} is too few for the largest depth: take {least} or more"
        ))),
        _ => Ok(()),
    }
}

/// Sweeps, shows the table or the document, and keeps a result folder.
///
/// # Errors
/// As the exit codes say.
pub fn run(options: &SweepOptions, what: Sweep, verbose: u8) -> anyhow::Result<ExitCode> {
    let settings = SweepSettings::resolve(options, &SettingsFile::load()?)?;
    let mut plan = Plan::new(settings, |accel| what.usual_time(accel))?;
    let progress = progress::for_stderr();
    if !plan.settings.machine.dry_run {
        plan.context.settle_floor()?;
    }
    plan.context.warn(progress.as_ref());
    if plan.settings.machine.dry_run {
        return plan.dry_run();
    }
    plan.context.announce(progress.as_ref());
    let guest = plan.guest(progress.as_ref())?;
    let out = plan.settings.machine.out.clone();
    let (folder, document) = plan.measure(&guest, out.as_deref(), verbose, progress.as_ref())?;
    show(&document, plan.settings.json)?;
    write_charts(folder.path(), progress.as_ref());
    progress.line(&format!("results are in {}", folder.path().display()));
    Ok(ExitCode::SUCCESS)
}

/// Adds the page with charts to a result folder. The figures are kept already, whatever becomes of it.
pub fn write_charts(folder: &Path, progress: &dyn Progress) {
    match report::write_page(folder) {
        Ok(page) => progress.line(&format!("charts are in {}", page.display())),
        Err(error) => progress.line(&format!("there are no charts: {error:#}")),
    }
}

/// A sweep that has been worked out: nothing has been started or written.
#[derive(Debug)]
pub struct Plan {
    /// How it was asked for.
    pub settings: SweepSettings,
    /// Host, machine and files.
    pub context: Context,
    workload: PathBuf,
    text: String,
    common: Common,
    boots: Vec<Boot>,
}

impl Plan {
    /// Works it out, with `usual` as the time that passes on a machine when nobody says.
    ///
    /// # Errors
    /// Exit 2, for what was asked for and does not exist or does not fit together.
    pub fn new(
        settings: SweepSettings,
        usual: impl Fn(Accel) -> TimeChoice,
    ) -> anyhow::Result<Self> {
        let context = Context::with_time(settings.machine.clone(), usual)?;
        let extent = extent(&settings, context.virtual_time.is_some())?;
        let workload = context
            .repository
            .config("workloads", "fio", &settings.workload)?;
        let text = std::fs::read_to_string(&workload)
            .with_context(|| format!("reading {}", workload.display()))?;
        let depths = settings.depths_for(&context.profile);
        enough(extent, &depths)?;
        Ok(Self {
            boots: sweep::plan(&depths, &settings.paths, settings.reference),
            common: Common {
                extent,
                seed: settings.machine.seed,
            },
            settings,
            context,
            workload,
            text,
        })
    }

    /// Its boots, in the order in which they run.
    pub fn boots(&self) -> &[Boot] {
        &self.boots
    }

    /// Makes whatever is missing of the guest.
    ///
    /// # Errors
    /// As [`Context::guest`].
    pub fn guest(&self, progress: &dyn Progress) -> anyhow::Result<Guest> {
        let flavours: Vec<_> = self.boots.iter().map(|boot| boot.flavour).collect();
        self.context.guest(&flavours, progress)
    }

    /// Sweeps, and keeps all that comes of it in the folder that is named, or a new one.
    ///
    /// # Errors
    /// When the folder cannot be made, or as [`sweep::run`].
    pub fn measure(
        &self,
        guest: &Guest,
        out: Option<&Path>,
        verbose: u8,
        progress: &dyn Progress,
    ) -> anyhow::Result<(ResultFolder, Document)> {
        let context = &self.context;
        let kernel = guest.kernels.first().context("no kernel was made")?;
        let device = context.machine_kind().device();
        let subject = if device.has_profile() {
            &context.profile
        } else {
            context.accel.accel.name()
        };
        let folder = ResultFolder::create(out, subject)?;
        if device.has_profile() {
            folder.keep_config("profile", &context.device.profile)?;
        }
        folder.keep_config("device", &context.device.device)?;
        folder.keep_config("workload", &self.workload)?;
        if let Some(costs) = &context.costs_file {
            folder.keep_config("costs", costs)?;
        }
        let result = sweep::run(
            &SweepSpec {
                machine: context.machine(guest, &kernel.path, Some(folder.path()), verbose),
                guest,
                profile: context.profile.clone(),
                boots: self.boots.clone(),
                workload: &self.text,
                workload_origin: &self.workload.display().to_string(),
                common: self.common,
                reference: self.settings.reference,
                fio_folder: &folder.fio(),
            },
            progress,
        )
        .inspect_err(|_| {
            progress.line(&format!("logs are in {}", folder.path().display()));
        })?;
        folder.write(&result.document, &environment(context, result.boot_ns))?;
        Ok((folder, result.document))
    }

    /// Says what would be done.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn dry_run(&self) -> anyhow::Result<ExitCode> {
        let origin = self.workload.display().to_string();
        dry_run(&self.context, &self.boots, &self.text, &origin, self.common)
    }
}

fn show(document: &Document, json: bool) -> anyhow::Result<()> {
    if json {
        let text = serde_json::to_string_pretty(document).context("writing the document")?;
        return tell!("{text}");
    }
    tell!(
        "I/Os per second / median completion latency, in {} time; {}",
        document.time,
        document.subject()
    )?;
    tell!("{}\n", report::depth_table(document, Style::Terminal))?;
    tell!("Mean submission time (fio's slat, all depths)")?;
    tell!("{}\n", report::submission(document, Style::Terminal))?;
    tell!("What the device counted, and the interrupts that the guest took; all depths")?;
    tell!("{}", report::counters(document, Style::Terminal))
}

fn environment(context: &Context, boot_ns: Vec<u64>) -> Environment {
    Environment {
        hipri: env!("CARGO_PKG_VERSION"),
        revision: report::revision(context.repository.root()),
        command: std::env::args().collect(),
        host: context.host.clone(),
        accel: context.accel.clone(),
        placement: context.placement.clone(),
        floor_ns: context.device.floor,
        placement_note: context.placement.describe(),
        seed: context.settings.seed,
        memory_mib: context.memory_mib(None),
        cpus: context.cpus,
        device: context.machine_kind().device(),
        executor: context.machine_kind().check_host().unwrap_or_default(),
        append: context.settings.append.clone(),
        boot_ns,
    }
}

fn dry_run(
    context: &Context,
    boots: &[Boot],
    text: &str,
    origin: &str,
    common: Common,
) -> anyhow::Result<ExitCode> {
    tell!(
        "accel:   {} ({})",
        context.accel.accel.name(),
        context.accel.reason
    )?;
    tell!("cores:   {}", context.placement.describe())?;
    tell!(
        "time:    {}",
        match context.virtual_time {
            Some(_) => "virtual",
            None => "real",
        }
    )?;
    tell!("profile: {}", context.device.profile.display())?;
    tell!("device:  {}", context.device.device.display())?;
    tell!("memory:  {} MiB", context.memory_mib(None))?;
    tell!("cpus:    {}", context.cpus)?;
    tell!("append:  {}", context.settings.append.join(" "))?;
    for boot in boots {
        tell!("\nboot of the {} kernel:", boot.flavour)?;
        for cell in &boot.cells {
            tell!("  {}", cell.name())?;
        }
    }
    if let Some(cell) = boots.first().and_then(|boot| boot.cells.first()) {
        tell!("\nfio job of cell {}:", cell.name())?;
        tell!("{}", sweep::resolve(text, origin, *cell, common)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

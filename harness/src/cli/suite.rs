// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `suite`: correctness checks in a guest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::context::Context;
use super::kernel::{self, KernelChoice};
use super::options::MachineOptions;
use super::settings::{MachineSettings, SettingsFile};
use super::tell::tell;
use crate::exit::{ExitReason, Failure};
use crate::progress::{self, Progress};
use crate::report;
use crate::repository::{Repository, names_in};
use crate::suite::{self, Environment, Exporter, Format, Kernels, Plan, Suite, Totals};

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct SuiteOptions {
    #[command(flatten)]
    machine: MachineOptions,
    #[command(flatten)]
    choice: SuiteChoice,
    /// The kernel, in place of each check's own: patched, vanilla and others of ours, or a file.
    /// Checks of kernels with the series are run on any but vanilla.
    #[arg(long, env = "HIPRI_KERNEL", value_name = "NAME|PATH", value_parser = kernel::parse)]
    kernel: Option<KernelChoice>,
    /// How results are shown on stdout. The result folder has all formats.
    #[arg(long, env = "HIPRI_FORMAT", value_enum, default_value_t)]
    format: Format,
    /// Shows what there is to check, and does nothing.
    #[arg(long)]
    list: bool,
}

/// Which checks, and how often.
#[derive(Clone, Debug, Args)]
pub struct SuiteChoice {
    /// Only checks whose name contains this.
    #[arg(long, env = "HIPRI_FILTER", value_name = "TEXT")]
    filter: Option<String>,
    /// Every suite in configs/suites/; so does no name at all.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// How often a check that failed is run again, each time in a boot of its own; it passes when
    /// one of them does, and is called flaky.
    #[arg(long, env = "HIPRI_RETRIES", value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,
    /// How often everything is run.
    #[arg(long, env = "HIPRI_REPEAT", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// Names in configs/suites/ or paths.
    #[arg(value_name = "NAME|PATH")]
    names: Vec<String>,
}

/// Runs suites; results on stdout.
///
/// # Errors
/// As the exit codes say.
pub fn run(options: &SuiteOptions, verbose: u8) -> anyhow::Result<ExitCode> {
    let suites = load(&options.choice)?;
    if options.list || options.machine.dry_run {
        list(&suites)?;
        return Ok(ExitCode::SUCCESS);
    }
    let kernels = match &options.kernel {
        None => Kernels::Own,
        Some(KernelChoice::Ours(flavour)) => Kernels::Ours(*flavour),
        Some(KernelChoice::File(path)) => Kernels::File(path.clone()),
    };
    let folder = report::make_folder(options.machine.out.as_deref(), "suite")?;
    let progress = progress::for_stderr();
    let session = Session {
        suites: &suites,
        choice: &options.choice,
        machine: &options.machine,
        kernels,
        folder: &folder,
        verbose,
    };
    let totals = session.run(options.format, progress.as_ref())?;
    progress.line(&format!(
        "{} passed, {} failed, {} skipped; results are in {}",
        totals.passed,
        totals.failed,
        totals.skipped,
        folder.display()
    ));
    Ok(ExitCode::from(
        totals.exit_reason().map_or(0, ExitReason::code),
    ))
}

fn list(suites: &[(String, Suite)]) -> anyhow::Result<()> {
    for (name, suite) in suites {
        tell!("{name}: {}", suite.description)?;
        for check in &suite.checks {
            tell!("  {}", check.name)?;
        }
    }
    Ok(())
}

/// Reads the suites that were chosen, without what is filtered out.
///
/// # Errors
/// Exit 2, when one is wrong; exit 4, when nothing is left.
pub fn load(choice: &SuiteChoice) -> anyhow::Result<Vec<(String, Suite)>> {
    let repository = Repository::find()?;
    let names = if choice.names.is_empty() {
        names_in(&repository.root().join("configs/suites"), "toml")
    } else {
        choice.names.clone()
    };
    let mut suites = Vec::new();
    for name in names {
        let path = repository.config("suites", "toml", &name)?;
        let mut suite = Suite::load(&path)?;
        if let Some(filter) = &choice.filter {
            suite.checks.retain(|check| check.name.contains(filter));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        suites.push((stem.into_owned(), suite));
    }
    suites.retain(|(_, suite)| !suite.checks.is_empty());
    if suites.is_empty() {
        return Err(Failure::new(ExitReason::Skipped, "no check has that name").into());
    }
    Ok(suites)
}

/// Suites that are run one after another.
pub struct Session<'a> {
    /// Names and contents.
    pub suites: &'a [(String, Suite)],
    /// How often.
    pub choice: &'a SuiteChoice,
    /// How the guests are made.
    pub machine: &'a MachineOptions,
    /// On which kernels.
    pub kernels: Kernels,
    /// The result folder.
    pub folder: &'a Path,
    /// How much is said.
    pub verbose: u8,
}

impl Session<'_> {
    /// Runs them, with results on stdout in `format`, and in the result folder in all of them.
    ///
    /// # Errors
    /// When a boot could not take place.
    pub fn run(&self, format: Format, progress: &dyn Progress) -> anyhow::Result<Totals> {
        let file = SettingsFile::load()?;
        let contexts: Vec<_> = self
            .suites
            .iter()
            .map(|(_, suite)| {
                let mut context = Context::new(self.settings(suite, &file)?)?;
                context.settle_floor()?;
                Ok(context)
            })
            .collect::<anyhow::Result<_>>()?;
        let mut warned = BTreeSet::new();
        for warning in contexts.iter().flat_map(|context| &context.warnings) {
            if warned.insert(warning) {
                progress.line(warning);
            }
        }
        let plans: Vec<_> = self
            .suites
            .iter()
            .zip(&contexts)
            .map(|((name, suite), context)| {
                let device = context.machine_kind().device();
                Plan::new(suite, name, &self.kernels, device)
            })
            .collect();
        let each: usize = plans
            .iter()
            .map(|plan| plan.items().count() + plan.skipped.len())
            .sum();
        let mut shown = Shown::new(format, self.folder)?;
        shown.begin(each * self.choice.repeat as usize)?;
        let mut totals = Totals::default();
        let mut take = |result: suite::Result| {
            totals.count(&result.verdict, result.is_flaky());
            shown.result(&result)
        };
        for repetition in 1..=self.choice.repeat {
            let suffix = match repetition {
                1 => String::new(),
                _ => format!("#{repetition}"),
            };
            let suites = self.suites.iter().zip(&contexts).zip(&plans);
            for (((name, _), context), plan) in suites {
                self.run_one(name, context, plan, &suffix, progress, &mut take)?;
            }
        }
        shown.end(&totals)?;
        Ok(totals)
    }

    fn run_one(
        &self,
        name: &str,
        context: &Context,
        plan: &Plan<'_>,
        suffix: &str,
        progress: &dyn Progress,
        take: &mut dyn FnMut(suite::Result) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for (name, reason) in &plan.skipped {
            take(suite::Result {
                name: format!("{name}{suffix}"),
                verdict: suite::Verdict::skipped(reason),
                before: Vec::new(),
            })?;
        }
        if plan.boots.is_empty() {
            return Ok(());
        }
        let kernel_file = match &self.kernels {
            Kernels::File(path) => {
                let choice = KernelChoice::File(path.clone());
                match choice.checked(context.machine_kind())? {
                    KernelChoice::File(path) => Some(path),
                    KernelChoice::Ours(_) => None,
                }
            }
            Kernels::Own | Kernels::Ours(_) => None,
        };
        let guest = context.guest(&plan.flavours(), progress)?;
        let first = guest.kernels.first().map(|kernel| kernel.path.as_path());
        let kernel = kernel_file.as_deref().or(first);
        let kernel = kernel.context("no kernel was made")?;
        let environment = Environment {
            machine: context.machine(&guest, kernel, Some(self.folder), self.verbose),
            guest: &guest,
            kernel_file: kernel_file.as_deref(),
            device_file: &|device| Ok(context.repository.config("devices", "toml", device)?),
            name,
            folder: self.folder,
            retries: self.choice.retries,
            suffix,
        };
        suite::run(plan, &environment, progress, take)
    }

    /// The suite's own profile and device, unless the command line says otherwise.
    fn settings(&self, suite: &Suite, file: &SettingsFile) -> Result<MachineSettings, Failure> {
        let mut settings = MachineSettings::resolve(self.machine, file)?;
        if self.machine.profile.is_none() {
            settings.profile.clone_from(&suite.profile);
            settings.profile_told = false;
        }
        if self.machine.device.is_none() {
            settings.device.clone_from(&suite.device);
        }
        Ok(settings)
    }
}

/// Stdout in one format, the result folder in all.
struct Shown {
    exporters: Vec<Box<dyn Exporter>>,
}

/// The files of the result folder.
const FILES: [(Format, &str); 4] = [
    (Format::Human, "report.txt"),
    (Format::Ktap, "tests.ktap"),
    (Format::Json, "suite.json"),
    (Format::Junit, "junit.xml"),
];

impl Shown {
    fn new(format: Format, folder: &Path) -> anyhow::Result<Self> {
        let mut exporters = vec![format.exporter(Patient(io::stdout()))];
        for (format, name) in FILES {
            let path: PathBuf = folder.join(name);
            let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
            exporters.push(format.exporter(file));
        }
        Ok(Self { exporters })
    }

    fn each(
        &mut self,
        mut tell: impl FnMut(&mut dyn Exporter) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        for exporter in &mut self.exporters {
            tell(exporter.as_mut()).context("writing results")?;
        }
        Ok(())
    }

    fn begin(&mut self, checks: usize) -> anyhow::Result<()> {
        self.each(|exporter| exporter.begin(checks))
    }

    fn result(&mut self, result: &suite::Result) -> anyhow::Result<()> {
        self.each(|exporter| exporter.result(result))
    }

    fn end(&mut self, totals: &Totals) -> anyhow::Result<()> {
        self.each(|exporter| exporter.end(totals))
    }
}

/// A reader that has left is no failure: what it does not read is not written.
struct Patient<W>(W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

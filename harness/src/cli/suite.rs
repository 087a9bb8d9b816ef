// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `suite`: correctness checks in a guest.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::context::Context;
use super::options::MachineOptions;
use super::settings::{MachineSettings, SettingsFile};
use super::tell::tell;
use crate::exit::{ExitReason, Failure};
use crate::progress;
use crate::repository::{Repository, names_in};
use crate::suite::{self, Environment, Ktap, Suite, Totals};

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct SuiteOptions {
    #[command(flatten)]
    machine: MachineOptions,
    /// Only checks whose name contains this.
    #[arg(long, env = "HIPRI_FILTER", value_name = "TEXT")]
    filter: Option<String>,
    /// Names in configs/suites/ or paths; all of configs/suites/ when none is given.
    #[arg(value_name = "NAME|PATH")]
    names: Vec<String>,
}

/// Runs suites; KTAP on stdout.
///
/// # Errors
/// As the exit codes say.
pub fn run(options: &SuiteOptions, verbose: u8) -> anyhow::Result<ExitCode> {
    let suites = load(options)?;
    let checks: usize = suites.iter().map(|(_, suite)| suite::count(suite)).sum();
    if options.machine.dry_run {
        for (name, suite) in &suites {
            tell!("{name}: {}", suite.description)?;
            for check in &suite.checks {
                tell!("  {}", check.name)?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if checks == 0 {
        return Err(Failure::new(ExitReason::Skipped, "no check has that name").into());
    }
    let file = SettingsFile::load()?;
    let progress = progress::for_stderr();
    let mut ktap = Ktap::begin(std::io::stdout(), checks).context("writing to stdout")?;
    let mut totals = Totals::default();
    let logs = options.machine.out.as_deref();
    super::make_log_folder(logs)?;
    let mut warned = BTreeSet::new();
    let mut report = |result: suite::Result| {
        totals.count(&result.verdict);
        ktap.result(&result.name, &result.verdict)
            .context("writing to stdout")
    };
    for (name, suite) in &suites {
        let context = Context::new(settings(options, suite, &file)?)?;
        for warning in &context.warnings {
            if warned.insert(warning.clone()) {
                progress.line(warning);
            }
        }
        let device = context.machine_kind().device();
        for result in suite::skipped(suite, name, device) {
            report(result)?;
        }
        let flavours = suite.flavours(device);
        if flavours.is_empty() {
            continue;
        }
        let guest = context.guest(&flavours, progress.as_ref())?;
        let kernel = guest.kernels.first().context("no kernel was made")?;
        let environment = Environment {
            machine: context.machine(&guest, &kernel.path, logs, verbose),
            guest: &guest,
            name,
        };
        suite::run(suite, &environment, progress.as_ref(), &mut report)?;
    }
    progress.line(&format!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    ));
    Ok(ExitCode::from(match totals {
        Totals { failed: 1.., .. } => ExitReason::Failed.code(),
        Totals { passed: 0, .. } => ExitReason::Skipped.code(),
        _ => 0,
    }))
}

/// The suite's own profile and device, unless the command line says otherwise.
fn settings(
    options: &SuiteOptions,
    suite: &Suite,
    file: &SettingsFile,
) -> Result<MachineSettings, Failure> {
    let mut settings = MachineSettings::resolve(&options.machine, file)?;
    if options.machine.profile.is_none() {
        settings.profile.clone_from(&suite.profile);
        settings.profile_told = false;
    }
    if options.machine.device.is_none() {
        settings.device.clone_from(&suite.device);
    }
    Ok(settings)
}

fn load(options: &SuiteOptions) -> anyhow::Result<Vec<(String, Suite)>> {
    let repository = Repository::find()?;
    let names = if options.names.is_empty() {
        names_in(&repository.root().join("configs/suites"), "toml")
    } else {
        options.names.clone()
    };
    let mut suites = Vec::new();
    for name in names {
        let path = repository.config("suites", "toml", &name)?;
        let mut suite = Suite::load(&path)?;
        if let Some(filter) = &options.filter {
            suite.checks.retain(|check| check.name.contains(filter));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        suites.push((stem.into_owned(), suite));
    }
    suites.retain(|(_, suite)| !suite.checks.is_empty());
    Ok(suites)
}

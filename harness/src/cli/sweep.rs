// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The main job and `sweep`.

use std::process::ExitCode;

use anyhow::Context as _;

use super::context::Context;
use super::options::SweepOptions;
use super::settings::{SettingsFile, SweepSettings};
use super::tell::tell;
use crate::progress;
use crate::report::{self, Environment, ResultFolder, Style};
use crate::sweep::{self, Boot, Common, Document, SweepSpec};

/// Sweeps, shows the table or the document, and keeps a result folder.
///
/// # Errors
/// As the exit codes say.
pub fn run(options: &SweepOptions, verbose: u8) -> anyhow::Result<ExitCode> {
    let settings = SweepSettings::resolve(options, &SettingsFile::load()?)?;
    let context = Context::new(settings.machine.clone())?;
    let progress = progress::for_stderr();
    context.warn(progress.as_ref());
    let workload = context
        .repository
        .config("workloads", "fio", &settings.workload)?;
    let text = std::fs::read_to_string(&workload)
        .with_context(|| format!("reading {}", workload.display()))?;
    let depths = settings.depths_for(&context.profile);
    let boots = sweep::plan(&depths, &settings.paths, settings.reference);
    let common = Common {
        runtime: settings.runtime,
        seed: settings.machine.seed,
    };
    let origin = workload.display().to_string();
    if settings.machine.dry_run {
        return dry_run(&context, &boots, &text, &origin, common);
    }

    context.announce(progress.as_ref());
    let flavours: Vec<_> = boots.iter().map(|boot| boot.flavour).collect();
    let guest = context.guest(&flavours, progress.as_ref())?;
    let kernel = guest.kernels.first().context("no kernel was made")?;
    let device = context.machine_kind().device();
    let subject = if device.has_profile() {
        &context.profile
    } else {
        context.accel.accel.name()
    };
    let folder = ResultFolder::create(settings.machine.out.as_deref(), subject)?;
    if device.has_profile() {
        folder.keep_config("profile", &context.device.profile)?;
    }
    folder.keep_config("device", &context.device.device)?;
    folder.keep_config("workload", &workload)?;
    let result = sweep::run(
        &SweepSpec {
            machine: context.machine(&guest, &kernel.path, Some(folder.path()), verbose),
            guest: &guest,
            profile: context.profile.clone(),
            boots,
            workload: &text,
            workload_origin: &origin,
            common,
            reference: settings.reference,
            fio_folder: &folder.fio(),
        },
        progress.as_ref(),
    )
    .inspect_err(|_| {
        progress.line(&format!("logs are in {}", folder.path().display()));
    })?;
    folder.write(&result.document, &environment(&context, result.boot_ns))?;
    show(&result.document, settings.json)?;
    // The figures are kept already, whatever becomes of their charts.
    match report::write_page(folder.path()) {
        Ok(page) => progress.line(&format!("charts are in {}", page.display())),
        Err(error) => progress.line(&format!("there are no charts: {error:#}")),
    }
    progress.line(&format!("results are in {}", folder.path().display()));
    Ok(ExitCode::SUCCESS)
}

fn show(document: &Document, json: bool) -> anyhow::Result<()> {
    if json {
        let text = serde_json::to_string_pretty(document).context("writing the document")?;
        return tell!("{text}");
    }
    tell!(
        "I/Os per second / median completion latency; {}",
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

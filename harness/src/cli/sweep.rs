// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The main job and `sweep`.

use std::process::ExitCode;

use anyhow::Context as _;

use super::context::Context;
use super::options::SweepOptions;
use super::settings::{SettingsFile, SweepSettings};
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
    progress.line(&format!("results are in {}", folder.path().display()));
    Ok(ExitCode::SUCCESS)
}

fn show(document: &Document, json: bool) -> anyhow::Result<()> {
    if json {
        let text = serde_json::to_string_pretty(document).context("writing the document")?;
        println!("{text}");
        return Ok(());
    }
    println!(
        "I/Os per second / median completion latency; {}",
        document.subject()
    );
    println!("{}\n", report::depth_table(document, Style::Terminal));
    println!("Mean submission time (fio's slat, all depths)");
    println!("{}\n", report::submission(document, Style::Terminal));
    println!("What the device counted, and the interrupts that the guest took; all depths");
    println!("{}", report::counters(document, Style::Terminal));
    Ok(())
}

fn environment(context: &Context, boot_ns: Vec<u64>) -> Environment {
    Environment {
        hipri: env!("CARGO_PKG_VERSION"),
        revision: report::revision(context.repository.root()),
        command: std::env::args().collect(),
        host: context.host.clone(),
        accel: context.accel.clone(),
        placement: context.placement,
        placement_note: context.placement.describe(),
        seed: context.settings.seed,
        memory_mib: context.settings.memory_mib,
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
    println!(
        "accel:   {} ({})",
        context.accel.accel.name(),
        context.accel.reason
    );
    println!("cores:   {}", context.placement.describe());
    println!("profile: {}", context.device.profile.display());
    println!("device:  {}", context.device.device.display());
    println!("memory:  {} MiB", context.settings.memory_mib);
    println!("cpus:    {}", context.cpus);
    println!("append:  {}", context.settings.append.join(" "));
    for boot in boots {
        println!("\nboot of the {} kernel:", boot.flavour);
        for cell in &boot.cells {
            println!("  {}", cell.name());
        }
    }
    if let Some(cell) = boots.first().and_then(|boot| boot.cells.first()) {
        println!("\nfio job of cell {}:", cell.name());
        print!("{}", sweep::resolve(text, origin, *cell, common)?);
    }
    Ok(ExitCode::SUCCESS)
}

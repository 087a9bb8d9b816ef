// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `bench`: the device without a Linux guest.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use emulator::frontend::kvm::micro::{BenchOptions, bench_device};

use super::tell::tell;
use crate::exit::Failure;
use crate::report;

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// The device under KVM, driven from user mode by a guest without a kernel: each doorbell mode,
    /// beside this host's core-to-core round trip and copy rate, all from one run.
    Device(DeviceBenchOptions),
}

/// How the device is measured.
#[derive(Clone, Debug, Args)]
pub struct DeviceBenchOptions {
    /// Commands of each row; rows whose doorbells trap have a fiftieth.
    #[arg(long, env = "HIPRI_COMMANDS", value_name = "N", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000))]
    commands: u64,
    /// Prints one JSON document on stdout in place of the table.
    #[arg(long)]
    json: bool,
    /// The result folder; must be empty or new [default: results/<UTC>-bench-device].
    #[arg(long, env = "HIPRI_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Measures and shows it.
///
/// # Errors
/// Exit 3 without KVM, or when a check of the guest fails.
pub fn run(command: &BenchCommand) -> anyhow::Result<ExitCode> {
    let BenchCommand::Device(options) = command;
    let folder = report::make_folder(options.out.as_deref(), "bench-device")?;
    let report = bench_device(&BenchOptions {
        commands: options.commands,
        ..BenchOptions::default()
    })
    .map_err(|error| Failure::infrastructure(format!("bench device: {error}")))?;
    let document = serde_json::to_string_pretty(&report).context("writing the document")?;
    for (name, text) in [
        ("bench.json", &document),
        ("report.txt", &report.to_string()),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, format!("{text}\n"))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if options.json {
        tell!("{document}")?;
    } else {
        tell!("{report}")?;
    }
    eprintln!("results are in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

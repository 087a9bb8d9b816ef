// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `bench`: the device without a Linux guest.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use emulator::bench::{MOST_IN_FLIGHT, TimingOptions, bench_timing, measure_floor};
use emulator::frontend::kvm::micro::{BenchOptions, bench_device};
use emulator::reference::{round_trip_nanos, two_cores};
use serde::Serialize;

use super::floor::failure;
use super::model::profile;
use super::tell::tell;
use crate::exit::Failure;
use crate::machine::Host;
use crate::report;
use crate::repository::Repository;

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// The device under KVM, driven from user mode by a guest without a kernel: each doorbell mode,
    /// beside this host's core-to-core round trip and copy rate, all from one run.
    Device(DeviceBenchOptions),
    /// What the emulation takes by itself, in this process: the floor below which no profile can go.
    Floor(FloorOptions),
    /// Whether the device keeps the word that a profile gives, in real time: when completions are seen
    /// beside when they are due, in this process and, where there is KVM, through a guest without a
    /// kernel.
    Timing(TimingBenchOptions),
}

/// How the floor is measured.
#[derive(Clone, Debug, Args)]
pub struct FloorOptions {
    /// Prints one JSON document on stdout.
    #[arg(long)]
    json: bool,
}

/// How the timing is measured.
#[derive(Clone, Debug, Args)]
pub struct TimingBenchOptions {
    /// How fast the device is: names in configs/profiles/ or paths.
    #[arg(
        long,
        env = "HIPRI_PROFILE",
        value_name = "NAME|PATH",
        value_delimiter = ',',
        default_value = "high-iops,low-latency"
    )]
    profile: Vec<String>,
    /// Commands in flight.
    #[arg(long, env = "HIPRI_DEPTHS", value_delimiter = ',', value_name = "N", default_value = "1,32",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_IN_FLIGHT)))]
    depths: Vec<u16>,
    /// Commands of each row.
    #[arg(long, env = "HIPRI_COMMANDS", value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000))]
    commands: u64,
    /// Seed of the service times.
    #[arg(long, env = "HIPRI_SEED", value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Prints one JSON document on stdout in place of the table.
    #[arg(long)]
    json: bool,
    /// The result folder; must be empty or new [default: results/<UTC>-bench-timing].
    #[arg(long, env = "HIPRI_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
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
/// Exit 2 for a profile that is none or is faster than the emulator; exit 3 without KVM where it is
/// needed, or when a check fails.
pub fn run(command: &BenchCommand) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Device(options) => run_device(options),
        BenchCommand::Floor(options) => run_floor(options),
        BenchCommand::Timing(options) => run_timing(options),
    }
}

fn run_device(options: &DeviceBenchOptions) -> anyhow::Result<ExitCode> {
    let folder = report::make_folder(options.out.as_deref(), "bench-device")?;
    let report = bench_device(&BenchOptions {
        commands: options.commands,
        ..BenchOptions::default()
    })
    .map_err(|error| Failure::infrastructure(format!("bench device: {error}")))?;
    show(&folder, options.json, &report, &report.to_string())
}

fn run_floor(options: &FloorOptions) -> anyhow::Result<ExitCode> {
    let cores = two_cores().context("asking for this process's cores")?;
    let floor = measure_floor(cores).map_err(failure)?;
    let round_trip = round_trip_nanos(cores).context("measuring the yardstick")?;
    if options.json {
        let document = serde_json::json!({
            "floor_response_ns": floor.response,
            "floor_way_ns": floor.way,
            "floor_command_ns": floor.command,
            "core_round_trip_ns": round_trip,
        });
        tell!("{document}")?;
    } else {
        tell!("{floor}")?;
        tell!("a core-to-core round trip takes {round_trip:.0} ns")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_timing(options: &TimingBenchOptions) -> anyhow::Result<ExitCode> {
    let repository = Repository::find()?;
    let micro_guest = Host::look().kvm.kvm;
    let mut plans = Vec::new();
    for name in &options.profile {
        plans.push(TimingOptions {
            profile: profile(&repository, name)?,
            seed: options.seed,
            commands: options.commands,
            depths: options.depths.clone(),
            micro_guest,
            cores: None,
        });
    }
    let folder = report::make_folder(options.out.as_deref(), "bench-timing")?;
    if !micro_guest {
        eprintln!("no KVM here: measured in this process alone");
    }
    let reports: Vec<_> = plans
        .iter()
        .map(bench_timing)
        .collect::<Result<_, _>>()
        .map_err(failure)?;
    let text: Vec<_> = reports.iter().map(ToString::to_string).collect();
    show(&folder, options.json, &reports, &text.join("\n\n"))
}

/// Keeps a report in the result folder and shows it.
fn show(
    folder: &Path,
    json: bool,
    report: &impl Serialize,
    text: &str,
) -> anyhow::Result<ExitCode> {
    let document = serde_json::to_string_pretty(report).context("writing the document")?;
    for (name, text) in [("bench.json", document.as_str()), ("report.txt", text)] {
        report::keep(folder, name, text)?;
    }
    if json {
        tell!("{document}")?;
    } else {
        tell!("{text}")?;
    }
    eprintln!("results are in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

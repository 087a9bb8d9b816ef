// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line.

mod agree;
mod bench;
mod bisect;
mod compare;
mod context;
mod floor;
mod guest;
mod kernel;
mod launch;
mod model;
mod options;
mod predict;
mod probe;
mod report;
mod reproducible;
mod settings;
mod suite;
mod sweep;
mod tell;
mod trace;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::exit::{self, EXIT_CODES_HELP};
use crate::interrupt;
use crate::machine::{device, start};

pub use context::Context;

/// Boots Linux guests with the polled-AIO series on an emulated NVMe device, runs fio in them and
/// shows what was measured beside what the series reported.
///
/// Without a subcommand: makes whatever is missing, boots both kernels, sweeps the seed's queue
/// depths along three software paths, prints the table and keeps a result folder.
#[derive(Debug, Parser)]
#[command(name = "hipri", version, after_help = EXIT_CODES_HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(flatten)]
    sweep: options::SweepOptions,

    /// Says more on stderr, the guest's console included; twice: everything.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures a depth sweep with fio.
    Sweep(options::SweepOptions),
    /// Boots a guest: a shell on its console, or one command and its exit code.
    Launch(launch::LaunchOptions),
    /// Runs correctness checks in a guest; KTAP on stdout.
    Suite(suite::SuiteOptions),
    /// Shows a command trace of a result folder as a table, or for Perfetto.
    Trace(trace::TraceOptions),
    /// Runs the same sweep several times in virtual time: all that it leaves must be alike to the byte.
    VerifyReproducible(reproducible::ReproducibleOptions),
    /// Builds a kernel tree and judges it by suites, for `git bisect run`.
    #[command(name = "bisect-run")]
    BisectRun(bisect::BisectOptions),
    /// Predicts IOPS and latency in virtual time, without a guest; fits the prediction to tables.
    Model(model::ModelOptions),
    /// Puts the model, the guest in virtual time and the guest in real time side by side, and says
    /// where the time of an I/O went.
    Agree(agree::AgreeOptions),
    /// Compares measured sweeps, and says what differs beyond chance.
    Compare(compare::CompareOptions),
    /// Writes the page with charts, report.html, of sweeps that were measured before.
    Report(report::ReportOptions),
    /// Measures the device alone.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Builds, shows, removes or edits the guest.
    #[command(subcommand)]
    Guest(guest::GuestCommand),
    /// Says what this host offers and what `--accel auto` takes.
    Probe(probe::ProbeOptions),
    #[command(name = start::SUBCOMMAND, hide = true)]
    Start(start::StartArgs),
    #[command(name = device::SUBCOMMAND, hide = true)]
    Device(device::DeviceArgs),
}

/// Runs the command line `args` (the program's name first) and gives the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own exit code is 2, and 0 for --help and --version.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // A closed stdout is no reason for another code.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Some(Command::Start(args)) => start::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Device(args)) => return device::serve(&args),
        command => {
            start_logging(cli.verbose);
            interrupt::install().and_then(|()| dispatch(command, &cli.sweep, cli.verbose))
        }
    };
    result.unwrap_or_else(|error| exit::report(&error))
}

fn dispatch(
    command: Option<Command>,
    main_job: &options::SweepOptions,
    verbose: u8,
) -> anyhow::Result<ExitCode> {
    match command {
        None => sweep::run(main_job, sweep::Sweep::MainJob, verbose),
        Some(Command::Sweep(options)) => sweep::run(&options, sweep::Sweep::Command, verbose),
        Some(Command::Trace(options)) => trace::run(&options),
        Some(Command::VerifyReproducible(options)) => reproducible::run(&options, verbose),
        Some(Command::Launch(options)) => launch::run(&options, verbose),
        Some(Command::Suite(options)) => suite::run(&options, verbose),
        Some(Command::BisectRun(options)) => bisect::run(&options, verbose),
        Some(Command::Model(options)) => model::run(&options),
        Some(Command::Agree(options)) => agree::run(&options, verbose),
        Some(Command::Compare(options)) => compare::run(&options),
        Some(Command::Report(options)) => report::run(&options),
        Some(Command::Bench(command)) => bench::run(&command),
        Some(Command::Guest(command)) => guest::run(&command),
        Some(Command::Probe(options)) => probe::run(&options),
        Some(Command::Start(_) | Command::Device(_)) => Ok(ExitCode::SUCCESS),
    }
}

/// Makes the folder that the user named for the logs, if there is one.
fn make_log_folder(folder: Option<&Path>) -> anyhow::Result<()> {
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
        }
        None => Ok(()),
    }
}

/// The exit codes are part of each subcommand's help.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let command = Cli::command().mut_subcommands(|sub| sub.after_help(EXIT_CODES_HELP));
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        .format_target(false)
        .format_timestamp(None)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn parse_main_job_takes_sweep_options() {
        let words = ["hipri", "--profile", "low-latency", "--depths", "1,2"];
        let cli = parse(words.map(OsString::from)).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.sweep.depths.as_deref(), Some(&[1, 2][..]));
    }

    #[test]
    fn parse_launch_keeps_the_commands_own_options() {
        let words = ["hipri", "launch", "--mem", "1G", "--", "ls", "-l"];
        let cli = parse(words.map(OsString::from)).unwrap();
        let Some(Command::Launch(options)) = cli.command else {
            panic!("not a launch");
        };
        assert_eq!(options.command, ["ls", "-l"]);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `compare`: what differs between sweeps.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::tell::tell;
use crate::compare::{self, ComparedCell, Comparison, Samples, Settings, Verdict};
use crate::exit::{ExitReason, Failure};
use crate::report::{self, Style};

/// Differences, in percent, that are taken for none unless told otherwise.
const MARGIN: f64 = 5.0;

/// Two sides, and how they are compared.
#[derive(Clone, Debug, Args)]
pub struct CompareOptions {
    /// The base: a result folder of a sweep, a folder of several, or A1,A2,A3.
    #[arg(value_name = "A")]
    a: String,
    /// What is held against it, likewise.
    #[arg(value_name = "B")]
    b: String,
    /// Ends with 1 if a cell of B does PCT percent fewer I/Os per second than A, beyond chance;
    /// differences below PCT count as none [default: 5, and never 1].
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    fail_on_regression: Option<f64>,
    /// How often an interval holds the true figure, and no difference is found in all cells
    /// together where there is none.
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = parse_confidence)]
    confidence: f64,
    /// Seed of the bootstrap's and the test's draws.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Prints one JSON document on stdout in place of the tables.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    regressions: Vec<String>,
}

/// Compares and shows it.
///
/// # Errors
/// Exit 1 for a regression, 2 for what cannot be compared.
pub fn run(options: &CompareOptions) -> anyhow::Result<ExitCode> {
    let (a, b) = (report::runs_of(&options.a)?, report::runs_of(&options.b)?);
    let settings = Settings {
        confidence: options.confidence,
        margin: options.fail_on_regression.unwrap_or(MARGIN) / 100.0,
        seed: options.seed,
    };
    let comparison = compare::compare(&a, &b, settings)?;
    let judge = options.fail_on_regression.is_some();
    if judge && !comparison.can_tell() {
        let why = comparison.warnings.last().cloned().unwrap_or_default();
        return Err(Failure::usage(format!("--fail-on-regression: {why}")).into());
    }
    for warning in &comparison.warnings {
        eprintln!("{warning}");
    }
    let regressions: Vec<String> = comparison.regressions().map(describe).collect();
    show(options, &comparison, &regressions)?;
    if !judge || regressions.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!(
        "{} of {} cells do less than A by more than {} %: {}",
        regressions.len(),
        comparison.cells.len(),
        settings.margin * 100.0,
        regressions.join(", ")
    );
    Err(Failure::new(ExitReason::Failed, message).into())
}

fn describe(cell: &ComparedCell) -> String {
    let change = (cell.ratio.value - 1.0) * 100.0;
    format!("{} at depth {} ({change:+.1} %)", cell.path, cell.depth)
}

fn show(
    options: &CompareOptions,
    comparison: &Comparison,
    regressions: &[String],
) -> anyhow::Result<()> {
    if options.json {
        let shown = Shown {
            comparison,
            regressions: regressions.to_vec(),
        };
        let text = serde_json::to_string_pretty(&shown).context("writing the document")?;
        return tell!("{text}");
    }
    tell!("A: {}\nB: {}", options.a, options.b)?;
    tell!(
        "{}, {} time; {}",
        comparison.subject,
        comparison.time,
        basis(comparison)
    )?;
    let percent = options.confidence * 100.0;
    tell!("\nI/Os per second [{percent} % interval]; p is that of a difference in any cell")?;
    tell!("{}", report::iops_table(comparison, Style::Terminal))?;
    tell!("\nCompletion latency [{percent} % interval]")?;
    tell!("{}", report::latency_table(comparison, Style::Terminal))?;
    let count = |verdict| comparison.count(verdict);
    tell!(
        "\n{} faster, {} slower, {} same (within {} %), {} undecided",
        count(Verdict::Faster),
        count(Verdict::Slower),
        count(Verdict::Same),
        comparison.settings.margin * 100.0,
        count(Verdict::Undecided)
    )
}

fn basis(comparison: &Comparison) -> String {
    let (a, b) = (comparison.a.len(), comparison.b.len());
    match comparison.samples {
        Samples::Runs => format!("the samples are {a} runs of A and {b} of B"),
        Samples::Intervals => "the samples are intervals within one run a side".to_owned(),
        Samples::Exact => "both are exact".to_owned(),
        Samples::None => format!("{a} and {b} runs, no samples"),
    }
}

/// Percents between 0 and 100, with or without their sign.
pub(super) fn parse_percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent),
        _ => Err("write percents between 0 and 100, such as 5".into()),
    }
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.5..=0.999).contains(&share) => Ok(share),
        _ => Err("write a share between 0.5 and 0.999, such as 0.95".into()),
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether two sides can be compared, and what speaks against it.

use std::fs;

use super::{Samples, Settings};
use crate::exit::Failure;
use crate::report::Run;
use crate::stats::{FEWEST, smallest_p};
use crate::sweep::{IoPath, Row};

/// A cell, and its row in each run.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub depth: u32,
    pub path: IoPath,
    pub a: Vec<(&'a Run, &'a Row)>,
    pub b: Vec<(&'a Run, &'a Row)>,
}

/// Refuses what means nothing when it is compared.
pub(super) fn check(a: &[Run], b: &[Run]) -> Result<(), Failure> {
    let Some(first) = a.first() else {
        return Err(Failure::usage("there is nothing to compare with"));
    };
    for run in a.iter().chain(b) {
        let (one, other) = (&first.document, &run.document);
        let what = [
            ("time", one.time.clone(), other.time.clone()),
            ("device", one.device.to_string(), other.device.to_string()),
            ("profile", named(&one.profile), named(&other.profile)),
        ];
        if let Some((what, one, other)) = what.into_iter().find(|(_, one, other)| one != other) {
            return Err(Failure::usage(format!(
                "{} has the {what} {one}, {} the {what} {other}: compare runs of one {what}",
                first.folder.display(),
                run.folder.display()
            )));
        }
    }
    Ok(())
}

fn named(profile: &Option<String>) -> String {
    profile.clone().unwrap_or_else(|| "none".to_owned())
}

/// The cells that each run has, by depth and path.
pub(super) fn common_cells<'a>(a: &'a [Run], b: &'a [Run]) -> Result<Vec<Pair<'a>>, Failure> {
    let rows = |runs: &'a [Run], depth, path| -> Option<Vec<(&'a Run, &'a Row)>> {
        let row = |run: &'a Run| Some((run, run.document.row(depth, path)?));
        runs.iter().map(row).collect()
    };
    let mut cells: Vec<(u32, IoPath)> = cells_of(a).collect();
    cells.sort_unstable();
    cells.dedup();
    let pairs: Vec<Pair<'a>> = cells
        .into_iter()
        .filter_map(|(depth, path)| {
            Some(Pair {
                depth,
                path,
                a: rows(a, depth, path)?,
                b: rows(b, depth, path)?,
            })
        })
        .collect();
    if pairs.is_empty() {
        return Err(Failure::usage(format!(
            "no cell is in both {} and {}: sweep the same --depths and --paths",
            list(a),
            list(b)
        )));
    }
    Ok(pairs)
}

fn cells_of(runs: &[Run]) -> impl Iterator<Item = (u32, IoPath)> {
    let rows = runs.iter().flat_map(|run| &run.document.rows);
    rows.map(|row| (row.depth, row.path))
}

fn list(runs: &[Run]) -> String {
    let names: Vec<_> = runs
        .iter()
        .map(|r| r.folder.display().to_string())
        .collect();
    names.join(", ")
}

/// What differs besides what may be compared.
pub(super) fn warnings(a: &[Run], b: &[Run], pairs: &[Pair<'_>]) -> Vec<String> {
    let mut warnings = Vec::new();
    let first = &a[0];
    let mut differs = |what: &str, of: &dyn Fn(&Run) -> Option<String>| {
        let value = of(first);
        let other = a.iter().chain(b).find(|run| of(run) != value);
        if let Some(other) = other {
            warnings.push(format!(
                "{} and {} differ in {what}",
                first.folder.display(),
                other.folder.display()
            ));
        }
    };
    differs("how the guest ran (--accel)", &|run| {
        Some(run.document.accel.clone())
    });
    differs("the host's processor", &|run| {
        Some(run.circumstances.host.cpu.clone())
    });
    for kind in ["profile", "device"] {
        let what = format!("the {kind}'s file in configs/");
        differs(&what, &|run| config(run, kind));
    }
    differs("the fio jobs in fio/", &|run| {
        let pair = &pairs[0];
        job(run, run.document.row(pair.depth, pair.path)?)
    });
    let shared = b.iter().find(|run| a.iter().any(|r| r.is_in(&run.folder)));
    if let Some(run) = shared.filter(|_| a.len() + b.len() > 2) {
        warnings.push(format!("{} is on both sides", run.folder.display()));
    }
    let mut left_out: Vec<_> = cells_of(a).chain(cells_of(b)).collect();
    left_out.sort_unstable();
    left_out.dedup();
    left_out.retain(|cell| !pairs.iter().any(|pair| (pair.depth, pair.path) == *cell));
    if !left_out.is_empty() {
        warnings.push(format!(
            "{} of {} cells are not in every run and are left out",
            left_out.len(),
            left_out.len() + pairs.len()
        ));
    }
    warnings
}

/// A configuration as it was used.
fn config(run: &Run, kind: &str) -> Option<String> {
    let prefix = format!("{kind}-");
    let mut entries = fs::read_dir(run.folder.join("configs")).ok()?;
    let entry = entries.find_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        name.to_str()?.starts_with(&prefix).then_some(entry)
    })?;
    fs::read_to_string(entry.path()).ok()
}

/// A cell's fio job without what may differ: the seed, and what is only logged.
fn job(run: &Run, row: &Row) -> Option<String> {
    const MAY_DIFFER: [&str; 4] = ["randseed", "write_iops_log", "log_avg_msec", "per_job_logs"];
    let text = run.job(row)?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !MAY_DIFFER.iter().any(|key| line.starts_with(key)))
        .collect();
    Some(lines.join("\n"))
}

/// What the samples cannot tell.
pub(super) fn doubts(samples: Samples, a: usize, b: usize, settings: Settings) -> Option<String> {
    let smallest = smallest_p(a, b);
    match samples {
        Samples::Exact => None,
        Samples::Runs if settings.is_chance(smallest) => Some(format!(
            "of {a} and {b} runs no difference is beyond chance: p is at least {smallest:.3}, and --confidence {} wants {:.3}",
            settings.confidence,
            1.0 - settings.confidence
        )),
        Samples::Runs => None,
        Samples::Intervals => Some(
            "one run a side: the samples are intervals within it, and what differs from run to run is not seen; several runs a side tell more".to_owned(),
        ),
        Samples::None if a == 1 && b == 1 => Some(format!(
            "no samples of these runs were kept, so nothing is said about chance: compare {FEWEST} runs a side or more"
        )),
        Samples::None => Some(format!(
            "{a} and {b} runs are too few to tell a difference from chance: compare {FEWEST} a side or more"
        )),
    }
}

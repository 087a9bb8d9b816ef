// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compares sweeps with each other: what differs, by how much, and whether it may be chance.
//!
//! `docs/compare.md` says what the samples are and what is assumed of them.

mod cells;
mod sides;
#[cfg(test)]
mod tests;
mod verdict;

use serde::Serialize;

use crate::exit::Failure;
use crate::report::Run;
use crate::stats::{Interval, smallest_p};
use crate::sweep::IoPath;

pub use verdict::Verdict;

/// How is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// How often an interval holds the true figure; 1 minus this is how often a difference may be
    /// found in all cells together where there is none.
    pub confidence: f64,
    /// Differences of this share of A are none that matters.
    pub margin: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Settings {
    /// Whether something of this p-value is taken for chance.
    fn is_chance(&self, p: f64) -> bool {
        p > 1.0 - self.confidence + 1e-9
    }
}

/// What the samples of a comparison are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Samples {
    /// Several runs on each side.
    Runs,
    /// One run on each side: its intervals. What differs from run to run is not seen.
    Intervals,
    /// One run on each side in virtual time: a second one would be the same.
    Exact,
    /// None: nothing can be said about chance.
    None,
}

/// A figure, and the interval that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Its confidence interval.
    pub interval: Option<Interval>,
}

/// One side of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CellSide {
    /// I/Os per second.
    pub iops: Figure,
    /// Median completion latency, in nanoseconds.
    pub lat_p50_ns: Figure,
    /// 99th percentile of the completion latency, in nanoseconds.
    pub lat_p99_ns: Figure,
}

/// One cell of both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedCell {
    /// Queue depth.
    pub depth: u32,
    /// Software path.
    pub path: IoPath,
    /// The base.
    pub a: CellSide,
    /// What is held against it.
    pub b: CellSide,
    /// I/Os per second of B divided by those of A.
    pub ratio: Figure,
    /// How likely a difference as large is by chance, in this cell.
    pub p_value: Option<f64>,
    /// How likely a difference as large is by chance, in any of the cells.
    pub p_adjusted: Option<f64>,
    /// What follows for I/Os per second.
    pub verdict: Verdict,
}

/// All cells together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Overall {
    /// Geometric mean of the cells' ratios.
    pub ratio: Figure,
    /// How likely it is by chance.
    pub p_value: Option<f64>,
}

/// Two sets of sweeps, compared. The field names are a promise to scripts.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What both sides are, in words.
    pub subject: String,
    /// The clock of both sides.
    pub time: String,
    /// How was compared.
    pub settings: Settings,
    /// What the samples are.
    pub samples: Samples,
    /// Folders of the base.
    pub a: Vec<String>,
    /// Folders that are held against it.
    pub b: Vec<String>,
    /// What speaks against the comparison, a sentence each.
    pub warnings: Vec<String>,
    /// The cells that both sides have, by depth and path.
    pub cells: Vec<ComparedCell>,
    /// All of them together.
    pub overall: Overall,
}

/// Compares the runs of B with those of A; both sides have at least one.
///
/// # Errors
/// Exit 2, when they cannot be compared, or files of theirs are damaged.
pub fn compare(a: &[Run], b: &[Run], settings: Settings) -> Result<Comparison, Failure> {
    sides::check(a, b)?;
    let pairs = sides::common_cells(a, b)?;
    let mut warnings = sides::warnings(a, b, &pairs);
    let (samples, cells, overall) = cells::compare(&pairs, settings)?;
    warnings.extend(sides::doubts(samples, a.len(), b.len(), settings));
    let names = |runs: &[Run]| {
        let names = runs.iter().map(|run| run.folder.display().to_string());
        names.collect()
    };
    Ok(Comparison {
        subject: format!("{}, {}", a[0].document.subject(), a[0].document.accel),
        time: a[0].document.time.clone(),
        settings,
        samples,
        a: names(a),
        b: names(b),
        warnings,
        cells,
        overall,
    })
}

impl Comparison {
    /// The cells that are slower than A beyond chance, and by more than the margin.
    pub fn regressions(&self) -> impl Iterator<Item = &ComparedCell> {
        let limit = 1.0 - self.settings.margin;
        self.cells
            .iter()
            .filter(move |cell| cell.verdict == Verdict::Slower && cell.ratio.value < limit)
    }

    /// Whether a regression would be found, if there were one.
    pub fn can_tell(&self) -> bool {
        match self.samples {
            Samples::Runs => {
                let smallest = smallest_p(self.a.len(), self.b.len());
                !self.settings.is_chance(smallest)
            }
            Samples::Intervals | Samples::Exact => true,
            Samples::None => self.count(Verdict::Same) == self.cells.len(),
        }
    }

    /// How many cells got this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        let with = self.cells.iter().filter(|cell| cell.verdict == verdict);
        with.count()
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Three-way agreement: the model, the guest in virtual time and the guest in the host's own time,
//! cell by cell, and where the time of an I/O went on each side. `docs/agreement.md` says what the
//! parts are.

mod parts;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use emulator::observe::TraceRecord;
use serde::Serialize;

use crate::model::{Costs, Outcome};
use crate::report::Run;
use crate::sweep::fio::FioResult;
use crate::sweep::{Boot, Cell, IoPath, Row, trace};

pub use parts::{Difference, PartDifference, Parts};

/// Version of `agree.json`; counted up when a field changes its meaning or goes.
const SCHEMA_VERSION: u32 = 1;

/// What fio's percentiles leave out: one I/O of so many is among the slowest.
const OF_THE_SLOWEST: u64 = 100;

/// One side of a cell. Times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Side {
    /// I/Os a second.
    pub iops: f64,
    /// Median completion latency.
    pub lat_p50_ns: u64,
    /// Mean time of an I/O, from its beginning to its end: fio's lat. The parts add up to it.
    pub mean_ns: f64,
    /// How much of it the completion latency of the slowest hundredth of all I/Os makes.
    pub slowest_ns: f64,
    /// Where it went.
    #[serde(flatten)]
    pub parts: Parts,
}

/// One cell.
#[derive(Clone, Debug, Serialize)]
pub struct AgreedCell {
    /// Queue depth.
    pub depth: u32,
    /// Software path.
    pub path: IoPath,
    /// The model.
    pub model: Side,
    /// The guest in virtual time, with the costs of the model.
    #[serde(rename = "virtual")]
    pub virtual_time: Side,
    /// The guest in the host's own time.
    pub real: Side,
    /// I/Os a second in virtual time, divided by the model's.
    pub virtual_to_model: f64,
    /// I/Os a second in real time, divided by the model's.
    pub real_to_model: f64,
    /// How virtual time differs from the model.
    pub virtual_less_model: Difference,
    /// How real time differs from the model.
    pub real_less_model: Difference,
}

/// Whether model and virtual time agree as closely as somebody wants.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Within {
    /// What they may differ by, in percent of the model's I/Os a second.
    pub percent: f64,
    /// The cells that differ by more.
    pub beyond: Vec<String>,
}

/// All cells of a profile.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    schema_version: u32,
    /// The profile's name.
    pub profile: String,
    /// What executed the guest in real time.
    pub accel: String,
    /// Costs of model and virtual time, in nanoseconds.
    pub costs: Costs,
    /// By path, then by depth.
    pub cells: Vec<AgreedCell>,
    /// What was asked for with `--within`.
    pub within: Option<Within>,
}

impl Side {
    /// What the model says.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times and counts are far below 2^53"
    )]
    pub fn of_model(outcome: &Outcome) -> Self {
        let latencies = outcome.latency.iter_recorded();
        let latencies: Vec<_> = latencies
            .map(|value| {
                (
                    value.value_iterated_to(),
                    value.count_since_last_iteration(),
                )
            })
            .collect();
        Self {
            iops: outcome.iops,
            lat_p50_ns: outcome.latency.value_at_quantile(0.5),
            mean_ns: outcome.lives.total as f64 / outcome.ios.max(1) as f64,
            slowest_ns: slowest(latencies.into_iter().rev()),
            parts: Parts::of_model(outcome),
        }
    }

    /// What a guest did, with the commands of the cell where the device kept a trace of them.
    pub fn of_guest(row: &Row, fio: &FioResult, commands: Option<&[TraceRecord]>) -> Self {
        let bins = fio.completion.bins().iter().rev();
        Self {
            iops: row.iops,
            lat_p50_ns: row.lat_p50_ns,
            mean_ns: fio.submit_mean_ns + fio.completion_mean_ns,
            slowest_ns: slowest(bins.map(|(time, count)| (*time, *count))),
            parts: Parts::of_guest(fio, commands),
        }
    }
}

/// What the longest hundredth of all times contributes to their mean; `times` and how often each
/// came, the longest first.
#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts are far below 2^53"
)]
fn slowest(times: impl Iterator<Item = (u64, u64)> + Clone) -> f64 {
    let all: u64 = times.clone().map(|(_, count)| count).sum();
    let mut left = all / OF_THE_SLOWEST;
    let mut sum = 0.0;
    for (time, count) in times {
        let taken = count.min(left);
        left -= taken;
        sum += time as f64 * taken as f64;
    }
    sum / all.max(1) as f64
}

/// The sides of all cells of a sweep, from its result folder.
///
/// # Errors
/// When a file of it is missing or damaged, or its trace does not belong to what fio says.
pub fn sides_of(folder: &Path, boots: &[Boot], traced: bool) -> anyhow::Result<Vec<(Cell, Side)>> {
    let run = Run::read(folder)?;
    let mut sides = Vec::new();
    for boot in boots {
        let mut traces = if traced {
            let file = folder.join(trace::file_name(boot.flavour));
            trace::read(&file, boot.cells.len())?.into_iter()
        } else {
            Vec::new().into_iter()
        };
        for &cell in &boot.cells {
            let commands = traces.next();
            let side = side_of(&run, cell, commands.as_deref())
                .with_context(|| format!("cell {} in {}", cell.name(), folder.display()))?;
            sides.push((cell, side));
        }
    }
    Ok(sides)
}

fn side_of(run: &Run, cell: Cell, commands: Option<&[TraceRecord]>) -> anyhow::Result<Side> {
    let row = run.document.row(cell.depth, cell.path);
    let row = row.ok_or_else(|| anyhow!("it was not measured"))?;
    let fio = run.fio(row)?.context("fio's document is missing")?;
    if let Some(commands) = commands {
        // The means of both are put together: they have to be of the same I/Os.
        let traced: u64 = parts::with_ios(commands).map(|(_, ios)| ios).sum();
        ensure!(
            traced == fio.total_ios,
            "the device has traced {traced} I/Os, and fio counted {}",
            fio.total_ios
        );
    }
    Ok(Side::of_guest(row, &fio, commands))
}

impl AgreedCell {
    /// Puts the sides of a cell beside each other.
    pub fn new(cell: Cell, model: Side, virtual_time: Side, real: Side) -> Self {
        Self {
            depth: cell.depth,
            path: cell.path,
            virtual_to_model: virtual_time.iops / model.iops,
            real_to_model: real.iops / model.iops,
            virtual_less_model: Difference::between(&virtual_time, &model),
            real_less_model: Difference::between(&real, &model),
            model,
            virtual_time,
            real,
        }
    }

    /// By how many percent virtual time differs from the model, in I/Os a second.
    pub fn percent_off(&self) -> f64 {
        (self.virtual_to_model - 1.0) * 100.0
    }
}

impl Agreement {
    /// Puts cells together, and holds virtual time against the model if somebody wants it within so
    /// many percent.
    pub fn new(
        profile: String,
        accel: &str,
        costs: Costs,
        mut cells: Vec<AgreedCell>,
        within: Option<f64>,
    ) -> Self {
        cells.sort_by_key(|cell| (cell.path, cell.depth));
        let within = within.map(|percent| Within {
            percent,
            beyond: cells
                .iter()
                .filter(|cell| cell.percent_off().abs() > percent)
                .map(|cell| {
                    let off = cell.percent_off();
                    format!("{} at depth {} ({off:+.1} %)", cell.path, cell.depth)
                })
                .collect(),
        });
        Self {
            schema_version: SCHEMA_VERSION,
            profile,
            accel: accel.to_owned(),
            costs,
            cells,
            within,
        }
    }
}

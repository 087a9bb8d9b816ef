// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What-if: cells that nobody has measured.

use serde::Serialize;

use super::{Costs, Outcome};
use crate::sweep::IoPath;

/// One cell.
#[derive(Clone, Debug, Serialize)]
pub struct PredictedCell {
    /// The software path.
    pub path: IoPath,
    /// Queue depth of each job.
    pub depth: u32,
    /// Most I/Os that are submitted or reaped at once.
    pub batch: u32,
    /// I/Os a second of all jobs.
    pub iops: f64,
    /// Median completion latency.
    pub lat_p50_us: f64,
    /// 99th percentile of the completion latency.
    pub lat_p99_us: f64,
    /// Share of the processors' time that goes into submission.
    pub submission: f64,
    /// Share of interrupts, waking up and reaping.
    pub completion: f64,
    /// Share that is idle, or polls in vain.
    pub waiting: f64,
}

/// All cells, and what they were predicted from.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Always "virtual".
    pub time: &'static str,
    /// The profile's name, with what was changed.
    pub profile: String,
    /// Processors, each with a job and a queue pair of its own.
    pub jobs: u16,
    /// Bytes of an I/O.
    pub block_size: u32,
    /// Of the host, in nanoseconds.
    pub parameters: Costs,
    /// By depth, then by path.
    pub cells: Vec<PredictedCell>,
}

impl PredictedCell {
    /// From what was simulated.
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
    pub fn of(path: IoPath, depth: u32, batch: u32, outcome: &Outcome) -> Self {
        let spent = &outcome.spent;
        let all = (spent.submission + spent.completion + spent.waiting).max(1) as f64;
        Self {
            path,
            depth,
            batch,
            iops: outcome.iops,
            lat_p50_us: outcome.median_us(),
            lat_p99_us: outcome.latency_us(0.99),
            submission: spent.submission as f64 / all,
            completion: spent.completion as f64 / all,
            waiting: spent.waiting as f64 / all,
        }
    }
}

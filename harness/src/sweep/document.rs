// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The document of a sweep: what `--json` prints and `run.json` keeps.

use serde::Serialize;

use super::IoPath;
use super::seed::SeedRow;
use crate::guest::{Flavour, Kernel};

/// A sweep's figures. The field names are a promise to scripts.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Name of the speed profile.
    pub profile: String,
    /// How the guest ran.
    pub accel: String,
    /// Which clock the figures were taken by: `real`.
    pub time: String,
    /// One row for each depth and path.
    pub rows: Vec<Row>,
    /// The seed's figures for this profile.
    pub seed_rows: Vec<SeedRow>,
}

/// A kernel, precisely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelIdentity {
    /// `vanilla` or `patched`.
    pub flavour: Flavour,
    /// `uname -r`, as the guest said it.
    pub release: String,
    /// SHA-256 of the kernel's binary.
    pub sha256: String,
}

impl KernelIdentity {
    /// The identity of a kernel that called itself `release`.
    pub fn new(kernel: &Kernel, release: &str) -> Self {
        Self {
            flavour: kernel.flavour,
            release: release.to_owned(),
            sha256: kernel.sha256.clone(),
        }
    }
}

/// One measured cell. Counters are differences over all I/O queues between the job's start and
/// its end, as the device counts.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Queue depth.
    pub depth: u32,
    /// Software path.
    pub path: IoPath,
    /// The kernel that it ran on.
    pub kernel: KernelIdentity,
    /// I/Os per second.
    pub iops: f64,
    /// Median of fio's completion latency, in nanoseconds.
    pub lat_p50_ns: u64,
    /// 99th percentile of fio's completion latency, in nanoseconds.
    pub lat_p99_ns: u64,
    /// Mean of fio's submission latency, in nanoseconds.
    pub submit_ns: f64,
    /// Commands completed on queues without interrupts.
    pub polled_commands: u64,
    /// Commands completed on queues with interrupts.
    pub irq_commands: u64,
    /// Interrupts raised.
    pub interrupts: u64,
    /// Doorbell writes that trapped.
    pub doorbell_traps: u64,
    /// Median of how long after its modelled time a completion was posted, in nanoseconds.
    pub lateness_p50_ns: u64,
    /// 99th percentile of the same, in nanoseconds.
    pub lateness_p99_ns: u64,
    /// These IOPS divided by those of the reference device in the same boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_reference: Option<f64>,
}

impl Document {
    /// The row of a cell.
    pub fn row(&self, depth: u32, path: IoPath) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.depth == depth && row.path == path)
    }

    /// The seed's figure for a cell.
    pub fn seed_row(&self, depth: u32, path: IoPath) -> Option<&SeedRow> {
        self.seed_rows
            .iter()
            .find(|row| row.depth == depth && row.path == path)
    }

    /// The depths measured, each once, ascending.
    pub fn depths(&self) -> Vec<u32> {
        let mut depths: Vec<_> = self.rows.iter().map(|row| row.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        depths
    }

    /// The paths measured, each once, in the seed's order.
    pub fn paths(&self) -> Vec<IoPath> {
        let mut paths: Vec<_> = self.rows.iter().map(|row| row.path).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The document of a sweep: what `--json` prints and `run.json` keeps.

use emulator::observe::{ExitTotals, Summary};
use serde::{Deserialize, Serialize};

use super::IoPath;
use super::seed::SeedRow;
use crate::guest::{Flavour, Kernel};
use crate::machine::DeviceKind;

/// A sweep's figures. The field names are a promise to scripts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Document {
    /// Name of the speed profile; `None` where the device has none.
    pub profile: Option<String>,
    /// How the guest ran.
    pub accel: String,
    /// Whose NVMe device it had: `hipri` or `qemu-nvme`.
    pub device: DeviceKind,
    /// Whose time the figures were taken in: `real` or `virtual`.
    pub time: String,
    /// One row for each depth and path.
    pub rows: Vec<Row>,
    /// All rows together.
    pub summary: RunSummary,
    /// The seed's figures for this profile.
    pub seed_rows: Vec<SeedRow>,
}

/// A kernel, precisely.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
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

/// One measured cell.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    /// Queue depth.
    pub depth: u32,
    /// Software path.
    pub path: IoPath,
    /// The kernel that it ran on.
    pub kernel: KernelIdentity,
    /// I/Os in all.
    pub ios: u64,
    /// I/Os per second: by fio, or in virtual time by the device's command trace.
    pub iops: f64,
    /// Median of fio's completion latency, in nanoseconds.
    pub lat_p50_ns: u64,
    /// 99th percentile of fio's completion latency, in nanoseconds.
    pub lat_p99_ns: u64,
    /// Mean of fio's submission latency, in nanoseconds.
    pub submit_ns: f64,
    /// Interrupts that the guest's kernel took on vectors of I/O queues meanwhile; absent when it
    /// does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_interrupts: Option<u64>,
    /// What the device counted; its fields are absent where the device does not count.
    #[serde(flatten)]
    pub counted: Option<DeviceCounts>,
    /// These IOPS divided by those of the reference device in the same boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_reference: Option<f64>,
}

/// What the device counts: differences over all I/O queues between a job's start and its end.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DeviceCounts {
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
    /// The longest of the same, in nanoseconds; absent in results of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness_max_ns: Option<u64>,
    /// Completions before their modelled time: a fault of the device; absent in results of older
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<u64>,
    /// The lateness of all completions together, in nanoseconds; absent in results of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness_sum_ns: Option<u64>,
    /// The part of it during which the host kept the device from its core; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness_host_ns: Option<u64>,
    /// Exits to the host; absent where the machine does not count them.
    #[serde(flatten)]
    pub exits: Option<Exits>,
}

/// How often the guest left its processors for the host.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Exits {
    /// Exits that the guest caused, each I/O's share of them.
    pub exits_per_io: f64,
    /// Returns that the host's signals caused.
    pub host_interruptions: u64,
    /// Exits that the guest caused: returns from KVM_RUN and writes that an ioeventfd swallowed.
    pub exits: u64,
    /// What the host's kernel counts as exits, if it tells: those that it deals with itself too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_exits: Option<u64>,
}

impl Exits {
    fn of(totals: &ExitTotals) -> Self {
        Self {
            exits_per_io: 0.0,
            host_interruptions: totals.host_interruptions,
            exits: totals.guest_exits + totals.ioeventfd_signals,
            kernel_exits: totals.kernel_exits,
        }
    }

    /// These figures, for `ios` I/Os in place of one.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    fn over(self, ios: u64) -> Self {
        Self {
            exits_per_io: self.exits as f64 / ios.max(1) as f64,
            ..self
        }
    }

    fn and(self, other: Self) -> Self {
        let kernel_exits = self.kernel_exits.zip(other.kernel_exits);
        Self {
            exits_per_io: self.exits_per_io,
            host_interruptions: self.host_interruptions + other.host_interruptions,
            exits: self.exits + other.exits,
            kernel_exits: kernel_exits.map(|(one, other)| one + other),
        }
    }
}

impl DeviceCounts {
    /// From the difference of two counter pages around a job of `ios` I/Os.
    pub fn new(counted: &Summary, ios: u64) -> Self {
        Self {
            polled_commands: counted.polled_commands,
            irq_commands: counted.irq_commands,
            interrupts: counted.interrupts,
            doorbell_traps: counted.doorbell_traps,
            lateness_p50_ns: counted.lateness.p50_ns,
            lateness_p99_ns: counted.lateness.p99_ns,
            lateness_max_ns: Some(counted.lateness.max_ns),
            early: Some(counted.early),
            lateness_sum_ns: Some(counted.lateness_sum_ns),
            lateness_host_ns: Some(counted.lateness_host_ns),
            exits: counted.exits.map(|exits| Exits::of(&exits).over(ios)),
        }
    }
}

/// What part of all lateness is the host's doing, 0 to 1; `None` where it is not known, or where
/// nothing was late.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub fn host_share<'a>(counted: impl IntoIterator<Item = &'a DeviceCounts>) -> Option<f64> {
    let (mut sum, mut host) = (0, 0);
    for counts in counted {
        sum += counts.lateness_sum_ns?;
        host += counts.lateness_host_ns?;
    }
    (sum > 0).then(|| host as f64 / sum as f64)
}

/// A run as a whole.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RunSummary {
    /// I/Os of all cells.
    pub ios: u64,
    /// Exits of all cells; absent unless each has them.
    #[serde(flatten)]
    pub exits: Option<Exits>,
}

impl RunSummary {
    /// Adds the rows up.
    pub fn of(rows: &[Row]) -> Self {
        let ios = rows.iter().map(|row| row.ios).sum();
        let each = rows.iter().map(|row| row.counted.as_ref()?.exits);
        let each: Option<Vec<Exits>> = each.collect();
        let all = each.and_then(|each| each.into_iter().reduce(Exits::and));
        Self {
            ios,
            exits: all.map(|exits| exits.over(ios)),
        }
    }
}

impl Document {
    /// What was measured, in a heading's words.
    pub fn subject(&self) -> String {
        match &self.profile {
            Some(profile) => format!("profile {profile}"),
            None => format!("{}, no speed model", self.device),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ios: u64, counted: Option<DeviceCounts>) -> Row {
        Row {
            depth: 1,
            path: IoPath::AioPollAll,
            kernel: KernelIdentity {
                flavour: Flavour::Patched,
                release: "6.12".into(),
                sha256: "0".into(),
            },
            ios,
            iops: 1.0,
            lat_p50_ns: 1,
            lat_p99_ns: 2,
            submit_ns: 0.5,
            guest_interrupts: None,
            counted,
            ratio_to_reference: None,
        }
    }

    fn counted(exits: Option<Exits>) -> Option<DeviceCounts> {
        Some(DeviceCounts {
            exits,
            ..DeviceCounts::new(&Summary::default(), 1)
        })
    }

    fn exits(exits: u64, host_interruptions: u64, ios: u64) -> Exits {
        Exits {
            exits_per_io: 0.0,
            host_interruptions,
            exits,
            kernel_exits: None,
        }
        .over(ios)
    }

    #[test]
    fn row_without_counters_has_none_of_their_fields() {
        let json = serde_json::to_value(row(5, None)).unwrap();
        for field in ["polled_commands", "lateness_p50_ns", "exits_per_io"] {
            assert!(json.get(field).is_none(), "{json}");
        }
        assert_eq!(json["ios"], 5);
    }

    #[test]
    fn row_with_counters_has_them_beside_the_others() {
        let json = serde_json::to_value(row(5, counted(None))).unwrap();
        assert_eq!(json["polled_commands"], 0);
        assert!(json.get("exits_per_io").is_none(), "{json}");
        let json = serde_json::to_value(row(5, counted(Some(exits(10, 3, 5))))).unwrap();
        assert_eq!(json["exits_per_io"], 2.0);
        assert_eq!(json["host_interruptions"], 3);
    }

    #[test]
    fn document_that_is_read_back_is_the_same() {
        let document = Document {
            profile: None,
            accel: "uml".into(),
            device: DeviceKind::Hipri,
            time: "real".into(),
            rows: vec![
                row(5, counted(Some(exits(10, 3, 5)))),
                row(6, counted(None)),
                row(7, None),
            ],
            summary: RunSummary::default(),
            seed_rows: crate::sweep::seed::rows("low-latency"),
        };
        let json = serde_json::to_value(&document).unwrap();
        let read: Document = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
    }

    #[test]
    fn counts_exits_of_the_device_are_shared_out() {
        let summary = Summary {
            exits: Some(ExitTotals {
                guest_exits: 6,
                ioeventfd_signals: 4,
                host_interruptions: 2,
                kernel_exits: Some(20),
            }),
            ..Summary::default()
        };
        let exits = DeviceCounts::new(&summary, 5).exits.unwrap();
        assert_eq!(exits.exits_per_io, 2.0);
        assert_eq!((exits.exits, exits.host_interruptions), (10, 2));
        assert_eq!(exits.kernel_exits, Some(20));
    }

    #[test]
    fn summary_exits_are_weighted_by_ios() {
        let rows = [
            row(100, counted(Some(exits(0, 1, 100)))),
            row(300, counted(Some(exits(400, 2, 300)))),
        ];
        let summary = RunSummary::of(&rows);
        assert_eq!(summary.exits, Some(exits(400, 3, 400)));
        assert_eq!(summary.exits.map(|exits| exits.exits_per_io), Some(1.0));
    }

    #[test]
    fn summary_of_rows_that_do_not_all_count_has_no_exits() {
        let rows = [row(1, counted(Some(exits(0, 0, 1)))), row(1, counted(None))];
        assert_eq!(RunSummary::of(&rows).exits, None);
        assert_eq!(RunSummary::of(&[]).exits, None);
        assert_eq!(RunSummary::of(&rows).ios, 2);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The seed's table: what the 2018 patch series reported for its two devices, to stand beside what
//! is measured here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::IoPath;
use crate::model::table;

/// One figure of the seed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct SeedRow {
    /// Queue depth.
    pub depth: u32,
    /// Software path.
    pub path: IoPath,
    /// I/Os per second.
    pub iops: u32,
    /// Median completion latency in nanoseconds, where the seed gives one.
    pub lat_p50_ns: Option<u32>,
}

/// Submission times in nanoseconds as the seed's text gives them: path, lowest, highest.
pub const SUBMIT_NS: [(IoPath, u32, u32); 3] = [
    (IoPath::Mainline, 1800, 2100),
    (IoPath::AioPoll, 1800, 2000),
    (IoPath::AioPollAll, 660, 660),
];

/// Whose depths are swept for profiles that the seed does not have.
const OF_OTHERS: &str = "high-iops";

/// The seed's rows for a profile; empty for profiles that it does not have.
pub fn rows(profile: &str) -> Vec<SeedRow> {
    let row = |cell: table::Cell| SeedRow {
        depth: cell.depth,
        path: cell.path,
        iops: whole(cell.iops),
        lat_p50_ns: cell.lat_p50_us.map(|latency| whole(latency * 1000.0)),
    };
    table::seed()
        .into_iter()
        .filter(|cell| cell.device == profile)
        .map(row)
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the table's figures are positive and below 2^32"
)]
fn whole(figure: f64) -> u32 {
    figure.round() as u32
}

/// The depths to sweep for a profile unless told otherwise: the seed's, or powers of two to 64.
pub fn depths(profile: &str) -> Vec<u32> {
    let of = |device: &str| -> BTreeSet<u32> {
        let rows = rows(device);
        rows.iter().map(|row| row.depth).collect()
    };
    let depths = match of(profile) {
        none if none.is_empty() => of(OF_OTHERS),
        depths => depths,
    };
    depths.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_high_iops_last_row_is_the_peak() {
        let rows = rows("high-iops");
        assert_eq!(rows.len(), 21);
        let peak = rows.last().unwrap();
        assert_eq!((peak.depth, peak.path), (64, IoPath::AioPollAll));
        assert_eq!(peak.iops, 1_230_000);
    }

    #[test]
    fn rows_low_latency_have_latencies() {
        let rows = rows("low-latency");
        assert_eq!(rows.len(), 9);
        assert!(rows.iter().all(|row| row.lat_p50_ns.is_some()));
        assert_eq!(rows[0].lat_p50_ns, Some(8500));
    }

    #[test]
    fn rows_other_profile_is_empty() {
        assert_eq!(rows("floor"), []);
        assert_eq!(depths("floor"), [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(depths("low-latency"), [1, 2, 4]);
    }
}

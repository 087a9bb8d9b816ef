// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The seed's table: what the 2018 patch series reported for its two devices, to stand beside what
//! is measured here.

use serde::Serialize;

use super::IoPath;

/// One figure of the seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
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

const PATHS: [IoPath; 3] = [IoPath::Mainline, IoPath::AioPoll, IoPath::AioPollAll];

/// Depth, then thousands of I/Os per second in the order of [`PATHS`].
const HIGH_IOPS: [(u32, [u32; 3]); 7] = [
    (1, [77, 80, 132]),
    (2, [145, 163, 262]),
    (4, [287, 342, 514]),
    (8, [560, 582, 824]),
    (16, [616, 727, 1013]),
    (32, [636, 773, 1155]),
    (64, [635, 776, 1230]),
];

/// Depth, then thousands of I/Os per second and latency in nanoseconds in the order of [`PATHS`].
const LOW_LATENCY: [(u32, [(u32, u32); 3]); 3] = [
    (1, [(84, 8500), (87, 8300), (168, 5000)]),
    (2, [(201, 7400), (208, 7100), (330, 5000)]),
    (4, [(389, 7700), (398, 7200), (547, 6100)]),
];

/// The seed's rows for a profile; empty for profiles that it does not have.
pub fn rows(profile: &str) -> Vec<SeedRow> {
    let row = |depth, path, kilo_iops: u32, lat_p50_ns| SeedRow {
        depth,
        path,
        iops: kilo_iops * 1000,
        lat_p50_ns,
    };
    match profile {
        "high-iops" => HIGH_IOPS
            .iter()
            .flat_map(|(depth, iops)| {
                PATHS
                    .iter()
                    .zip(iops)
                    .map(|(path, iops)| row(*depth, *path, *iops, None))
            })
            .collect(),
        "low-latency" => LOW_LATENCY
            .iter()
            .flat_map(|(depth, figures)| {
                PATHS
                    .iter()
                    .zip(figures)
                    .map(|(path, (iops, latency))| row(*depth, *path, *iops, Some(*latency)))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The depths to sweep for a profile unless told otherwise: the seed's, or powers of two to 64.
pub fn depths(profile: &str) -> Vec<u32> {
    match profile {
        "low-latency" => LOW_LATENCY.iter().map(|(depth, _)| *depth).collect(),
        _ => HIGH_IOPS.iter().map(|(depth, _)| *depth).collect(),
    }
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
        assert_eq!(rows("low-latency").len(), 9);
        assert!(
            rows("low-latency")
                .iter()
                .all(|row| row.lat_p50_ns.is_some())
        );
    }

    #[test]
    fn rows_other_profile_is_empty() {
        assert_eq!(rows("floor"), []);
        assert_eq!(depths("floor"), [1, 2, 4, 8, 16, 32, 64]);
    }
}

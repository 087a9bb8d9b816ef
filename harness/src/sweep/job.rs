// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One fio job file for all cells of a sweep.
//!
//! The file says what the workload is; a cell says how deep, by which engine and on which device.
//! A cell's options replace the file's own, so that a user's job file works as it stands.

use std::fmt::Write;

use super::{Cell, IoPath, Target};
use crate::exit::Failure;

/// Options that a cell decides, whatever the file says.
const OF_THE_CELL: &[&str] = &[
    "ioengine",
    "iodepth",
    "iodepth_low",
    "iodepth_batch",
    "iodepth_batch_submit",
    "iodepth_batch_complete",
    "iodepth_batch_complete_min",
    "iodepth_batch_complete_max",
    "hipri",
    "useriocb",
    "fixedbufs",
    "registerfiles",
    "filename",
    "randseed",
];

/// Where our fio engine lies in the guest's image.
pub const ENGINE: &str = crate::guest::FIO_ENGINE;

/// What all cells of a sweep share.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    /// Seconds of each cell; `None` leaves it to the file, or 1.
    pub runtime: Option<u32>,
    /// Seed of fio's random offsets.
    pub seed: u64,
}

/// fio's submission and completion batch for a depth.
pub fn batch(depth: u32) -> u32 {
    (depth / 2).max(1)
}

/// The seconds that a cell takes.
pub fn runtime(text: &str, common: Common) -> u32 {
    common.runtime.or_else(|| own_runtime(text)).unwrap_or(1)
}

/// The job file of one cell.
///
/// # Errors
/// Exit 2, when the file has no job.
pub fn resolve(text: &str, origin: &str, cell: Cell, common: Common) -> Result<String, Failure> {
    let has_job = text
        .lines()
        .any(|line| section(line).is_some_and(|name| name != "global"));
    if !has_job {
        return Err(Failure::usage(format!(
            "{origin} has no job: fio wants a section such as [seed]"
        )));
    }
    let mut resolved = String::from("[global]\n");
    for (key, value) in options(cell, common) {
        // Writing to a string does not fail.
        let _ = match value {
            Some(value) => writeln!(resolved, "{key}={value}"),
            None => writeln!(resolved, "{key}"),
        };
    }
    let _ = writeln!(resolved, "runtime={}", runtime(text, common));
    for line in text.lines() {
        if !key(line).is_some_and(|key| key == "runtime" || OF_THE_CELL.contains(&key)) {
            resolved.push_str(line);
            resolved.push('\n');
        }
    }
    Ok(resolved)
}

fn options(cell: Cell, common: Common) -> Vec<(&'static str, Option<String>)> {
    let batch = batch(cell.depth).to_string();
    let engine = match cell.path {
        IoPath::Mainline | IoPath::AioPoll => "libaio".to_owned(),
        IoPath::AioPollAll => format!("external:{ENGINE}"),
        IoPath::IoUring => "io_uring".to_owned(),
    };
    let flags: &[&str] = match cell.path {
        IoPath::Mainline | IoPath::AioPoll => &[],
        IoPath::AioPollAll => &["hipri", "useriocb", "fixedbufs"],
        IoPath::IoUring => &["hipri", "fixedbufs", "registerfiles"],
    };
    let mut options = vec![
        ("filename", Some(cell.target.device().to_owned())),
        ("ioengine", Some(engine)),
    ];
    options.extend(flags.iter().map(|flag| (*flag, None)));
    options.extend([
        ("iodepth", Some(cell.depth.to_string())),
        ("iodepth_batch_submit", Some(batch.clone())),
        ("iodepth_batch_complete_min", Some("1".to_owned())),
        ("iodepth_batch_complete_max", Some(batch)),
        ("randseed", Some(common.seed.to_string())),
    ]);
    options
}

fn section(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.split_once(']').map(|s| s.0)
}

fn key(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['[', ';', '#']) {
        return None;
    }
    let key = line.split_once('=').map_or(line, |(key, _)| key);
    Some(key.trim())
}

fn own_runtime(text: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let value = line.split_once('=')?.1;
        (key(line)? == "runtime")
            .then(|| value.trim().trim_end_matches('s').parse().ok())
            .flatten()
    })
}

impl Target {
    /// Its device node in the guest.
    pub fn device(self) -> &'static str {
        match self {
            Self::Nvme => "/dev/nvme0n1",
            Self::NullBlk => "/dev/nullb0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: Common = Common {
        runtime: None,
        seed: 7,
    };

    fn cell(depth: u32, path: IoPath) -> Cell {
        Cell {
            depth,
            path,
            target: Target::Nvme,
        }
    }

    #[test]
    fn batch_is_half_the_depth_and_at_least_one() {
        assert_eq!([1, 2, 3, 64].map(batch), [1, 1, 1, 32]);
    }

    #[test]
    fn resolve_cell_options_replace_the_files_own() {
        let text = "[global]\nioengine=psync\niodepth = 99\nbs=4k\n[seed]\nrw=randread\n";
        let job = resolve(text, "x.fio", cell(8, IoPath::AioPollAll), COMMON).unwrap();
        assert!(!job.contains("psync"));
        assert!(!job.contains("99"));
        for line in [
            "hipri",
            "useriocb",
            "fixedbufs",
            "iodepth=8",
            "iodepth_batch_submit=4",
            "bs=4k",
            "rw=randread",
            "runtime=1",
            "randseed=7",
            "filename=/dev/nvme0n1",
        ] {
            assert!(job.lines().any(|l| l == line), "{line} in\n{job}");
        }
    }

    #[test]
    fn resolve_mainline_has_none_of_the_new_flags() {
        let job = resolve("[seed]\n", "x.fio", cell(1, IoPath::Mainline), COMMON).unwrap();
        assert!(job.contains("ioengine=libaio"));
        assert!(!job.contains("hipri"));
    }

    #[test]
    fn resolve_runtime_option_wins_over_the_files() {
        let text = "[seed]\nruntime=5s\n";
        assert_eq!(runtime(text, COMMON), 5);
        let told = Common {
            runtime: Some(2),
            ..COMMON
        };
        let job = resolve(text, "x.fio", cell(1, IoPath::Mainline), told).unwrap();
        assert!(job.contains("runtime=2\n"));
        assert!(!job.contains("5s"));
    }

    #[test]
    fn resolve_without_job_names_the_file() {
        let error = resolve(
            "[global]\nbs=4k\n",
            "mine.fio",
            cell(1, IoPath::Mainline),
            COMMON,
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("mine.fio has no job")
        );
    }
}

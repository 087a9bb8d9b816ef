// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One fio job file for all cells of a sweep.
//!
//! The file says what the workload is; a cell says how deep, by which engine and on which device.
//! A cell's options replace the file's own, so that a user's job file works as it stands.

use std::fmt::Write;
use std::time::Duration;

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
    "write_iops_log",
    "log_avg_msec",
    "per_job_logs",
];

/// Milliseconds that each figure of fio's log of I/Os per second is the mean of.
pub const LOG_INTERVAL_MS: u32 = 100;

/// Where our fio engine lies in the guest's image.
pub const ENGINE: &str = crate::guest::FIO_ENGINE;

/// Options of a file that have no place where a cell is a number of I/Os in virtual time.
const OF_REAL_TIME: &[&str] = &["runtime", "time_based", "ramp_time", "clocksource"];

/// A file of so many I/Os takes at most so long in virtual time, each alone on a slow device.
const SLOWEST_IO: Duration = Duration::from_millis(20);

/// How long a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Seconds; `None` leaves them to the file, or 1.
    Seconds(Option<u32>),
    /// I/Os, in virtual time.
    Ios(u64),
}

/// What all cells of a sweep share.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    /// How long each cell is.
    pub extent: Extent,
    /// Seed of fio's random offsets.
    pub seed: u64,
}

/// fio's submission and completion batch for a depth.
pub fn batch(depth: u32) -> u32 {
    (depth / 2).max(1)
}

/// The time that a cell takes at most, by its own clock.
///
/// # Errors
/// Exit 2, when the file's own runtime is none that can be read.
pub fn longest(text: &str, origin: &str, common: Common) -> Result<Duration, Failure> {
    match common.extent {
        Extent::Seconds(told) => {
            let seconds = runtime(text, origin, told)?;
            Ok(Duration::from_secs(seconds.into()))
        }
        Extent::Ios(ios) => Ok(SLOWEST_IO.saturating_mul(u32::try_from(ios).unwrap_or(u32::MAX))),
    }
}

/// The seconds that a cell takes, a part of one counted as one.
fn runtime(text: &str, origin: &str, told: Option<u32>) -> Result<u32, Failure> {
    if let Some(seconds) = told {
        return Ok(seconds);
    }
    let mut longest = None;
    for value in text.lines().filter_map(own_runtime) {
        let seconds = parse_time(value).ok_or_else(|| {
            Failure::usage(format!(
                "{origin}: runtime={value} is no time such as 30, 500ms or 2m"
            ))
        })?;
        longest = longest.max(Some(seconds));
    }
    Ok(longest.unwrap_or(DEFAULT_RUNTIME))
}

/// Seconds of a cell when nobody says anything.
const DEFAULT_RUNTIME: u32 = 1;

/// The value of a line that sets the runtime.
fn own_runtime(line: &str) -> Option<&str> {
    let (_, value) = line.split_once('=')?;
    (key(line)? == "runtime").then_some(value.trim())
}

/// fio's times: a number with a unit, seconds without one. Rounded up to seconds.
fn parse_time(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    let microseconds = match text[digits.len()..].trim() {
        "us" | "usec" => 1,
        "ms" | "msec" => 1_000,
        "" | "s" | "sec" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    let seconds = number.checked_mul(microseconds)?.div_ceil(1_000_000);
    u32::try_from(seconds).ok()
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
    match common.extent {
        Extent::Seconds(Some(seconds)) => {
            let _ = writeln!(resolved, "runtime={seconds}");
        }
        Extent::Seconds(None) => {
            runtime(text, origin, None)?;
            if !text.lines().any(|line| own_runtime(line).is_some()) {
                let _ = writeln!(resolved, "runtime={DEFAULT_RUNTIME}");
            }
        }
        Extent::Ios(ios) => {
            let _ = writeln!(resolved, "number_ios={ios}\nclocksource=clock_gettime");
        }
    }
    let replaced = |key| {
        OF_THE_CELL.contains(&key)
            || match common.extent {
                Extent::Seconds(told) => key == "runtime" && told.is_some(),
                Extent::Ios(_) => OF_REAL_TIME.contains(&key) || key == "number_ios",
            }
    };
    for line in text.lines() {
        if !key(line).is_some_and(replaced) {
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
    // In virtual time a cell is shorter than an interval, and as exact as its trace.
    if let Extent::Seconds(_) = common.extent {
        options.extend([
            ("write_iops_log", Some(format!("/tmp/{}", cell.name()))),
            ("log_avg_msec", Some(LOG_INTERVAL_MS.to_string())),
            ("per_job_logs", Some("0".to_owned())),
        ]);
    }
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
        extent: Extent::Seconds(None),
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
            "write_iops_log=/tmp/008-aio-poll-all",
            "log_avg_msec=100",
            "per_job_logs=0",
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
        assert_eq!(runtime(text, "x.fio", None).unwrap(), 5);
        let told = Common {
            extent: Extent::Seconds(Some(2)),
            ..COMMON
        };
        let job = resolve(text, "x.fio", cell(1, IoPath::Mainline), told).unwrap();
        assert!(job.contains("runtime=2\n"));
        assert!(!job.contains("5s"));
    }

    #[test]
    fn runtime_units_of_fio_are_understood() {
        let cases = [
            ("2m", 120),
            ("500ms", 1),
            ("1500ms", 2),
            ("1h", 3600),
            ("7", 7),
        ];
        for (text, seconds) in cases {
            let file = format!("[seed]\nruntime={text}\n");
            assert_eq!(runtime(&file, "x.fio", None).unwrap(), seconds, "{text}");
            let job = resolve(&file, "x.fio", cell(1, IoPath::Mainline), COMMON).unwrap();
            assert!(job.contains(&format!("runtime={text}\n")), "{job}");
        }
    }

    #[test]
    fn runtime_that_is_no_time_names_file_and_value() {
        let error = runtime("[seed]\nruntime=${T}\n", "mine.fio", None).unwrap_err();
        assert!(
            error.to_string().starts_with("mine.fio: runtime=${T}"),
            "{error}"
        );
    }

    #[test]
    fn resolve_ios_take_the_place_of_time() {
        let text = "[global]\ntime_based\nruntime=5s\nclocksource=cpu\nbs=4k\n[seed]\n";
        let common = Common {
            extent: Extent::Ios(1000),
            ..COMMON
        };
        let job = resolve(text, "x.fio", cell(1, IoPath::Mainline), common).unwrap();
        for line in ["number_ios=1000", "clocksource=clock_gettime", "bs=4k"] {
            assert!(job.lines().any(|l| l == line), "{line} in\n{job}");
        }
        for word in ["time_based", "runtime", "clocksource=cpu"] {
            assert!(!job.contains(word), "{word} in\n{job}");
        }
        let limit = longest(text, "x.fio", common).unwrap();
        assert_eq!(limit, Duration::from_secs(20));
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

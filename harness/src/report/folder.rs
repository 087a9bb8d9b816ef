// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The result folder.
//!
//! ```text
//! results/20261124T003000Z-high-iops/
//!   run.json              the sweep's document and the circumstances
//!   report.md             the tables
//!   report.html           the same with charts
//!   vanilla-console.log   the guest kernel's log, one for each boot
//!   vanilla-device.log    the device's log and counters, one for each boot; on qemu, QEMU's words
//!   fio/                  each cell's job file, fio's own output and its log of I/Os per second
//!   configs/              profile, device and workload as they were used
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Serialize;

use super::environment::Environment;
use super::table::{Style, counters, depth_table, submission};
use crate::exit::Failure;
use crate::sweep::Document;

/// Version of `run.json`; counted up when a field changes its meaning or goes.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// A folder that holds one run's results.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
}

#[derive(Serialize)]
struct RunFile<'a> {
    schema_version: u32,
    environment: &'a Environment,
    #[serde(flatten)]
    document: &'a Document,
}

/// Makes the folder that the user named, or a new one in `results/` that has `subject` in its name.
///
/// # Errors
/// Exit 2 when the named folder holds something already; exit 3 when none can be made.
pub fn make_folder(named: Option<&Path>, subject: &str) -> anyhow::Result<PathBuf> {
    let Some(path) = named else {
        return new_in(Path::new("results"), subject);
    };
    let taken = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        return Err(Failure::usage(format!(
            "{} is not empty: name another folder with --out",
            path.display()
        ))
        .into());
    }
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    Ok(path.to_owned())
}

/// Keeps a text, which gets a line's end, in a result folder.
///
/// # Errors
/// When it cannot be written.
pub fn keep(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    fs::write(&path, format!("{text}\n")).with_context(|| format!("writing {}", path.display()))
}

impl ResultFolder {
    /// Makes the folder that the user named, or a new one in `results/`.
    ///
    /// # Errors
    /// Exit 2 when the named folder holds something already; exit 3 when none can be made.
    pub fn create(named: Option<&Path>, profile: &str) -> anyhow::Result<Self> {
        let path = make_folder(named, profile)?;
        for part in ["fio", "configs"] {
            let part = path.join(part);
            fs::create_dir(&part).with_context(|| format!("making {}", part.display()))?;
        }
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the cells' fio files go.
    pub fn fio(&self) -> PathBuf {
        self.path.join("fio")
    }

    /// Keeps a configuration as it was used.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn keep_config(&self, kind: &str, source: &Path) -> anyhow::Result<()> {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let target = self.path.join("configs").join(format!("{kind}-{name}"));
        fs::copy(source, &target)
            .with_context(|| format!("copying {} to {}", source.display(), target.display()))?;
        Ok(())
    }

    /// Writes `run.json` and `report.md`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, document: &Document, environment: &Environment) -> anyhow::Result<()> {
        let run = RunFile {
            schema_version: SCHEMA_VERSION,
            environment,
            document,
        };
        let json = serde_json::to_string_pretty(&run).context("writing run.json")?;
        keep(&self.path, "run.json", &json)?;
        fs::write(self.path.join("report.md"), markdown(document, environment))
            .context("writing report.md")
    }
}

fn new_in(results: &Path, profile: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(results).with_context(|| format!("making {}", results.display()))?;
    let stem = format!("{}-{profile}", utc(SystemTime::now()));
    let mut path = results.join(&stem);
    let mut number = 1;
    loop {
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                number += 1;
                path = results.join(format!("{stem}-{number}"));
            }
            Err(error) => return Err(error).context(format!("making {}", path.display())),
        }
    }
}

fn markdown(document: &Document, environment: &Environment) -> String {
    let kernels: Vec<String> = {
        let mut seen = Vec::new();
        for row in &document.rows {
            if !seen.contains(&&row.kernel) {
                seen.push(&row.kernel);
            }
        }
        seen.iter()
            .map(|kernel| {
                format!(
                    "* {} kernel: {}, SHA-256 {}",
                    kernel.flavour, kernel.release, kernel.sha256
                )
            })
            .collect()
    };
    let host = &environment.host;
    format!(
        "# Depth sweep, {subject}\n\n\
         4 KiB random reads, one thread; I/Os per second / median completion latency\
         {ratio}, in {time} time; the seed's figures beside ours.\n\n{depths}\n\n\
         ## Submission\n\n{submission}\n\n\
         ## Counters\n\n{counters}\n\n\
         ## Circumstances\n\n\
         * accel: {accel} ({reason}){executor}; processors: {cpus}; {placement}; {floor} ns subtracted for the way to the device\n\
         * device: {device}\n\
         * host: {cpu}, {cores} cores, Linux {kernel}, clock source {clock}, transparent huge pages {thp}\n\
         {kernels}\n\
         * hipri {version}, revision {revision}, seed {seed}\n\
         * command: `{command}`\n",
        subject = document.subject(),
        time = document.time,
        ratio = if document
            .rows
            .iter()
            .any(|row| row.ratio_to_reference.is_some())
        {
            " / ratio to null_blk in the same boot"
        } else {
            ""
        },
        depths = depth_table(document, Style::Markdown),
        submission = submission(document, Style::Markdown),
        counters = counters(document, Style::Markdown),
        accel = environment.accel.accel.name(),
        reason = environment.accel.reason,
        executor = match &environment.executor {
            Some(executor) => format!(", {executor}"),
            None => String::new(),
        },
        cpus = environment.cpus,
        device = environment.device,
        placement = environment.placement_note,
        floor = environment.floor_ns,
        cpu = host.cpu,
        cores = host.cores.len(),
        kernel = host.kernel,
        clock = host.clocksource,
        thp = host.transparent_huge_pages,
        kernels = kernels.join("\n"),
        version = environment.hipri,
        revision = environment.revision.as_deref().unwrap_or("unknown"),
        seed = environment.seed,
        command = environment.command.join(" "),
    )
}

/// A point in time as `20261124T003000Z`.
fn utc(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. Counted
/// in years that begin in March, so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn utc_known_times_are_right() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(951_782_399), "20000228T235959Z");
        assert_eq!(at(951_782_400), "20000229T000000Z");
        assert_eq!(at(1_795_478_400), "20261124T000000Z");
    }

    #[test]
    fn create_named_folder_that_is_not_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), "").unwrap();
        let error = ResultFolder::create(Some(folder.path()), "p").unwrap_err();
        assert!(error.to_string().contains("--out"), "{error}");
    }

    #[test]
    fn new_in_same_second_makes_another_folder() {
        let results = tempfile::tempdir().unwrap();
        let first = new_in(results.path(), "p").unwrap();
        let second = new_in(results.path(), "p").unwrap();
        assert_ne!(first, second);
    }
}

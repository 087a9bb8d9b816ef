// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `verify-reproducible`: the same sweep several times in virtual time, to the byte.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use emulator::observe::read_trace;
use sha2::{Digest, Sha256};

use super::options::{SweepOptions, TimeChoice};
use super::settings::{SettingsFile, SweepSettings};
use super::sweep::Plan;
use super::tell::tell;
use crate::exit::{ExitReason, Failure};
use crate::guest::hex;
use crate::progress;
use crate::report;

/// What is run more than once.
#[derive(Clone, Debug, Args)]
pub struct ReproducibleOptions {
    #[command(flatten)]
    sweep: SweepOptions,
    /// How often, 2 or more.
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(2..=1000))]
    runs: u32,
}

/// Runs the sweep, compares what each run left with what the first left, and tells the first
/// difference.
///
/// # Errors
/// Exit 1 when two runs differ; else as the exit codes say.
pub fn run(options: &ReproducibleOptions, verbose: u8) -> anyhow::Result<ExitCode> {
    let mut settings = SweepSettings::resolve(&options.sweep, &SettingsFile::load()?)?;
    if settings.machine.time == Some(TimeChoice::Real) {
        return Err(Failure::usage(
            "--time real: no two runs in the host's own time are alike; leave it out",
        )
        .into());
    }
    settings.machine.told.trace = true;
    let plan = Plan::new(settings, |_| TimeChoice::Virtual)?;
    let progress = progress::for_stderr();
    plan.context.warn(progress.as_ref());
    plan.context.announce(progress.as_ref());
    let guest = plan.guest(progress.as_ref())?;
    let base = report::make_folder(plan.settings.machine.out.as_deref(), "reproducible")?;
    let mut first: Option<Run> = None;
    for number in 1..=options.runs {
        let folder = base.join(format!("run-{number}"));
        plan.measure(&guest, Some(&folder), verbose, progress.as_ref())?;
        let run = Run::read(&folder)?;
        tell!("run {number}: {}", run.digest())?;
        match &first {
            None => first = Some(run),
            Some(first) => {
                if let Some(difference) = first.difference(&run)? {
                    tell!("run {number} differs from run 1: {difference}")?;
                    progress.line(&format!("results are in {}", base.display()));
                    return Ok(ExitCode::from(ExitReason::Failed.code()));
                }
            }
        }
    }
    let files = first.map_or(0, |run| run.files.len());
    tell!(
        "{} runs are alike to the byte: command traces, fio's documents and logs, figures ({files} files)",
        options.runs
    )?;
    progress.line(&format!("results are in {}", base.display()));
    Ok(ExitCode::SUCCESS)
}

/// What a run left that must not depend on anything but its seed and its binaries.
struct Run {
    folder: PathBuf,
    /// Names within the folder, sorted, with their digests.
    files: Vec<(String, String)>,
}

impl Run {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut names = Vec::new();
        for part in ["", "fio"] {
            let dir = folder.join(part);
            let entries =
                std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
            for entry in entries {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if part == "fio" || name.ends_with("commands.trace") {
                    names.push(Path::new(part).join(name).display().to_string());
                }
            }
        }
        names.sort();
        let mut files = names
            .into_iter()
            .map(|name| {
                let path = folder.join(&name);
                let bytes =
                    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                Ok((name, digest(&bytes)))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        // The figures, without the circumstances: those tell the time of the host.
        files.push((FIGURES.to_owned(), digest(figures(folder)?.as_bytes())));
        Ok(Self {
            folder: folder.to_owned(),
            files,
        })
    }

    /// Of everything together.
    fn digest(&self) -> String {
        let mut all = String::new();
        for (name, digest) in &self.files {
            all.push_str(name);
            all.push_str(digest);
        }
        digest(all.as_bytes())
    }

    /// The first difference from this run, in words.
    fn difference(&self, other: &Self) -> anyhow::Result<Option<String>> {
        let names = |run: &Self| -> Vec<String> {
            run.files.iter().map(|(name, _)| name.clone()).collect()
        };
        if names(self) != names(other) {
            return Ok(Some("it left other files".into()));
        }
        let differing = self.files.iter().zip(&other.files).find(|(a, b)| a != b);
        let Some(((name, _), _)) = differing else {
            return Ok(None);
        };
        let place = if name.ends_with("commands.trace") {
            first_record(&self.folder.join(name), &other.folder.join(name))?
        } else if name == FIGURES {
            first_line(&figures(&self.folder)?, &figures(&other.folder)?)
        } else {
            let read = |run: &Self| {
                let bytes = std::fs::read(run.folder.join(name))?;
                anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
            };
            first_line(&read(self)?, &read(other)?)
        };
        Ok(Some(format!("{name}: {place}")))
    }
}

/// What the figures are called in messages.
const FIGURES: &str = "run.json: rows";

fn figures(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("run.json");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let run: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    serde_json::to_string_pretty(&run["rows"]).context("writing the rows")
}

fn first_line(one: &str, other: &str) -> String {
    let lines = (1..).zip(one.lines().zip(other.lines()));
    let differing = { lines }.find(|(_, (a, b))| a != b);
    differing.map_or_else(
        || "one is longer".into(),
        |(number, (a, b))| format!("line {number}: {:?} and {:?}", a.trim(), b.trim()),
    )
}

fn first_record(one: &Path, other: &Path) -> anyhow::Result<String> {
    let read = |path: &Path| {
        std::fs::File::open(path)
            .and_then(read_trace)
            .with_context(|| format!("reading {}", path.display()))
    };
    let (one, other) = (read(one)?, read(other)?);
    let records = (1..).zip(one.iter().zip(&other));
    let differing = { records }.find(|(_, (a, b))| a != b);
    Ok(differing.map_or_else(
        || format!("{} commands and {}", one.len(), other.len()),
        |(number, (a, b))| {
            format!(
                "command {number}: queue {} opcode {:02x}h fetched at {} ns, and queue {} opcode {:02x}h \
                 fetched at {} ns",
                a.queue, a.opcode, a.fetched, b.queue, b.opcode, b.fetched
            )
        },
    ))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(fio: &str, rows: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("fio")).unwrap();
        std::fs::write(folder.path().join("fio/001-mainline.json"), fio).unwrap();
        let run = format!("{{\"environment\": {{\"boot\": 1}}, \"rows\": {rows}}}");
        std::fs::write(folder.path().join("run.json"), run).unwrap();
        folder
    }

    fn differences(one: &tempfile::TempDir, other: &tempfile::TempDir) -> Option<String> {
        let (one, other) = (Run::read(one.path()), Run::read(other.path()));
        one.unwrap().difference(&other.unwrap()).unwrap()
    }

    #[test]
    fn runs_alike_have_one_digest_and_no_difference() {
        let (one, other) = (left("{\n\"a\": 1\n}", "[1]"), left("{\n\"a\": 1\n}", "[1]"));
        assert_eq!(differences(&one, &other), None);
        let digest = |folder: &tempfile::TempDir| Run::read(folder.path()).unwrap().digest();
        assert_eq!(digest(&one), digest(&other));
    }

    #[test]
    fn first_difference_names_file_and_line() {
        let one = left("{\n\"a\": 1\n}", "[1]");
        let fio = differences(&one, &left("{\n\"a\": 2\n}", "[1]")).unwrap();
        assert!(
            fio.contains("001-mainline.json") && fio.contains("line 2"),
            "{fio}"
        );
        let rows = differences(&one, &left("{\n\"a\": 1\n}", "[2]")).unwrap();
        assert!(rows.contains("rows"), "{rows}");
    }

    #[test]
    fn missing_files_are_a_difference() {
        let one = left("{}", "[]");
        let other = left("{}", "[]");
        std::fs::write(other.path().join("fio/more"), "").unwrap();
        let difference = differences(&one, &other).unwrap();
        assert!(difference.contains("other files"), "{difference}");
    }
}

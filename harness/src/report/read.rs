// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads result folders back.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use emulator::observe::TraceRecord;
use serde::Deserialize;

use super::folder::SCHEMA_VERSION;
use crate::exit::Failure;
use crate::guest::Flavour;
use crate::sweep::fio::{self, FioResult};
use crate::sweep::{Cell, Document, Row, Target, trace};

/// A sweep's results, as its folder keeps them.
#[derive(Clone, Debug)]
pub struct Run {
    /// The folder.
    pub folder: PathBuf,
    /// The figures.
    pub document: Document,
    /// What somebody who reads them should know.
    pub circumstances: Circumstances,
}

/// The part of a run's environment that is read back. What a folder does not have is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Circumstances {
    /// Version of the program that measured.
    pub hipri: String,
    /// Its revision.
    pub revision: Option<String>,
    /// The command line.
    pub command: Vec<String>,
    /// The host.
    pub host: HostName,
    /// Which cores were used, in words.
    pub placement_note: String,
    /// What the device subtracted for the way to it and back, in nanoseconds.
    pub floor_ns: u64,
    /// Seed of service times and random offsets.
    pub seed: u64,
}

/// The part of a host that is read back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HostName {
    /// The processor's name.
    pub cpu: String,
    /// The kernel's version.
    pub kernel: String,
}

#[derive(Deserialize)]
struct Version {
    schema_version: Option<u32>,
}

#[derive(Deserialize)]
struct RunFile {
    #[serde(default)]
    environment: Circumstances,
    #[serde(flatten)]
    document: Document,
}

/// Result folders of other commands: a file that they have, and the command.
const OTHERS: [(&str, &str); 4] = [
    ("agree.json", "agree"),
    ("suite.json", "suite"),
    ("model.json", "model"),
    ("bench.json", "bench"),
];

impl Run {
    /// Reads a sweep's result folder.
    ///
    /// # Errors
    /// Exit 2, when it is none, or is damaged.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let shown = folder.display();
        if !folder.is_dir() {
            let what = if folder.exists() {
                "is a file"
            } else {
                "does not exist"
            };
            return Err(Failure::usage(format!(
                "{shown} {what}: name a result folder of hipri or hipri sweep, such as those in results/"
            )));
        }
        let file = folder.join(RUN_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_run(folder)),
            Err(error) => {
                return Err(Failure::usage(format!(
                    "{} cannot be read: {error}",
                    file.display()
                )));
            }
        };
        let damaged = |error: serde_json::Error| {
            Failure::usage(format!(
                "{} is damaged: {error}; measure again, or name another folder",
                file.display()
            ))
        };
        let version: Version = serde_json::from_str(&text).map_err(damaged)?;
        if version.schema_version != Some(SCHEMA_VERSION) {
            let found = match version.schema_version {
                Some(version) => format!("schema version {version}"),
                None => "no schema version".to_owned(),
            };
            return Err(Failure::usage(format!(
                "{} has {found}, and this hipri reads {SCHEMA_VERSION}: read it with the hipri that wrote it",
                file.display()
            )));
        }
        let run: RunFile = serde_json::from_str(&text).map_err(damaged)?;
        let idle = |row: &&Row| row.iops <= 0.0 || !row.iops.is_finite();
        if let Some(row) = run.document.rows.iter().find(idle) {
            return Err(Failure::usage(format!(
                "{} is damaged: no I/Os per second in cell {}; measure again, or name another folder",
                file.display(),
                cell_name(row)
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
            document: run.document,
            circumstances: run.environment,
        })
    }

    /// How long a cell's I/Os took, and how many took that long; `None` where fio's own output was
    /// not kept.
    ///
    /// # Errors
    /// Exit 2, when it is damaged.
    pub fn latencies(&self, row: &Row) -> Result<Option<BTreeMap<u64, u64>>, Failure> {
        let fio = self.fio(row)?;
        Ok(fio.map(|result| result.completion.bins().clone()))
    }

    /// What fio said of a cell; `None` where its own output was not kept.
    ///
    /// # Errors
    /// Exit 2, when it is damaged.
    pub fn fio(&self, row: &Row) -> Result<Option<FioResult>, Failure> {
        let name = format!("{}.json", cell_name(row));
        self.of_fio(&name, |text| Ok(Some(fio::parse(text)?)))
    }

    /// A cell's I/Os per second, interval by interval; `None` where they were not kept.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn iops_samples(&self, row: &Row) -> Result<Option<Vec<f64>>, Failure> {
        let name = format!("{}_iops.log", cell_name(row));
        self.of_fio(&name, fio::parse_iops_log)
    }

    /// A cell's fio job, if it was kept.
    pub fn job(&self, row: &Row) -> Option<String> {
        let name = format!("{}.fio", cell_name(row));
        fs::read_to_string(self.folder.join("fio").join(name)).ok()
    }

    /// The commands of each cell that ran on a kernel, as the device traced them, each cell's in the
    /// order in which the guest took their completions; none where no trace was kept.
    ///
    /// # Errors
    /// Exit 2, when it is damaged.
    pub fn commands(&self, flavour: Flavour) -> Result<Vec<(&Row, Vec<TraceRecord>)>, Failure> {
        let file = self.folder.join(trace::file_name(flavour));
        // They ran in this order, too.
        let rows = self.document.rows.iter();
        let rows: Vec<&Row> = rows.filter(|row| row.path.flavour() == flavour).collect();
        if rows.is_empty() || !file.exists() {
            return Ok(Vec::new());
        }
        match trace::read(&file, rows.len()) {
            Ok(cells) => Ok(rows.into_iter().zip(cells).collect()),
            Err(error) => Err(damaged(&file, format_args!("{:#}", error.root_cause()))),
        }
    }

    fn of_fio<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> anyhow::Result<Option<T>>,
    ) -> Result<Option<T>, Failure> {
        let file = self.folder.join("fio").join(name);
        match fs::read_to_string(&file) {
            Ok(text) => parse(&text).map_err(|error| damaged(&file, format_args!("{error:#}"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(damaged(&file, error)),
        }
    }
}

/// What the page or a comparison can do without, and cannot read.
fn damaged(file: &Path, error: impl Display) -> Failure {
    Failure::usage(format!(
        "{} is damaged: {error}; remove it to do without it, or measure again",
        file.display()
    ))
}

/// The runs that one word of the command line names: a result folder, a folder of them, or several
/// of either with commas between them.
///
/// # Errors
/// Exit 2, when one is none, is damaged, or is named twice.
pub fn runs_of(word: &str) -> Result<Vec<Run>, Failure> {
    let whole = Path::new(word);
    let names = if whole.exists() {
        vec![whole]
    } else {
        word.split(',').map(Path::new).collect()
    };
    let mut runs: Vec<Run> = Vec::new();
    for folder in names
        .into_iter()
        .map(folders_of)
        .collect::<Vec<_>>()
        .concat()
    {
        let run = Run::read(&folder)?;
        if runs.iter().any(|other| other.is_in(&folder)) {
            return Err(Failure::usage(format!(
                "{} is named twice: one run says nothing about how runs differ",
                folder.display()
            )));
        }
        runs.push(run);
    }
    Ok(runs)
}

impl Run {
    /// Whether this is the run in `folder`.
    pub fn is_in(&self, folder: &Path) -> bool {
        match (self.folder.canonicalize(), folder.canonicalize()) {
            (Ok(own), Ok(other)) => own == other,
            _ => self.folder == folder,
        }
    }
}

/// The file that makes a folder a sweep's.
pub(super) const RUN_FILE: &str = "run.json";

/// The result folders in a folder, or itself.
fn folders_of(folder: &Path) -> Vec<PathBuf> {
    let holds_run = |folder: &Path| folder.join(RUN_FILE).exists();
    let mut inside: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) if !holds_run(folder) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| holds_run(path))
            .collect(),
        _ => Vec::new(),
    };
    if inside.is_empty() {
        inside.push(folder.to_owned());
    }
    inside.sort();
    inside
}

fn no_run(folder: &Path) -> Failure {
    let shown = folder.display();
    let other = OTHERS
        .iter()
        .find(|(file, _)| folder.join(file).exists())
        .map(|(_, command)| format!("{shown} holds results of hipri {command}"));
    let what = other.unwrap_or_else(|| format!("{shown} has no {RUN_FILE}"));
    Failure::usage(format!(
        "{what}: name a result folder of hipri or hipri sweep, or a folder that holds several"
    ))
}

/// Names a row's files.
pub(super) fn cell_name(row: &Row) -> String {
    let cell = Cell {
        depth: row.depth,
        path: row.path,
        target: Target::Nvme,
    };
    cell.name()
}

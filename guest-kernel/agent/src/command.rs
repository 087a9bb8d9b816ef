// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the harness asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bytes, PROTOCOL_VERSION};

/// Everything one boot of the guest does, in this order: mounts, files, jobs, power off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandList {
    /// [`PROTOCOL_VERSION`] of the writer.
    pub version: u32,
    /// Mounted before the first job; one that fails is reported and ends the run.
    #[serde(default)]
    pub mounts: Vec<MountEntry>,
    /// Written before the first job, after the mounts.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Run one after another.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Whether the jobs after one that did not exit with 0 are left out.
    #[serde(default)]
    pub stop_on_failure: bool,
}

impl Default for CommandList {
    fn default() -> Self {
        Self {
            version: PROTOCOL_VERSION,
            mounts: Vec::new(),
            files: Vec::new(),
            jobs: Vec::new(),
            stop_on_failure: false,
        }
    }
}

/// A file system for the jobs, such as a host directory that the user shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountEntry {
    /// Device, or what the file system takes in its place.
    pub source: String,
    /// Absolute path in the guest; made when missing and possible.
    pub target: String,
    /// As in `/proc/filesystems`.
    pub fstype: String,
    /// The file system's own options, such as hostfs's path.
    #[serde(default)]
    pub options: String,
    /// Mount read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// A small file for the jobs, such as a fio job file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Absolute path in the guest; parent directories are made. `/tmp` and `/run` are writable.
    pub path: String,
    /// The whole content.
    pub data: Bytes,
    /// Permission bits, 0644 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// One command and what to record around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// For the reader of the stream; need not be unique.
    pub name: String,
    /// What to run.
    pub command: Command,
    /// Added to the agent's own small environment (`PATH`, `HOME`, `TERM`).
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory, the writable `/root` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// After this many milliseconds the job's process group gets SIGTERM, two seconds later SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// An NVMe controller (`/dev/nvme0`) whose counters are read right before and right after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_device: Option<String>,
    /// Files sent back after the job ended, before its `job_end`.
    #[serde(default)]
    pub collect: Vec<String>,
    /// Where standard input, output and error go.
    #[serde(default)]
    pub stdio: Stdio,
}

impl Job {
    /// A job with nothing but a name and a command.
    pub fn new(name: impl Into<String>, command: Command) -> Self {
        Self {
            name: name.into(),
            command,
            env: BTreeMap::new(),
            cwd: None,
            timeout_ms: None,
            count_device: None,
            collect: Vec::new(),
            stdio: Stdio::default(),
        }
    }

    /// An interactive shell on the guest's console; its exit ends the job.
    pub fn console_shell() -> Self {
        Self {
            stdio: Stdio::Console,
            ..Self::new(
                "shell",
                Command::Argv(vec!["/bin/bash".into(), "-l".into()]),
            )
        }
    }
}

/// A program with its arguments, or a line for the guest's `/bin/sh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Program (searched in `PATH`) and arguments, taken literally.
    Argv(Vec<String>),
    /// `/bin/sh -c LINE`.
    Shell(String),
}

impl Command {
    /// The argument vector that is really executed.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Argv(argv) => argv.clone(),
            Self::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        }
    }
}

/// A job's standard streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdio {
    /// Input from `/dev/null`; output and error become [`crate::Event::Output`].
    #[default]
    Relay,
    /// All three on the guest's console, as controlling terminal, with job control.
    Console,
}

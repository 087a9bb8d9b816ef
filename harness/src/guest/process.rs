// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs that a build runs: everything they say goes to a log, their end is ours.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::exit::Failure;

/// Lines of a log that an error message shows.
const TAIL: usize = 15;

/// A command that dies with us: hipri may be killed while a compiler runs.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    const GUARD: &str = "/usr/bin/setpriv";
    let mut command = if Path::new(GUARD).exists() {
        let mut command = Command::new(GUARD);
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// The log of one build, which may run several programs.
pub struct Log {
    path: PathBuf,
    file: File,
    tail: VecDeque<String>,
}

impl Log {
    /// Starts an empty log.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: PathBuf) -> anyhow::Result<Self> {
        let create = || -> std::io::Result<File> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create(&path)
        };
        let file = create().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path,
            file,
            tail: VecDeque::new(),
        })
    }

    /// Runs a program to its end; `seen` gets each line of its output and errors.
    ///
    /// # Errors
    /// Exit 3 with the log's last lines and path if it fails; `what` begins the message.
    pub fn run(
        &mut self,
        what: &str,
        command: &mut Command,
        mut seen: impl FnMut(&str),
    ) -> anyhow::Result<()> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let errors = writer.try_clone().context("cannot make a pipe")?;
        let line = format!("$ {command:?}");
        self.append(&line);
        let mut child = command
            .stdout(writer)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("{what}: cannot run {}", command.get_program().display()))?;
        // Our copies of the pipe's end would keep it open for ever.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.context("cannot read a build's output")?;
            let line = String::from_utf8_lossy(&line);
            self.append(&line);
            seen(&line);
        }
        let status = child.wait().context("cannot wait for a build")?;
        if status.success() {
            return Ok(());
        }
        let tail: Vec<&str> = self.tail.iter().map(String::as_str).collect();
        Err(Failure::infrastructure(format!(
            "{what} failed ({status}); the last lines of {}:\n{}",
            self.path.display(),
            tail.join("\n")
        ))
        .into())
    }

    fn append(&mut self, line: &str) {
        // A full disk shows itself in the build.
        let _ = writeln!(self.file, "{line}");
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }
}

/// Runs a short program and returns what it prints.
///
/// # Errors
/// Exit 3 with its error output if it fails.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::infrastructure(format!(
            "{shown} failed ({}): {}",
            output.status,
            errors.trim()
        ))
        .into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_failing_program_error_has_tail_and_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = Log::create(path.clone()).unwrap();
        let mut lines = Vec::new();
        let error = log
            .run(
                "the test",
                command("sh").args(["-c", "seq 30; echo bad >&2; exit 7"]),
                |line| lines.push(line.to_owned()),
            )
            .unwrap_err()
            .to_string();
        assert_eq!(lines.len(), 31);
        assert!(error.contains("the test failed"), "{error}");
        assert!(error.contains("x.log") && error.ends_with("bad"), "{error}");
        assert!(!error.contains("\n2\n"), "{error}");
        assert!(fs::read_to_string(path).unwrap().contains("\n2\n"));
    }
}

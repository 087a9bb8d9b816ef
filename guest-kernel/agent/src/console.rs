// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A program on the guest's console, with job control.
//!
//! A session leader without terminal can be made only in the child, between fork and exec. The
//! agent runs itself there instead of hooking into the fork.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// First argument of the helper; the terminal and the command follow.
pub const SUBCOMMAND: &str = "console-exec";

/// Takes the console as controlling terminal and becomes the command. Returns only on failure.
pub fn exec(argv: Vec<OsString>) -> anyhow::Error {
    let mut argv = argv.into_iter();
    let (Some(terminal), Some(program)) = (argv.next(), argv.next()) else {
        return anyhow!("no terminal or no command");
    };
    if let Err(error) = take(Path::new(&terminal)) {
        return error;
    }
    let error = std::process::Command::new(&program).args(argv).exec();
    anyhow!(error).context(format!("cannot execute {}", program.display()))
}

fn take(terminal: &Path) -> anyhow::Result<()> {
    setsid().context("cannot start a session")?;
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open(terminal)
        .with_context(|| format!("cannot open {}", terminal.display()))?;
    // Opening it may have done so already; a console that cannot be one serves without job control.
    let _ = ioctl_tiocsctty(&console);
    dup2_stdin(&console)?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)?;
    Ok(())
}

/// The terminal behind `/dev/console`, which itself can control no session.
pub fn behind_dev_console() -> String {
    fs::read_to_string("/sys/class/tty/console/active")
        .ok()
        .and_then(|active| {
            let name = active.split_whitespace().last()?;
            Some(format!("/dev/{name}"))
        })
        .filter(|path| fs::exists(path).unwrap_or(false))
        .unwrap_or_else(|| "/dev/console".into())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A program on the guest's console, with job control.
//!
//! A session leader without terminal can be made only in the child, between fork and exec. The
//! agent runs itself there instead of hooking into the fork.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;

use anyhow::{Context, anyhow};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// First argument of the helper; the command follows.
pub const SUBCOMMAND: &str = "console-exec";

/// Takes the console as controlling terminal and becomes the command. Returns only on failure.
pub fn exec(argv: Vec<OsString>) -> anyhow::Error {
    let mut argv = argv.into_iter();
    let Some(program) = argv.next() else {
        return anyhow!("no command");
    };
    if let Err(error) = take_console() {
        return error;
    }
    let error = std::process::Command::new(&program).args(argv).exec();
    anyhow!(error).context(format!("cannot execute {}", program.display()))
}

fn take_console() -> anyhow::Result<()> {
    setsid().context("cannot start a session")?;
    let path = device();
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {path}"))?;
    // Opening it may have done so already; a console that cannot be one serves without job control.
    let _ = ioctl_tiocsctty(&console);
    dup2_stdin(&console)?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)?;
    Ok(())
}

/// The terminal behind `/dev/console`, which itself can control no session.
fn device() -> String {
    fs::read_to_string("/sys/class/tty/console/active")
        .ok()
        .and_then(|active| {
            let name = active.split_whitespace().last()?;
            Some(format!("/dev/{name}"))
        })
        .filter(|path| fs::exists(path).unwrap_or(false))
        .unwrap_or_else(|| "/dev/console".into())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's process and all that belongs to it.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// How long the kernel may take to end a killed group.
const REAP_LIMIT: Duration = Duration::from_secs(2);

/// A guest kernel that runs as a process and leads a process group: its user space is made of
/// further processes, which it traces. Dropping it kills them all.
#[derive(Debug)]
pub struct GuestProcess {
    child: Child,
}

impl GuestProcess {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let child = command.spawn().context("starting the guest")?;
        Ok(Self { child })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the process cannot be asked.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("asking for the guest's state")
    }
}

impl Drop for GuestProcess {
    /// User-Mode Linux ignores SIGTERM when it is stuck. Its children die with it by their own
    /// parent-death signal; the group's signal is for those that had not asked for it yet.
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        if let Some(group) = group {
            // Fails when the group is gone, or was never made.
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let begun = Instant::now();
        while group.is_some_and(|group| test_kill_process_group(group).is_ok())
            && begun.elapsed() < REAP_LIMIT
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The emulated NVMe device: the emulator's own command line, run in a child of `hipri`.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use emulator::cli::Doorbells;
use rustix::process::{Pid, Signal, kill_process};

use super::channel::Channel;
use super::outcome::tail;
use super::start::{OnParentDeath, Starter};
use crate::exit::{ExitReason, Failure};
use crate::interrupt;

/// Name of the hidden subcommand that is the emulator's command line.
pub const SUBCOMMAND: &str = "__device";

/// How long a device may take to listen: memory for `ram` media is reserved before.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How long a device may take to end by itself: a flush may be under way.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How much of the log is shown when the device refuses to start.
const REFUSAL_LINES: usize = 8;

/// What kind of device, and how fast.
#[derive(Clone, Debug)]
pub struct DeviceSpec {
    /// The speed profile's file.
    pub profile: PathBuf,
    /// The device's configuration file.
    pub device: PathBuf,
    /// Seeds the service times' draws.
    pub seed: u64,
    /// How the guest's doorbells reach it, as told.
    pub doorbells: Option<Doorbells>,
    /// The file of the rules by which it errs, if it does.
    pub faults: Option<PathBuf>,
    /// What the way of a command to the device and back takes, which is subtracted from the
    /// profile's times; in nanoseconds.
    pub floor: u64,
}

impl DeviceSpec {
    /// The emulator's words for it.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![
            "--profile".into(),
            self.profile.clone().into(),
            "--device".into(),
            self.device.clone().into(),
            "--seed".into(),
            self.seed.to_string().into(),
        ];
        if let Some(doorbells) = self.doorbells {
            words.extend(["--doorbells".into(), value_name(&doorbells).into()]);
        }
        if let Some(rules) = &self.faults {
            words.extend(["--faults".into(), rules.clone().into()]);
        }
        if self.floor > 0 {
            words.extend(["--floor".into(), format!("{}ns", self.floor).into()]);
        }
        words
    }
}

/// The word that the emulator's command line has for an option's value.
pub fn value_name<T: ValueEnum>(value: &T) -> String {
    let word = value.to_possible_value();
    word.map_or_else(String::new, |word| word.get_name().to_owned())
}

/// Whether a device's process has the user's terminal, for its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// It has not.
    No,
    /// It has.
    Yes,
}

/// A device that listens. Dropping it kills the process.
#[derive(Debug)]
pub struct Device {
    child: Child,
    log: PathBuf,
}

/// The arguments of the hidden subcommand.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArgs {
    /// Removed at the end when `hipri` is not there any more to do it.
    #[arg(long)]
    scratch: PathBuf,
    /// The emulator's own words.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// The hidden subcommand: serves until SIGTERM.
pub fn serve(args: &DeviceArgs) -> ExitCode {
    let parent = rustix::process::getppid();
    let words = std::iter::once("nvme-emulator".into()).chain(args.words.iter().cloned());
    let code = emulator::cli::run(words);
    if rustix::process::getppid() != parent || parent.is_none_or(is_dying) {
        // Best effort: the next run looks for what is left.
        let _ = std::fs::remove_dir_all(&args.scratch);
    }
    code
}

/// Whether a process is on its way out, or gone. Its children get their signal when the thread that
/// started them has ended; as long as another thread has not, they still have the same parent.
fn is_dying(pid: Pid) -> bool {
    /// Of the kernel's flags of a task.
    const PF_EXITING: u64 = 0x4;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())) else {
        return true;
    };
    // The name in front may hold anything, brackets and spaces too.
    let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
    let ended = matches!(fields.next(), Some("Z" | "X") | None);
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    ended || flags.is_none_or(|flags| flags & PF_EXITING != 0)
}

impl Device {
    /// Starts the emulator's command line with `words`, in which `{ready}` stands for the descriptor
    /// that it writes to once it is ready, and waits for that. `core` pins it; its log goes to `log`,
    /// what it prints too unless it has the terminal.
    ///
    /// # Errors
    /// Exit 2 when the emulator refuses its configuration, exit 3 when it cannot start.
    pub fn start(
        words: impl IntoIterator<Item = OsString>,
        core: Option<usize>,
        terminal: Terminal,
        scratch: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let ready = scratch.join("ready");
        let mut signal = Channel::create(&ready)?;
        let file = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let errors = file.try_clone().context("sharing the device's log")?;
        let mut command = Starter::new(OnParentDeath::Terminate)
            .cpu(core)
            .open("ready", &ready)
            .command("/proc/self/exe");
        command
            .arg(SUBCOMMAND)
            .arg("--scratch")
            .arg(scratch)
            .arg("--")
            .args(words)
            .args(core.map(|core| format!("--cpu={core}")))
            .stderr(errors);
        match terminal {
            Terminal::No => {
                // Ctrl-C is for hipri alone, which ends its children in order. Who has the terminal
                // must stay in its foreground group.
                command.process_group(0).stdin(Stdio::null()).stdout(file);
            }
            Terminal::Yes => {
                command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
            }
        }
        let child = command.spawn().context("starting the emulated device")?;
        let mut device = Self {
            child,
            log: log.to_owned(),
        };
        device.wait_until_ready(&mut signal)?;
        Ok(device)
    }

    fn wait_until_ready(&mut self, signal: &mut Channel) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < READY_LIMIT {
            interrupt::check()?;
            signal.receive(Duration::from_millis(20))?;
            if signal.has_input() {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                return Err(self.refused(status).into());
            }
        }
        Err(Failure::infrastructure(format!(
            "the emulated device does not listen after {} s: {}",
            READY_LIMIT.as_secs(),
            self.last_words()
        ))
        .into())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        tail(&text, REFUSAL_LINES).trim().to_owned()
    }

    /// The emulator has said why in its log; its exit code is one of ours.
    fn refused(&self, status: ExitStatus) -> Failure {
        let reason = match status.code() {
            Some(2) => ExitReason::Usage,
            _ => ExitReason::Infrastructure,
        };
        let said = self.last_words();
        if said.is_empty() {
            Failure::new(reason, format!("the emulated device ended ({status})"))
        } else {
            Failure::new(reason, said)
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the process cannot be asked.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("asking for the device's state")
    }

    /// Ends it in order, so that its log holds its counters.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended in this instant.
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < END_LIMIT {
            if self.ended()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        log::warn!("the emulated device does not end by itself and is killed");
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_dying_of_a_zombie_and_of_nobody_but_not_of_the_living() {
        assert!(!is_dying(rustix::process::getpid()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        while !is_dying(pid) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(is_dying(pid));
    }
}

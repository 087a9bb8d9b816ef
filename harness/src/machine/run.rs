// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One boot from the device's start to the guest's end.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use hipri_agent::{COMMAND_LIST_FILE, CommandList, Event, Record};

use super::Spec;
use super::channel::{Channel, Message};
use super::contract::{End, Files, Running};
use super::follower::Follower;
use super::outcome::{Evidence, Outcome, classify, tail};
use super::patience::{self, Patience};
use super::scratch::Scratch;
use super::terminal::TerminalState;
use super::transcript::Transcript;
use crate::exit::{ExitReason, Failure};
use crate::interrupt;

/// How often the run looks at its children.
const TURN: Duration = Duration::from_millis(20);

/// How long a kernel that hangs gets to show its tasks' stacks.
const STACKS: Duration = Duration::from_secs(1);

/// How many of the console's last lines come with a failure.
const TAIL_LINES: usize = 20;

/// What one boot gave.
#[derive(Debug)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What the agent told.
    pub transcript: Transcript,
    /// From starting the guest's process to the agent's first word.
    pub boot_wall: Option<Duration>,
    /// The kernel's log.
    pub console: String,
    /// The words of whatever served the device.
    pub device_log: String,
}

impl RunReport {
    /// The error that a run which did not complete ends with, the console's last lines included.
    pub fn failure(&self) -> Option<Failure> {
        let reason = self.outcome.exit_reason()?;
        let lines = match &self.outcome {
            Outcome::DeviceDied(_) => &self.device_log,
            _ => &self.console,
        };
        let lines = tail(lines, TAIL_LINES);
        let message = if lines.is_empty() {
            format!("{} (its log is empty)", self.outcome)
        } else {
            format!("{}; last lines:\n{}", self.outcome, lines.trim_end())
        };
        Some(Failure::new(reason, message))
    }
}

/// Boots a guest with its device, lets the agent deal with its commands, and tells how it went.
/// `observe` sees each record as it comes.
///
/// # Errors
/// When the run could not take place: exit 2, 3 or 130. A guest that fails is no error here.
pub fn run(spec: &Spec<'_>, observe: &mut dyn FnMut(&Record)) -> anyhow::Result<RunReport> {
    let _guard = interrupt::Guard::new();
    let machine = spec.accel.machine();
    let scratch = Scratch::new(machine.scratch_bytes(spec))?;
    let files = files(spec, &scratch)?;
    write_commands(&scratch, &spec.commands)?;
    File::create(&files.console).with_context(|| format!("making {}", files.console.display()))?;
    let channel = Channel::create(&files.channel)?;
    let _terminal = TerminalState::save(spec.console);
    let machine = machine.start(spec, &files)?;
    let begun = Instant::now();
    let mut watch = Watch {
        spec,
        observe,
        channel,
        machine,
        transcript: Transcript::default(),
        begun,
        boot_wall: None,
        silence: Some((begun + boot_limit(spec), "no word from the agent".into())),
        follower: spec.show_console.then(|| Follower::new(&files.console)),
    };
    let ending = watch.until_end()?;
    // Ctrl-C reaches a guest that has not left our process group yet.
    interrupt::check()?;
    let outcome = watch.close(ending, &files)?;
    let Watch {
        machine,
        transcript,
        boot_wall,
        ..
    } = watch;
    machine.stop()?;
    Ok(RunReport {
        outcome,
        transcript,
        boot_wall,
        console: read_lossy(&files.console),
        device_log: read_lossy(&files.device_log),
    })
}

/// From the guest's start to the agent's first word.
fn boot_limit(spec: &Spec<'_>) -> Duration {
    spec.accel.machine().pace().boot * spec.slowness
}

/// Absolute, since not every process of a run stays in our working directory.
fn files(spec: &Spec<'_>, scratch: &Scratch) -> anyhow::Result<Files> {
    let logs = std::path::absolute(spec.logs.unwrap_or(scratch.path()))
        .context("finding the result folder")?;
    let log = |name: &str| logs.join(format!("{}{name}", spec.log_prefix));
    Ok(Files {
        scratch: scratch.path().to_owned(),
        channel: scratch.file("channel"),
        early: scratch.file("early.log"),
        console: log("console.log"),
        device_log: log("device.log"),
        trace: log("commands.trace"),
    })
}

fn write_commands(scratch: &Scratch, commands: &CommandList) -> anyhow::Result<()> {
    let text = serde_json::to_vec(commands).context("writing the guest's commands")?;
    std::fs::write(scratch.file(COMMAND_LIST_FILE), text).context("writing the guest's commands")
}

/// How the watching ended.
enum Ending {
    /// The machine ended by itself.
    Exited(End),
    /// The run has to be stopped from here.
    Stopped(Outcome),
}

/// A run under way. Dropping it kills the machine.
struct Watch<'a, 'b> {
    spec: &'a Spec<'a>,
    observe: &'b mut dyn FnMut(&Record),
    channel: Channel,
    machine: Box<dyn Running>,
    transcript: Transcript,
    begun: Instant,
    boot_wall: Option<Duration>,
    /// Until when the guest must have said something, and what its silence means.
    silence: Option<(Instant, String)>,
    follower: Option<Follower>,
}

impl Watch<'_, '_> {
    fn until_end(&mut self) -> anyhow::Result<Ending> {
        loop {
            interrupt::check()?;
            self.listen(TURN)?;
            if let Some(follower) = &mut self.follower {
                follower.show();
            }
            if let Some(end) = self.machine.ended()? {
                // What the guest wrote last is still in the pipe.
                self.listen(Duration::ZERO)?;
                return Ok(Ending::Exited(end));
            }
            if let Some(outcome) = self.overdue() {
                if matches!(outcome, Outcome::Hang(_)) {
                    self.machine.show_tasks();
                    std::thread::sleep(STACKS);
                }
                return Ok(Ending::Stopped(outcome));
            }
        }
    }

    fn listen(&mut self, patience: Duration) -> anyhow::Result<()> {
        for message in self.channel.receive(patience)? {
            match message {
                Message::Noise(line) => log::info!("on the agent's channel: {line}"),
                Message::Record(record) => {
                    if self.boot_wall.is_none() {
                        self.boot_wall = Some(self.begun.elapsed());
                    }
                    self.expect_after(&record.event);
                    self.transcript.take(&record);
                    (self.observe)(&record);
                }
            }
        }
        Ok(())
    }

    /// Notes when the guest's next word is due, given its last one.
    fn expect_after(&mut self, event: &Event) {
        match patience::after(event, &self.spec.commands.jobs, self.spec.slowness) {
            Patience::Unchanged => {}
            Patience::Endless => self.silence = None,
            Patience::Within(limit, what) => self.silence = Some((Instant::now() + limit, what)),
        }
    }

    fn overdue(&self) -> Option<Outcome> {
        if let Some(limit) = self.spec.time_limit
            && self.begun.elapsed() > limit
        {
            return Some(Outcome::Timeout(format!(
                "the run took more than {} s",
                limit.as_secs()
            )));
        }
        let (until, what) = self.silence.as_ref()?;
        if Instant::now() < *until {
            return None;
        }
        Some(if self.transcript.done {
            Outcome::Completed
        } else if self.transcript.hello.is_none() {
            let limit = boot_limit(self.spec);
            Outcome::BootFailed(format!("{what} after {} s", limit.as_secs()))
        } else {
            Outcome::Hang(what.clone())
        })
    }

    /// Tells how the run ended, with the console in its final state.
    fn close(&self, ending: Ending, files: &Files) -> anyhow::Result<Outcome> {
        let mut log = read_lossy(&files.console);
        if log.trim().is_empty() {
            // It never had a console: what it said before that is all there is.
            log = read_lossy(&files.early);
            std::fs::write(&files.console, &log)
                .with_context(|| format!("writing {}", files.console.display()))?;
        }
        Ok(match ending {
            Ending::Stopped(outcome) => outcome,
            Ending::Exited(end) => classify(Evidence {
                agent_spoke: self.transcript.hello.is_some(),
                agent_done: self.transcript.done,
                agent_error: self.transcript.error.as_deref(),
                console: &log,
                end: &end,
            }),
        })
    }
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The error of a run whose guest did not come to its end.
///
/// # Errors
/// That error, if there is one.
pub fn require_completed(report: &RunReport) -> anyhow::Result<()> {
    match report.failure() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

/// The exit code of a job in the user's words: its own, or 124 when its time ran out, or 1 when it
/// could not be run.
pub fn job_exit(outcome: Option<&hipri_agent::Outcome>) -> Option<ExitReason> {
    use hipri_agent::Outcome as Job;
    match outcome {
        Some(Job::Exited { code: 0 }) => None,
        Some(Job::Exited { code }) => {
            Some(ExitReason::Command(u8::try_from(*code).unwrap_or(u8::MAX)))
        }
        // As a shell says it, clamped below 128 in the end.
        Some(Job::Signaled { .. }) => Some(ExitReason::Command(u8::MAX)),
        Some(Job::TimedOut) => Some(ExitReason::Timeout),
        Some(Job::NotStarted { .. }) => Some(ExitReason::Command(127)),
        None => Some(ExitReason::Failed),
    }
}

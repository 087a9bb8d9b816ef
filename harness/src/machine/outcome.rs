// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a guest's run ended, told from what was seen of it.

use std::fmt;

use super::contract::End;
use crate::exit::ExitReason;

/// How a run ended. A command that exits with another code than 0 is still [`Outcome::Completed`]:
/// what it means is the caller's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The agent has dealt with every command and powered the guest off.
    Completed,
    /// The agent never spoke; why, as far as the console tells.
    BootFailed(String),
    /// The kernel panicked after the agent's first word; its message.
    Panic(String),
    /// The guest's processor gave up after the agent's first word, without a panic before it.
    TripleFault,
    /// The guest runs but says nothing any more.
    Hang(String),
    /// A command, or the whole run, took longer than it may.
    Timeout(String),
    /// The agent could not do its work.
    AgentFailed(String),
    /// The guest ended without a panic or a word: somebody killed it, or it switched itself off.
    GuestDied(String),
    /// What executes the guest failed.
    MachineFailed(String),
    /// The emulated device ended before the guest.
    DeviceDied(String),
}

impl Outcome {
    /// The exit code of a run that ended like this; `None` for [`Outcome::Completed`].
    pub fn exit_reason(&self) -> Option<ExitReason> {
        match self {
            Self::Completed => None,
            Self::BootFailed(_) => Some(ExitReason::BootFailed),
            Self::Panic(_) | Self::TripleFault => Some(ExitReason::GuestPanic),
            Self::Hang(_) => Some(ExitReason::GuestHang),
            Self::Timeout(_) => Some(ExitReason::Timeout),
            Self::AgentFailed(_)
            | Self::GuestDied(_)
            | Self::MachineFailed(_)
            | Self::DeviceDied(_) => Some(ExitReason::Infrastructure),
        }
    }

    /// One word for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::BootFailed(_) => "boot-failed",
            Self::Panic(_) => "panic",
            Self::TripleFault => "triple-fault",
            Self::Hang(_) => "hang",
            Self::Timeout(_) => "timeout",
            Self::AgentFailed(_) => "agent-failed",
            Self::GuestDied(_) => "guest-died",
            Self::MachineFailed(_) => "machine-failed",
            Self::DeviceDied(_) => "device-died",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("the guest ran to its end"),
            Self::BootFailed(why) => write!(f, "the guest did not boot: {why}"),
            Self::Panic(message) => write!(f, "the guest's kernel panicked: {message}"),
            Self::TripleFault => f.write_str("the guest's processor gave up with a triple fault"),
            Self::Hang(what) => write!(f, "the guest hangs: {what}"),
            Self::Timeout(what) => write!(f, "time ran out: {what}"),
            Self::AgentFailed(message) => write!(f, "the guest's agent failed: {message}"),
            Self::GuestDied(how) => write!(f, "the guest died: {how}"),
            Self::MachineFailed(how) => write!(f, "the machine failed: {how}"),
            Self::DeviceDied(how) => write!(f, "the emulated device died: {how}"),
        }
    }
}

/// What was seen of a machine that has ended by itself.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The agent has said its first word.
    pub agent_spoke: bool,
    /// The agent has said that it is done.
    pub agent_done: bool,
    /// The agent's last words, when it gave up.
    pub agent_error: Option<&'a str>,
    /// The kernel's console.
    pub console: &'a str,
    /// How the machine ended.
    pub end: &'a End,
}

/// Tells how a guest ended that was not stopped by us.
pub fn classify(seen: Evidence<'_>) -> Outcome {
    let how = match seen.end {
        End::Device(how) => return Outcome::DeviceDied(how.clone()),
        _ if seen.agent_done => return Outcome::Completed,
        End::Machine(how) => return Outcome::MachineFailed(how.clone()),
        End::Guest(how) => how,
        End::TripleFault => "triple fault",
    };
    match (panic_message(seen.console), seen.agent_spoke) {
        (Some(message), true) => Outcome::Panic(message),
        (Some(message), false) => Outcome::BootFailed(format!("kernel panic: {message}")),
        (None, false) => Outcome::BootFailed(format!("{how} before the agent's first word")),
        (None, true) if *seen.end == End::TripleFault => Outcome::TripleFault,
        (None, true) => match seen.agent_error {
            Some(error) => Outcome::AgentFailed(error.to_owned()),
            None => Outcome::GuestDied(how.to_owned()),
        },
    }
}

/// The message of the kernel's first panic line.
fn panic_message(console: &str) -> Option<String> {
    const MARK: &str = "Kernel panic - not syncing";
    let line = console.lines().find(|line| line.contains(MARK))?;
    let (_, message) = line.split_once(MARK)?;
    let message = message.trim_start_matches(':').trim();
    Some(if message.is_empty() {
        "no message".to_owned()
    } else {
        message.to_owned()
    })
}

/// The first line in which the kernel's NVMe driver says that it waited for a command in vain.
/// Figures of such a run tell how long the driver waits, not how fast the device is.
pub fn unanswered_command(console: &str) -> Option<&str> {
    console
        .lines()
        .find(|line| line.contains(" nvme ") && line.contains(" timeout, "))
        .map(|line| line.split_once("] ").map_or(line, |(_, said)| said).trim())
}

/// The console's last `lines` lines, each on its own line, indented.
pub fn tail(console: &str, lines: usize) -> String {
    let all: Vec<_> = console.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = all.len().saturating_sub(lines);
    all[from..]
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANIC: &str = "\
[    0.100000] Run /init as init process
[    0.180000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100
[    0.180000] CPU: 0 UID: 0 PID: 1 Comm: init Not tainted 6.12
";

    fn seen<'a>(spoke: bool, console: &'a str, end: &'a End) -> Evidence<'a> {
        Evidence {
            agent_spoke: spoke,
            agent_done: false,
            agent_error: None,
            console,
            end,
        }
    }

    fn guest(how: &str) -> End {
        End::Guest(how.into())
    }

    #[test]
    fn classify_done_is_completed_whatever_the_console_says() {
        let outcome = classify(Evidence {
            agent_done: true,
            ..seen(true, PANIC, &guest("exit code 0"))
        });
        assert_eq!(outcome, Outcome::Completed);
        assert_eq!(outcome.exit_reason(), None);
    }

    #[test]
    fn classify_panic_after_first_word_is_panic() {
        let outcome = classify(seen(true, PANIC, &guest("signal 6")));
        assert_eq!(
            outcome,
            Outcome::Panic("Attempted to kill init! exitcode=0x00000100".into())
        );
        assert_eq!(outcome.exit_reason(), Some(ExitReason::GuestPanic));
    }

    #[test]
    fn classify_panic_that_ends_in_a_triple_fault_is_panic() {
        let outcome = classify(seen(true, PANIC, &End::TripleFault));
        assert_eq!(outcome.name(), "panic");
    }

    #[test]
    fn classify_panic_before_first_word_is_boot_failure() {
        let console = "Kernel panic - not syncing: VFS: Unable to mount root fs";
        let outcome = classify(seen(false, console, &guest("signal 6")));
        assert_eq!(
            outcome,
            Outcome::BootFailed("kernel panic: VFS: Unable to mount root fs".into())
        );
    }

    #[test]
    fn classify_silent_end_before_first_word_is_boot_failure() {
        let outcome = classify(seen(false, "", &guest("exit code 1")));
        assert_eq!(
            outcome,
            Outcome::BootFailed("exit code 1 before the agent's first word".into())
        );
    }

    #[test]
    fn classify_triple_fault_is_told_apart_from_a_kill() {
        let early = classify(seen(false, "", &End::TripleFault));
        assert_eq!(early.exit_reason(), Some(ExitReason::BootFailed));
        assert!(early.to_string().contains("triple fault"), "{early}");
        let late = classify(seen(true, "", &End::TripleFault));
        assert_eq!(late, Outcome::TripleFault);
        assert_eq!(late.exit_reason(), Some(ExitReason::GuestPanic));
    }

    #[test]
    fn classify_failure_of_the_machine_is_never_the_guests_fault() {
        let end = End::Machine("no memory".into());
        for spoke in [false, true] {
            let outcome = classify(seen(spoke, "", &end));
            assert_eq!(outcome, Outcome::MachineFailed("no memory".into()));
            assert_eq!(outcome.exit_reason(), Some(ExitReason::Infrastructure));
        }
    }

    #[test]
    fn classify_kill_after_first_word_is_guest_died() {
        let outcome = classify(seen(true, "", &guest("signal 9")));
        assert_eq!(outcome, Outcome::GuestDied("signal 9".into()));
        assert_eq!(outcome.exit_reason(), Some(ExitReason::Infrastructure));
    }

    #[test]
    fn classify_agent_error_is_told() {
        let outcome = classify(Evidence {
            agent_error: Some("no such directory"),
            ..seen(true, "", &guest("exit code 0"))
        });
        assert_eq!(outcome, Outcome::AgentFailed("no such directory".into()));
    }

    #[test]
    fn unanswered_command_is_the_drivers_first_complaint() {
        let console = "\
[    0.400000] nvme nvme0: 1/0/1 default/read/poll queues
[   40.001313] nvme nvme0: I/O tag 7 (7007) opcode 0x2 (I/O Cmd) QID 1 timeout, reset controller
[   40.001847] nvme nvme0: I/O tag 8 (0008) opcode 0x2 (I/O Cmd) QID 1 timeout, reset controller
";
        let line = unanswered_command(console).unwrap();
        assert!(line.starts_with("nvme nvme0: I/O tag 7 "), "{line}");
        assert_eq!(unanswered_command(PANIC), None);
        let quiet = console.lines().next().unwrap();
        assert_eq!(unanswered_command(quiet), None);
    }

    #[test]
    fn tail_keeps_last_lines() {
        assert_eq!(tail("a\n\nb\nc\n", 2), "  b\n  c\n");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How `hipri` ends: each outcome has one number.

use std::process::ExitCode;

/// Why the process ends. The numbers are a promise to scripts, `git bisect run` among them: none
/// but an interrupt is above 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// A test failed or a regression was found.
    Failed,
    /// The command line or a configuration file is wrong.
    Usage,
    /// The host lacks something: disk, package, memory, kernel build.
    Infrastructure,
    /// Everything was skipped.
    Skipped,
    /// The guest's kernel did not get as far as the agent.
    BootFailed,
    /// The guest's kernel panicked.
    GuestPanic,
    /// The guest does not answer any more.
    GuestHang,
    /// A command ran longer than it may.
    Timeout,
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// The code of the command that the user ran in the guest.
    Command(u8),
}

/// The table of exit codes as `--help` shows it.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
    0  done
    1  a test failed or a regression was found
    2  the command line or a configuration file is wrong
    3  the host lacks something: disk, package, memory, kernel build
    4  everything was skipped
    5  the guest did not boot
    6  the guest's kernel panicked
    7  the guest hangs
  124  a command ran longer than it may
  130  interrupted
`suite` ends with 5, 6, 7 or 124 when every failure is of that kind, else with 1.
`launch -- CMD` ends with CMD's own code, at most 127. `bisect-run` ends as `git bisect run` wants
it: 0 good, 1 bad, 125 cannot be judged, 128 and more stop.

An option that shows [env: HIPRI_NAME] can be given in the environment. hipri.toml in the current
directory may set profile, device, accel, mem, cpus, pollers, pin, doorbells, huge-pages, time, costs,
floor, trace, append, share, kernel-source, seed, out, paths, depths, runtime, ios and workload. The
command line wins over the environment, that over the file.";

impl ExitReason {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Infrastructure => 3,
            Self::Skipped => 4,
            Self::BootFailed => 5,
            Self::GuestPanic => 6,
            Self::GuestHang => 7,
            Self::Timeout => 124,
            Self::Interrupted => 130,
            Self::Command(code) => code.min(127),
        }
    }
}

/// An error that knows how the process ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How it ends.
    pub reason: ExitReason,
    /// One sentence for the user.
    pub message: String,
}

impl Failure {
    /// An error that ends the process with `reason`'s code.
    pub fn new(reason: ExitReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// The user asked for something that does not exist or does not fit.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitReason::Usage, message)
    }

    /// The host lacks something.
    pub fn infrastructure(message: impl Into<String>) -> Self {
        Self::new(ExitReason::Infrastructure, message)
    }
}

/// Prints an error with its causes and gives the code it ends with: that of the first [`Failure`]
/// in the chain, otherwise 3. An empty message is not printed: its cause was already.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let reason = reason_of(error);
    let text = format!("{error:#}");
    if !text.is_empty() {
        eprintln!("hipri: {text}");
    }
    ExitCode::from(reason.code())
}

/// How the process ends with this error: as the first [`Failure`] in its chain says.
pub fn reason_of(error: &anyhow::Error) -> ExitReason {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(ExitReason::Infrastructure, |failure| failure.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn reason_of_failure_under_context_is_found() {
        let result: Result<(), _> = Err(Failure::usage("no such profile"));
        let error = result.context("reading x").unwrap_err();
        assert_eq!(reason_of(&error), ExitReason::Usage);
    }

    #[test]
    fn reason_of_other_error_is_infrastructure() {
        assert_eq!(
            reason_of(&anyhow::anyhow!("disk full")),
            ExitReason::Infrastructure
        );
    }

    #[test]
    fn code_of_command_is_clamped_below_128() {
        assert_eq!(ExitReason::Command(200).code(), 127);
        assert_eq!(ExitReason::Command(3).code(), 3);
    }
}

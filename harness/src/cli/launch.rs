// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `launch`: a shell on the guest's console, or one command.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hipri_agent::{Command, Event, Job, Record, Stream};

use super::context::Context;
use super::kernel::{self, KernelChoice};
use super::options::MachineOptions;
use super::settings::{MachineSettings, SettingsFile};
use super::tell::tell;
use crate::exit::Failure;
use crate::guest::Flavour;
use crate::machine::{self, Console};
use crate::progress;

/// A guest to use.
#[derive(Clone, Debug, Args)]
pub struct LaunchOptions {
    #[command(flatten)]
    machine: MachineOptions,
    /// Which kernel to boot: one of ours, or a file. uml wants a program that was built with
    /// ARCH=um, the others a vmlinux or bzImage.
    #[arg(long, env = "HIPRI_KERNEL", value_name = "vanilla|patched|debug|kcsan|PATH",
          default_value = "patched", value_parser = kernel::parse)]
    kernel: KernelChoice,
    /// Ends the guest after this many seconds, with exit code 124.
    #[arg(long, env = "HIPRI_TIMEOUT", value_name = "SECONDS")]
    timeout: Option<u64>,
    /// A command for the guest. One word with spaces in it is a line for the guest's shell.
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Boots a guest for a shell or a command.
///
/// # Errors
/// As the exit codes say.
pub fn run(options: &LaunchOptions, verbose: u8) -> anyhow::Result<ExitCode> {
    let settings = MachineSettings::resolve(&options.machine, &SettingsFile::load()?)?;
    let mut context = Context::new(settings)?;
    let progress = progress::for_stderr();
    context.warn(progress.as_ref());
    let kernel = options.kernel.checked(context.machine_kind())?;
    let interactive = options.command.is_empty();
    if context.settings.dry_run {
        tell!(
            "accel:   {} ({})",
            context.accel.accel.name(),
            context.accel.reason
        )?;
        tell!("kernel:  {kernel}")?;
        tell!("profile: {}", context.device.profile.display())?;
        tell!("device:  {}", context.device.device.display())?;
        tell!("command: {}", options.command.join(" "))?;
        return Ok(ExitCode::SUCCESS);
    }
    if interactive && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(Failure::usage(
            "a shell needs a terminal: give a command, as in hipri launch -- CMD",
        )
        .into());
    }
    if verbose > 0 {
        context.announce(progress.as_ref());
    }
    let flavours: &[Flavour] = match &kernel {
        KernelChoice::Ours(flavour) => &[*flavour],
        KernelChoice::File(_) => &[],
    };
    let guest = context.guest(flavours, progress.as_ref())?;
    context.settle_floor()?;
    let kernel = match &kernel {
        KernelChoice::Ours(flavour) => &guest.kernel(*flavour)?.path,
        KernelChoice::File(path) => path,
    };
    let logs = context.settings.out.as_deref();
    super::make_log_folder(logs)?;
    let mut spec = context.machine(&guest, kernel, logs, verbose);
    spec.kernel_args.insert(0, "nvme.poll_queues=1".to_owned());
    spec.time_limit = options.timeout.map(Duration::from_secs);
    spec.commands.jobs.push(job(&options.command));
    if interactive {
        spec.console = Console::Terminal;
        spec.show_console = false;
    }
    let report = machine::run(&spec, &mut relay)?;
    machine::require_completed(&report)?;
    let outcome = report
        .transcript
        .jobs
        .get(&0)
        .and_then(|job| job.outcome.as_ref());
    if let Some(hipri_agent::Outcome::NotStarted { error }) = outcome {
        eprintln!("hipri: {error}");
    }
    Ok(match machine::job_exit(outcome) {
        Some(reason) if !interactive => ExitCode::from(reason.code()),
        _ => ExitCode::SUCCESS,
    })
}

fn job(words: &[String]) -> Job {
    match words {
        [] => Job::console_shell(),
        [line] if line.contains(char::is_whitespace) => {
            Job::new("command", Command::Shell(line.clone()))
        }
        words => Job::new("command", Command::Argv(words.to_vec())),
    }
}

/// The command's output, as it comes. An output that nobody reads any more does not stop the guest.
fn relay(record: &Record) {
    if let Event::Output { stream, data, .. } = &record.event {
        let result = match stream {
            Stream::Stdout => write_all(&mut std::io::stdout(), &data.0),
            Stream::Stderr => write_all(&mut std::io::stderr(), &data.0),
        };
        if let Err(error) = result {
            log::debug!("passing output on: {error}");
        }
    }
}

fn write_all(to: &mut dyn Write, data: &[u8]) -> std::io::Result<()> {
    to.write_all(data)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_one_word_with_spaces_is_a_shell_line() {
        let command = job(&["ls /dev | wc".to_owned()]).command;
        assert_eq!(command, Command::Shell("ls /dev | wc".into()));
    }

    #[test]
    fn job_several_words_are_taken_literally() {
        let words = ["echo", "a  b"].map(str::to_owned);
        assert_eq!(job(&words).command, Command::Argv(words.to_vec()));
    }

    #[test]
    fn job_no_word_is_a_shell_on_the_console() {
        assert_eq!(job(&[]), Job::console_shell());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starts children that cannot outlive `hipri`.
//!
//! A child is started through `hipri` itself (`/proc/self/exe`, a hidden subcommand), which asks
//! the kernel for a signal on its parent's death, pins itself to a core, opens the files that the
//! program wants as inherited descriptors, and then becomes the program. Everything here is safe
//! code: nothing runs between fork and exec.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CpuSet;

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "__start";

/// The signal a child gets when `hipri` dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnParentDeath {
    /// SIGKILL: for a program that has nothing to tidy up.
    Kill,
    /// SIGTERM: for a program that removes its socket.
    Terminate,
}

/// What the hidden subcommand does before it becomes the program.
#[derive(Clone, Debug, clap::Args)]
pub struct StartArgs {
    /// Process id of the parent: another parent means that it is dead already.
    #[arg(long)]
    parent: i32,
    /// The signal on the parent's death.
    #[arg(long, value_enum, default_value = "kill")]
    on_parent_death: OnParentDeath,
    /// The only core to run on.
    #[arg(long)]
    cpu: Option<usize>,
    /// Opens PATH for appending; `{NAME}` in the program's arguments becomes the descriptor.
    #[arg(long, value_name = "NAME=PATH")]
    open: Vec<String>,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    program: Vec<OsString>,
}

/// Builds the command line of a child.
#[derive(Debug)]
pub struct Starter {
    on_parent_death: OnParentDeath,
    cpu: Option<usize>,
    open: Vec<(&'static str, PathBuf)>,
}

impl Starter {
    /// A child that gets this signal when `hipri` dies.
    pub fn new(on_parent_death: OnParentDeath) -> Self {
        Self {
            on_parent_death,
            cpu: None,
            open: Vec::new(),
        }
    }

    /// Pins the child to one core.
    #[must_use]
    pub fn cpu(mut self, cpu: Option<usize>) -> Self {
        self.cpu = cpu;
        self
    }

    /// Gives the child `path`, opened for appending; `{name}` in its arguments becomes the
    /// descriptor's number.
    #[must_use]
    pub fn open(mut self, name: &'static str, path: &Path) -> Self {
        self.open.push((name, path.to_owned()));
        self
    }

    /// The command that starts `program`. To be spawned from a thread that outlives the child:
    /// the kernel's "parent" is the thread.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg(SUBCOMMAND);
        command.arg("--parent").arg(std::process::id().to_string());
        command
            .arg("--on-parent-death")
            .arg(match self.on_parent_death {
                OnParentDeath::Kill => "kill",
                OnParentDeath::Terminate => "terminate",
            });
        if let Some(cpu) = self.cpu {
            command.arg("--cpu").arg(cpu.to_string());
        }
        for (name, path) in &self.open {
            let mut value = OsString::from(format!("{name}="));
            value.push(path);
            command.arg("--open").arg(value);
        }
        command.arg("--").arg(program);
        command
    }
}

/// The hidden subcommand: returns only when the program cannot be executed.
///
/// # Errors
/// When the parent is gone, a file cannot be opened or the program cannot be executed.
pub fn run(args: &StartArgs) -> anyhow::Result<()> {
    let signal = match args.on_parent_death {
        OnParentDeath::Kill => Signal::KILL,
        OnParentDeath::Terminate => Signal::TERM,
    };
    rustix::process::set_parent_process_death_signal(Some(signal))
        .context("asking for a signal on the parent's death")?;
    let parent = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
    if parent != Some(args.parent) {
        bail!("the parent process is gone");
    }
    // A guest that panics aborts: its core would be as large as its memory.
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .context("switching core files off")?;
    if let Some(cpu) = args.cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set)
            .with_context(|| format!("pinning to core {cpu}"))?;
    }
    let opened = open_all(&args.open)?;
    let [program, arguments @ ..] = args.program.as_slice() else {
        bail!("no program given");
    };
    let error = Command::new(program)
        .args(arguments.iter().map(|word| substitute(word, &opened)))
        .exec();
    Err(error).with_context(|| format!("executing {}", program.display()))
}

fn open_all(wanted: &[String]) -> anyhow::Result<Vec<(String, OwnedFd)>> {
    let mut opened = Vec::new();
    for word in wanted {
        let (name, path) = word.split_once('=').context("--open wants NAME=PATH")?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .with_context(|| format!("opening {path}"))?;
        // A duplicate is not closed by exec.
        let kept = rustix::io::dup(&file).context("duplicating a descriptor")?;
        opened.push((name.to_owned(), kept));
    }
    Ok(opened)
}

fn substitute(word: &OsStr, opened: &[(String, OwnedFd)]) -> OsString {
    let Some(text) = word.to_str() else {
        return word.to_owned();
    };
    let mut text = text.to_owned();
    for (name, fd) in opened {
        text = text.replace(&format!("{{{name}}}"), &fd.as_raw_fd().to_string());
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_words_are_in_the_order_the_subcommand_reads() {
        let command = Starter::new(OnParentDeath::Kill)
            .cpu(Some(1))
            .open("log", Path::new("/tmp/x"))
            .command("linux");
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert_eq!(words[0], SUBCOMMAND);
        assert_eq!(
            &words[5..],
            ["--cpu", "1", "--open", "log=/tmp/x", "--", "linux"]
        );
    }

    #[test]
    fn substitute_name_becomes_descriptor() {
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let number = fd.as_raw_fd();
        let word = substitute(OsStr::new("ssl0=null,fd:{log}"), &[("log".into(), fd)]);
        assert_eq!(word, OsString::from(format!("ssl0=null,fd:{number}")));
    }
}

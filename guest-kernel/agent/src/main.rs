// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's init: mounts, runs the command list, reports on its channel, powers off.
//!
//! See the library of this package for the protocol. As process 1 it must not end: whatever
//! happens, [`power::off`] is the last call.

mod console;
mod counters;
mod files;
mod job;
mod kernel_log;
mod modules;
mod mounts;
mod power;
mod processors;
mod reporter;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use hipri_agent::cmdline::{Options, RunSource};
use hipri_agent::{
    COMMAND_LIST_FILE, Command, CommandList, Event, Job, MODULES_DIR, PROTOCOL_VERSION, RUN_DIR,
};

use crate::reporter::Reporter;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|arg| arg == console::SUBCOMMAND) {
        let error = console::exec(args.collect());
        eprintln!("hipri-agent: {error:#}");
        return ExitCode::from(127);
    }
    if !rustix::process::getpid().is_init() {
        eprintln!("hipri-agent is the init of a guest and does nothing elsewhere");
        return ExitCode::from(2);
    }
    init();
    power::off()
}

/// Everything that process 1 does before it powers off.
fn init() {
    let base = mounts::base();
    kernel_log::open_for_marks();
    let cmdline = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let options = Options::parse(&cmdline);
    let reporter = match Reporter::open(options.channel.as_deref()) {
        Ok(reporter) => reporter,
        Err(error) => {
            eprintln!("hipri-agent: {error:#}");
            return;
        }
    };
    reporter::report_panics(&reporter);
    reporter.send(hello(&cmdline));
    for event in base {
        reporter.send(event);
    }
    let processors = if options.late_processors {
        processors::bring_online()
    } else {
        Ok(())
    };
    let done = processors
        .and_then(|()| load_modules(&options, &cmdline))
        .and_then(|()| command_list(&options))
        .and_then(|list| run(&list, &options, &reporter));
    match done {
        Ok(done) => reporter.send(done),
        Err(error) => reporter.send(Event::Error {
            message: format!("{error:#}"),
        }),
    }
    // Power goes off next, and what a serial line has not sent goes with it.
    reporter.drain();
}

/// What a distribution's kernel needs to find the device; the guest's own kernels have it built in.
fn load_modules(options: &Options, cmdline: &str) -> anyhow::Result<()> {
    match &options.run {
        Some(RunSource::Image(dir)) => modules::load(&Path::new(dir).join(MODULES_DIR), cmdline),
        _ => Ok(()),
    }
}

fn hello(cmdline: &str) -> Event {
    let uname = rustix::system::uname();
    let text = |field: &std::ffi::CStr| field.to_string_lossy().into_owned();
    Event::Hello {
        protocol: PROTOCOL_VERSION,
        agent: env!("CARGO_PKG_VERSION").into(),
        kernel_release: text(uname.release()),
        kernel_version: text(uname.version()),
        machine: text(uname.machine()),
        cmdline: cmdline.trim_end().into(),
    }
}

/// The command list of the run directory and the command line together; a shell if both are silent.
fn command_list(options: &Options) -> anyhow::Result<CommandList> {
    let mut list = match &options.run {
        None => CommandList::default(),
        Some(RunSource::Hostfs(dir)) => {
            mounts::hostfs(dir, RUN_DIR)?;
            read_list(Path::new(RUN_DIR))?
        }
        Some(RunSource::Image(dir)) => {
            // Jobs find it where they find the host's.
            let _ = symlink(dir, RUN_DIR);
            read_list(Path::new(dir))?
        }
    };
    for (index, line) in options.exec.iter().enumerate() {
        let name = format!("exec-{index}");
        list.jobs.push(Job::new(name, Command::Shell(line.clone())));
    }
    if options.run.is_none() && list.jobs.is_empty() {
        list.jobs.push(Job::console_shell());
    }
    Ok(list)
}

fn read_list(dir: &Path) -> anyhow::Result<CommandList> {
    let path = dir.join(COMMAND_LIST_FILE);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list: CommandList = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no command list", path.display()))?;
    ensure!(
        list.version == PROTOCOL_VERSION,
        "{} is of version {}, this agent speaks version {PROTOCOL_VERSION}",
        path.display(),
        list.version
    );
    Ok(list)
}

/// Mounts, files, jobs. The event that it returns is the last one.
fn run(list: &CommandList, options: &Options, reporter: &Reporter) -> anyhow::Result<Event> {
    for entry in &list.mounts {
        let result = mounts::requested(entry);
        let error = result.as_ref().err().map(|error| format!("{error:#}"));
        reporter.send(Event::Mount {
            source: entry.source.clone(),
            target: entry.target.clone(),
            error,
        });
        if result.is_err() {
            bail!("cannot mount {} on {}", entry.source, entry.target);
        }
    }
    for file in &list.files {
        files::write(file)?;
    }
    let runner = job::Runner::new(reporter, options.console.as_deref())?;
    let (mut jobs_run, mut jobs_failed) = (0, 0);
    for (index, job) in (0..).zip(&list.jobs) {
        let outcome = runner.run(index, job)?;
        jobs_run += 1;
        if !outcome.is_success() {
            jobs_failed += 1;
            if list.stop_on_failure {
                break;
            }
        }
    }
    Ok(Event::Done {
        jobs_run,
        jobs_failed,
    })
}

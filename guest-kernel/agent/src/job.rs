// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs one job after another and relays what they write.
//!
//! Everything happens in one thread that sleeps in `poll`: on a guest with one processor, an
//! agent with work of its own would disturb what it measures.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use hipri_agent::{Event, Job, Outcome, Stdio as JobStdio, Stream, When};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait};

use crate::reporter::Reporter;
use crate::{console, counters, files, kernel_log};

/// What a job finds in its environment before its own additions.
const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/root"),
    ("TERM", "linux"),
    ("LC_ALL", "C"),
];

/// Bytes read from a job at a time, and so the most in one record.
const PIECE: usize = 32 * 1024;
/// Room in a job's pipes: a tool that prints its report at the end need not wait for the channel.
const PIPE_SIZE: usize = 1 << 20;
/// Between SIGTERM and SIGKILL for a job out of time.
const GRACE: Duration = Duration::from_secs(2);

/// Runs jobs and reaps whatever ends in the guest.
pub struct Runner<'a> {
    reporter: &'a Reporter,
    /// The terminal of jobs on the console.
    terminal: String,
    /// Readable when a child ended.
    child_ended: UnixStream,
}

impl<'a> Runner<'a> {
    /// Prepares for SIGCHLD. Jobs on the console get `terminal`, else what the kernel prints on.
    pub fn new(reporter: &'a Reporter, terminal: Option<&str>) -> anyhow::Result<Self> {
        let (child_ended, sender) = UnixStream::pair()?;
        child_ended.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, sender)
            .context("cannot watch for SIGCHLD")?;
        Ok(Self {
            reporter,
            terminal: terminal.map_or_else(console::behind_dev_console, str::to_owned),
            child_ended,
        })
    }

    /// Runs a job from its `job_start` to its `job_end`.
    pub fn run(&self, index: u32, job: &Job) -> anyhow::Result<Outcome> {
        let argv = job.command.argv();
        self.reporter.send(Event::JobStart {
            job: index,
            name: job.name.clone(),
            argv: argv.clone(),
        });
        kernel_log::mark(index, &job.name);
        // The transmission of what was said so far must not be measured with the job.
        self.reporter.drain();
        self.count(index, job, When::Before);
        let begun = Instant::now();
        let outcome = match spawn(job, &argv, &self.terminal) {
            Ok(child) => {
                let deadline = job.timeout_ms.map(|ms| begun + Duration::from_millis(ms));
                self.follow(index, child, deadline)?
            }
            Err(error) => Outcome::NotStarted {
                error: format!("{error:#}"),
            },
        };
        let duration = begun.elapsed();
        self.count(index, job, When::After);
        for path in &job.collect {
            files::collect(index, path, self.reporter);
        }
        self.reporter.send(Event::JobEnd {
            job: index,
            outcome: outcome.clone(),
            duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        });
        Ok(outcome)
    }

    fn count(&self, job: u32, config: &Job, when: When) {
        if let Some(device) = &config.count_device {
            self.reporter.send(Event::Counters {
                job,
                when,
                device: device.clone(),
                sample: counters::sample(device),
            });
        }
    }

    /// Relays a child's output until it has ended.
    fn follow(&self, job: u32, mut child: Child, end: Option<Instant>) -> anyhow::Result<Outcome> {
        let pid = Pid::from_child(&child);
        let mut relay = Relay {
            job,
            reporter: self.reporter,
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        let mut patience = Patience::new(pid, end);
        let status = loop {
            relay.wait(self.child_ended.as_fd(), patience.left())?;
            relay.forward();
            drain(&self.child_ended);
            if let Some(status) = reap(pid) {
                break status;
            }
            patience.act();
        };
        relay.forward();
        Ok(match (patience.is_over(), status) {
            (true, _) => Outcome::TimedOut,
            (false, status) => outcome(status),
        })
    }
}

/// What is left of a job's time, and what happens after.
struct Patience {
    pid: Pid,
    deadline: Option<Instant>,
    next: Option<Signal>,
}

impl Patience {
    fn new(pid: Pid, deadline: Option<Instant>) -> Self {
        Self {
            pid,
            deadline,
            next: Some(Signal::TERM),
        }
    }

    fn left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Sends what is due to the job's process group.
    fn act(&mut self) {
        let (Some(deadline), Some(signal)) = (self.deadline, self.next) else {
            return;
        };
        if Instant::now() < deadline {
            return;
        }
        let term = signal == Signal::TERM;
        if term {
            // What it waits for is worth knowing, and gone once it has been killed.
            kernel_log::show_all_tasks();
        }
        // The group is gone when the job has just ended: `reap` sees that next.
        let _ = kill_process_group(self.pid, signal);
        self.deadline = term.then(|| Instant::now() + GRACE);
        self.next = term.then_some(Signal::KILL);
    }

    fn is_over(&self) -> bool {
        self.next != Some(Signal::TERM)
    }
}

/// A job's two output pipes.
struct Relay<'a> {
    job: u32,
    reporter: &'a Reporter,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Relay<'_> {
    /// Sleeps until there is something to read, a child ended or the time is over.
    fn wait(&self, child_ended: BorrowedFd<'_>, limit: Option<Duration>) -> anyhow::Result<()> {
        let pipes = [
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
        ];
        let mut fds: Vec<PollFd<'_>> = std::iter::once(child_ended)
            .chain(pipes.into_iter().flatten())
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let limit = limit.map(Timespec::try_from).transpose()?;
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for the job"),
        }
    }

    /// Reports what can be read without waiting. A pipe at its end is closed.
    fn forward(&mut self) {
        forward(&mut self.stdout, Stream::Stdout, self.job, self.reporter);
        forward(&mut self.stderr, Stream::Stderr, self.job, self.reporter);
    }
}

fn forward<R: Read>(pipe: &mut Option<R>, stream: Stream, job: u32, reporter: &Reporter) {
    let Some(reader) = pipe else { return };
    let mut buffer = vec![0; PIECE];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break *pipe = None,
            Ok(count) => reporter.send(Event::Output {
                job,
                stream,
                data: buffer[..count].to_vec().into(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(_) => break *pipe = None,
        }
    }
}

fn spawn(job: &Job, argv: &[String], terminal: &str) -> anyhow::Result<Child> {
    let (program, arguments) = argv.split_first().context("the command is empty")?;
    let mut command = match job.stdio {
        JobStdio::Relay => {
            let mut command = std::process::Command::new(program);
            command
                .args(arguments)
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command
        }
        JobStdio::Console => {
            let mut command = std::process::Command::new("/proc/self/exe");
            command.arg(console::SUBCOMMAND).arg(terminal).args(argv);
            command
        }
    };
    let child = command
        .env_clear()
        .envs(ENVIRONMENT)
        .envs(&job.env)
        .current_dir(job.cwd.as_deref().unwrap_or("/root"))
        .spawn()
        .with_context(|| format!("cannot execute {program}"))?;
    if let (Some(stdout), Some(stderr)) = (&child.stdout, &child.stderr) {
        for pipe in [stdout.as_fd(), stderr.as_fd()] {
            ioctl_fionbio(pipe, true)?;
            // A smaller pipe works as well, only slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_SIZE);
        }
    }
    Ok(child)
}

fn drain(mut stream: &UnixStream) {
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer), Ok(count) if count > 0) {}
}

/// Reaps everything that has ended, orphans too; tells how `pid` ended if it is among them.
fn reap(pid: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
        if ended == pid {
            found = Some(status);
        }
    }
    found
}

fn outcome(status: WaitStatus) -> Outcome {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Outcome::Exited { code },
        (None, Some(signal)) => Outcome::Signaled { signal },
        (None, None) => Outcome::Exited { code: -1 },
    }
}

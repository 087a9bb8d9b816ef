// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The channel to the harness: numbered, timed JSON lines.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, TryLockError};

use anyhow::Context;
use hipri_agent::{Event, Record};
use rustix::termios::{self, OptionalActions};
use rustix::time::{ClockId, clock_gettime};

/// Bits a second of a channel that is a serial line, the most that a standard port has. An emulated
/// one is as fast as the host, but the kernel paces its waiting by it.
const SPEED: u32 = 115_200;

/// A handle on the channel; clones write to the same one.
#[derive(Clone)]
pub struct Reporter(Arc<Mutex<Channel>>);

struct Channel {
    device: File,
    next_seq: u64,
}

impl Reporter {
    /// Opens the channel's device, standard output when there is none. A terminal is set to raw
    /// mode, so that bytes arrive as they are sent.
    pub fn open(device: Option<&str>) -> anyhow::Result<Self> {
        let device = match device {
            Some(path) => OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NOCTTY)
                .open(path)
                .with_context(|| format!("cannot open the channel {path}"))?,
            None => File::from(rustix::io::dup(rustix::stdio::stdout())?),
        };
        if let Ok(mut attributes) = termios::tcgetattr(&device) {
            attributes.make_raw();
            attributes
                .set_speed(SPEED)
                .context("cannot set the channel's speed")?;
            termios::tcsetattr(&device, OptionalActions::Now, &attributes)
                .context("cannot set the channel to raw mode")?;
        }
        Ok(Self(Arc::new(Mutex::new(Channel {
            device,
            next_seq: 0,
        }))))
    }

    /// Writes one record. A channel that takes no more is told to the console; the jobs go on.
    pub fn send(&self, event: Event) {
        let mut channel = match self.0.lock() {
            Ok(channel) => channel,
            Err(poisoned) => poisoned.into_inner(),
        };
        channel.send(event);
    }

    /// Waits until a serial line has sent everything: a record is in the kernel's buffer when it is
    /// written, and its transmission takes the processor now and then.
    pub fn drain(&self) {
        let channel = match self.0.lock() {
            Ok(channel) => channel,
            Err(poisoned) => poisoned.into_inner(),
        };
        // What is no terminal has nothing to wait for.
        let _ = termios::tcdrain(&channel.device);
    }

    /// As [`Reporter::send`], but gives up when somebody is in the middle of a record.
    fn try_send(&self, event: Event) {
        let mut channel = match self.0.try_lock() {
            Ok(channel) => channel,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        channel.send(event);
        let _ = termios::tcdrain(&channel.device);
    }
}

impl Channel {
    fn send(&mut self, event: Event) {
        let record = Record {
            seq: self.next_seq,
            t_ns: boot_time_ns(),
            event,
        };
        self.next_seq += 1;
        let written = serde_json::to_vec(&record)
            .map_err(std::io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.device.write_all(&line)
            });
        if let Err(error) = written {
            eprintln!("hipri-agent: cannot report: {error}");
        }
    }
}

/// Nanoseconds since boot.
fn boot_time_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Makes a panic of the agent itself an event of its own and powers off after it: process 1 must
/// not unwind into the kernel's "attempted to kill init".
pub fn report_panics(reporter: &Reporter) {
    let reporter = reporter.clone();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let message = info.to_string();
        eprintln!("hipri-agent: {message}");
        reporter.try_send(Event::Panic { message });
        crate::power::off();
    }));
}

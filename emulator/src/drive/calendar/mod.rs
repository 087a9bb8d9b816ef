// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtual time: the calendar of a guest that runs in User-Mode Linux's external time travel.
//!
//! One thread owns the time, the device and the guest's requests. Either the guest runs, until it
//! waits for a time that it has asked for, or the device does what is due before that. The guest's
//! accesses to the device happen at its own time, while it waits for their answer. Nothing here
//! depends on how fast anything runs, so that the same guest does the same twice.

mod message;
mod schedule;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use zerocopy::{FromBytes, IntoBytes};

use super::wait_readable;
use crate::timing::Nanos;
use message::Message;
pub use schedule::{NEVER, Schedule};

/// What time of day it is at time 0: the day of the series' fifth version, so that no run depends on
/// the day of its own. Nanoseconds since 1970.
const TIME_OF_DAY: u64 = 1_544_400_000_000_000_000;

/// How long a guest may take to finish a message.
const PATIENCE: Duration = Duration::from_secs(20);

/// What runs beside the guest: a device, and what reaches it.
pub trait Simulated {
    /// What ends it.
    type Error;

    /// What becomes readable when the guest wants something, at its own time.
    fn sources(&self) -> Vec<BorrowedFd<'_>>;

    /// Serves what source number `source` has.
    ///
    /// # Errors
    /// The guest broke a protocol.
    fn serve(&mut self, source: usize) -> Result<(), Self::Error>;

    /// When something is due that is no answer to the guest.
    fn due(&self) -> Option<Nanos>;

    /// Does what is due at `now`. The guest waits.
    ///
    /// # Errors
    /// As [`Simulated::serve`].
    fn act(&mut self, now: Nanos) -> Result<(), Self::Error>;
}

/// What ends a calendar.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError<E> {
    /// The socket, or what came through it.
    #[error("the guest's time: {0}")]
    Socket(#[from] io::Error),
    /// A message that time travel does not know, or not from a guest.
    #[error("the guest's time: message {operation} with time {time} makes no sense")]
    Message {
        /// What was said.
        operation: u32,
        /// Its time.
        time: u64,
    },
    /// The guest asked for a time that has passed.
    #[error("the guest's time: it asked for {asked} ns when it was {now} ns already")]
    Backwards {
        /// What it asked for.
        asked: Nanos,
        /// What time it was.
        now: Nanos,
    },
    /// Neither guest nor device will ever do anything.
    #[error("the guest's time: at {0} ns it waits for nothing, and so does the device")]
    Asleep(Nanos),
    /// The device's side.
    #[error(transparent)]
    Simulated(E),
}

/// How it ended, when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarEnd {
    /// The guest has gone, at this time.
    GuestGone(Nanos),
    /// Somebody wanted it to end.
    Stopped,
}

/// The time of one guest.
pub struct Calendar {
    guest: UnixStream,
    schedule: Schedule,
}

impl Calendar {
    /// Waits for a guest at `listener`, or for `stop` to become readable.
    ///
    /// # Errors
    /// When the host refuses something.
    pub fn accept(
        listener: &UnixListener,
        schedule: Schedule,
        stop: BorrowedFd<'_>,
    ) -> io::Result<Option<Self>> {
        if wait(&[stop, listener.as_fd()])? == 0 {
            return Ok(None);
        }
        let (guest, _) = listener.accept()?;
        Self::new(guest, schedule).map(Some)
    }

    fn new(guest: UnixStream, schedule: Schedule) -> io::Result<Self> {
        guest.set_nonblocking(false)?;
        guest.set_read_timeout(Some(PATIENCE))?;
        guest.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { guest, schedule })
    }

    /// Keeps the time until the guest is gone or `stop` becomes readable.
    ///
    /// # Errors
    /// See [`CalendarError`].
    pub fn run<S: Simulated>(
        &mut self,
        simulated: &mut S,
        stop: BorrowedFd<'_>,
    ) -> Result<CalendarEnd, CalendarError<S::Error>> {
        loop {
            let mut fds = vec![stop, self.guest.as_fd()];
            fds.extend(simulated.sources());
            match wait(&fds)? {
                0 => return Ok(CalendarEnd::Stopped),
                1 => {
                    if !self.listen(simulated)? {
                        return Ok(CalendarEnd::GuestGone(self.schedule.now()));
                    }
                }
                source => simulated
                    .serve(source - 2)
                    .map_err(CalendarError::Simulated)?,
            }
        }
    }

    /// Takes one message. Whether there was one.
    fn listen<S: Simulated>(&mut self, simulated: &mut S) -> Result<bool, CalendarError<S::Error>> {
        let mut bytes = [0; size_of::<Message>()];
        match self.guest.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Ok(message) = Message::read_from_bytes(&bytes) else {
            return Ok(false);
        };
        let time = message.time.get();
        match message.operation.get() {
            message::START => self.introduce(&message)?,
            message::GET => self.send(message.ack(self.schedule.now()))?,
            message::GET_TIME_OF_DAY => {
                self.send(message.ack(TIME_OF_DAY + self.schedule.now()))?;
            }
            // With shared memory these two are not needed, but allowed.
            message::REQUEST => {
                self.schedule.request(time);
                self.send(message.ack(0))?;
            }
            message::UPDATE | message::BROADCAST => self.send(message.ack(0))?,
            message::WAIT => return self.pass_time(simulated),
            operation => return Err(CalendarError::Message { operation, time }),
        }
        Ok(true)
    }

    /// The answer to START: the guest's number, and the page. The second descriptor is for a log
    /// that nobody writes.
    fn introduce(&mut self, message: &Message) -> io::Result<()> {
        let log = std::fs::File::options().write(true).open("/dev/null")?;
        let descriptors = [self.schedule.as_fd(), log.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let answer = message.ack(schedule::GUEST.into());
        let bytes = [IoSlice::new(answer.as_bytes())];
        sendmsg(&self.guest, &bytes, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The guest waits: the device does what is due before the guest's next moment, which then
    /// comes. What is due at the same time goes first. Whether the guest is still there.
    fn pass_time<S: Simulated>(
        &mut self,
        simulated: &mut S,
    ) -> Result<bool, CalendarError<S::Error>> {
        loop {
            let now = self.schedule.now();
            let (due, asked) = (simulated.due(), self.schedule.requested());
            match (due, asked) {
                (Some(due), _) if asked.is_none_or(|asked| due <= asked) => {
                    let now = due.max(now);
                    self.schedule.run_calendar(now);
                    simulated.act(now).map_err(CalendarError::Simulated)?;
                }
                (_, Some(asked)) => {
                    if asked < now {
                        return Err(CalendarError::Backwards { asked, now });
                    }
                    self.schedule.run_guest(asked, due.unwrap_or(NEVER));
                    let run = Message::new(message::RUN, 0, asked);
                    return match self.send(run) {
                        Ok(()) => Ok(true),
                        Err(error) if is_gone(&error) => Ok(false),
                        Err(error) => Err(error.into()),
                    };
                }
                _ => return Err(CalendarError::Asleep(now)),
            }
        }
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        self.guest.write_all(message.as_bytes())
    }
}

/// Waits until one of `fds` is readable or broken; which one, the first if several are.
fn wait(fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    loop {
        let ready = wait_readable(fds, None)?;
        if let Some(first) = ready.into_iter().position(|ready| ready) {
            return Ok(first);
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serves one guest in virtual time: the device, the guest's session and the calendar on one thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use super::connection::Connection;
use super::pcidev::{PciQueues, QueueError};
use super::server::{Server, ServerError};
use super::session::{RingOwner, Session, SessionError, Signals};
use crate::dma::GuestRam;
use crate::drive::calendar::{Calendar, CalendarEnd, CalendarError, Schedule, Simulated};
use crate::drive::{FrontEnd, PollerGone};
use crate::pci::NvmeFunction;
use crate::timing::Nanos;

/// How often to look whether the host's storage is done. Virtual time stands still meanwhile.
const FLUSH_PAUSE: Duration = Duration::from_micros(50);

/// What ends a run in virtual time early.
#[derive(Debug, thiserror::Error)]
pub enum VirtualTimeError {
    /// A socket cannot be listened on.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The host refused something.
    #[error("virtual time is not possible: {0}")]
    Host(#[from] io::Error),
    /// The guest, or its time.
    #[error(transparent)]
    Guest(#[from] CalendarError<SessionError>),
}

/// Listens for a guest and for its calendar's connection; both sockets are removed when dropped.
pub struct VirtualServer {
    device: Server,
    time: Server,
}

impl VirtualServer {
    /// Listens at `device` for the guest's device and at `time` for its clock.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn bind(device: &Path, time: &Path) -> Result<Self, ServerError> {
        Ok(Self {
            device: Server::bind(device)?,
            time: Server::bind(time)?,
        })
    }

    /// Serves one guest to its end, or until `stop` becomes readable. Returns the function, and what
    /// time it was at the end; nothing, if nobody came.
    ///
    /// # Errors
    /// See [`VirtualTimeError`]; the function is lost then.
    pub fn serve(
        &self,
        function: NvmeFunction,
        stop: BorrowedFd<'_>,
    ) -> Result<Served, VirtualTimeError> {
        let schedule = Schedule::new()?;
        let mut device = Device {
            listener: self.device.listener(),
            state: State::Waiting(Box::new(function)),
            schedule: schedule.clone(),
        };
        let calendar = Calendar::accept(self.time.listener(), schedule, stop)?;
        let Some(mut calendar) = calendar else {
            return Ok(Served {
                function: device.end(),
                gone_at: Ok(None),
            });
        };
        log::info!("guest connected, in virtual time");
        let gone_at = match calendar.run(&mut device, stop) {
            Ok(CalendarEnd::GuestGone(time)) => {
                log::info!("guest is gone, at {time} ns");
                Ok(Some(time))
            }
            Ok(CalendarEnd::Stopped) => Ok(None),
            Err(error) => Err(error.into()),
        };
        Ok(Served {
            function: device.end(),
            gone_at,
        })
    }
}

/// How serving a guest has ended.
pub struct Served {
    /// The device, unless it was lost with a broken connection.
    pub function: Option<NvmeFunction>,
    /// When the guest has gone; `None` when it was told to stop.
    pub gone_at: Result<Option<Nanos>, VirtualTimeError>,
}

/// The device, before and after the guest has found it.
struct Device<'a> {
    listener: &'a UnixListener,
    state: State,
    schedule: Schedule,
}

enum State {
    Waiting(Box<NvmeFunction>),
    Connected(Box<Session<Rings>>),
    /// While it changes.
    Between,
}

/// Serves the queues at the guest's own time.
struct Rings {
    function: NvmeFunction,
    queues: Option<PciQueues>,
    schedule: Schedule,
    due: Option<Nanos>,
    /// The queues turned out to be broken when nobody could be told.
    broken: Option<QueueError>,
}

impl Device<'_> {
    /// The function, unless it was lost in between.
    fn end(self) -> Option<NvmeFunction> {
        match self.state {
            State::Waiting(function) => Some(*function),
            State::Connected(session) => session.into_owner().ok().map(|rings| rings.function),
            State::Between => None,
        }
    }

    fn connect(&mut self) -> io::Result<()> {
        let (stream, _) = self.listener.accept()?;
        let connection = Connection::new(stream)?;
        self.state = match std::mem::replace(&mut self.state, State::Between) {
            State::Waiting(function) => {
                let rings = Rings {
                    function: *function,
                    queues: None,
                    schedule: self.schedule.clone(),
                    due: None,
                    broken: None,
                };
                let session = Session::new(connection, rings, Signals::InBand);
                State::Connected(Box::new(session))
            }
            other => other,
        };
        Ok(())
    }
}

impl Simulated for Device<'_> {
    type Error = SessionError;

    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        match &self.state {
            State::Waiting(_) => vec![self.listener.as_fd()],
            State::Connected(session) if !session.is_over() => vec![session.as_fd()],
            State::Connected(_) | State::Between => Vec::new(),
        }
    }

    fn serve(&mut self, _: usize) -> Result<(), SessionError> {
        let State::Connected(session) = &mut self.state else {
            return self
                .connect()
                .map_err(|error| SessionError::Connection(error.into()));
        };
        match session.serve_one() {
            // The guest's end of its time comes next.
            Err(error) if error.is_farewell() => Ok(session.close()?),
            other => other,
        }
    }

    fn due(&self) -> Option<Nanos> {
        let State::Connected(session) = &self.state else {
            return None;
        };
        session.owner().next()
    }

    fn act(&mut self, now: Nanos) -> Result<(), SessionError> {
        let State::Connected(session) = &mut self.state else {
            return Ok(());
        };
        session.owner_mut().step(now)?;
        for queue in session.owner_mut().calls() {
            session.call(queue)?;
        }
        Ok(())
    }
}

impl Rings {
    /// When there is something to do: at once, if the guest is to be told something.
    fn next(&self) -> Option<Nanos> {
        match &self.queues {
            Some(queues) if queues.has_calls() => Some(self.schedule.now()),
            _ => self.due,
        }
    }

    fn calls(&mut self) -> Vec<u32> {
        let queues = self.queues.as_mut();
        queues.map_or_else(Vec::new, |queues| queues.take_calls().collect())
    }

    /// Does everything that can be done at `now`.
    fn step(&mut self, now: Nanos) -> Result<(), SessionError> {
        let Some(queues) = &mut self.queues else {
            return Ok(());
        };
        while queues.serve(now, &mut self.function)? {}
        loop {
            self.due = self.function.step(now, queues);
            if self.function.engine().is_flushing() {
                // The host's storage has no part in virtual time.
                std::thread::sleep(FLUSH_PAUSE);
            } else if self.due.is_none_or(|due| due > now) {
                break;
            }
        }
        Ok(queues.flush(&mut self.function)?)
    }
}

impl RingOwner for Rings {
    fn attach(&mut self, ram: GuestRam) -> Result<(), PollerGone> {
        self.function.attach(ram);
        Ok(())
    }

    fn detach(&mut self) -> Result<(), PollerGone> {
        self.function.detach();
        self.due = None;
        Ok(())
    }

    /// Every access is announced; of buffers that come back to the interrupt queue nobody needs to
    /// hear.
    fn start(&mut self, mut queues: PciQueues) -> Result<(), PollerGone> {
        let announced = queues
            .resume_polling()
            .and_then(|()| queues.prepare_sleep());
        self.broken = announced.err();
        self.queues = Some(queues);
        Ok(())
    }

    fn stop(&mut self) -> Result<Option<[u16; 2]>, PollerGone> {
        Ok(self.queues.take().map(|queues| queues.positions()))
    }

    fn kick(&mut self) -> Result<(), SessionError> {
        if let Some(error) = self.broken.take() {
            return Err(error.into());
        }
        self.step(self.schedule.now())?;
        if let Some(due) = self.next() {
            self.schedule.limit(due);
        }
        Ok(())
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One guest's session: what it has set up, and when its queues can be served.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::connection::{BackendChannel, Connection, ConnectionError, Incoming};
use super::memory::{MemoryError, MemoryTable};
use super::message::{
    FEATURE_PROTOCOL_FEATURES, FEATURE_VERSION_1, MemoryRegion, PROTOCOL_BACKEND_CHANNEL,
    PROTOCOL_IN_BAND, PROTOCOL_REPLY_ACK, Request, VringAddresses, VringState,
};
use super::pcidev::{Notifier, PciQueues, Queue, QueueError};
use super::vring::{Vring, VringError, VringLayout};
use crate::dma::GuestRam;
use crate::drive::PollerGone;

const FEATURES: u64 = FEATURE_PROTOCOL_FEATURES | FEATURE_VERSION_1;
const PROTOCOL_FEATURES: u64 = PROTOCOL_REPLY_ACK | PROTOCOL_BACKEND_CHANNEL;
/// Commands and interrupts.
const QUEUES: usize = 2;
/// What an acknowledgement says when all is well.
const ACK: u64 = 0;

/// Who serves the queues.
pub trait RingOwner {
    /// A guest with this memory has come.
    ///
    /// # Errors
    /// [`PollerGone`].
    fn attach(&mut self, ram: GuestRam) -> Result<(), PollerGone>;

    /// The guest, or its memory, is gone.
    ///
    /// # Errors
    /// [`PollerGone`].
    fn detach(&mut self) -> Result<(), PollerGone>;

    /// Serves the queues from now on.
    ///
    /// # Errors
    /// [`PollerGone`].
    fn start(&mut self, queues: PciQueues) -> Result<(), PollerGone>;

    /// No longer serves them. Returns where they stand, unless they had failed.
    ///
    /// # Errors
    /// [`PollerGone`].
    fn stop(&mut self) -> Result<Option<[u16; QUEUES]>, PollerGone>;

    /// The driver has put something into a queue, and waits until this returns. Called only where
    /// notifications are in-band.
    ///
    /// # Errors
    /// [`SessionError::Broken`].
    fn kick(&mut self) -> Result<(), SessionError> {
        Ok(())
    }
}

/// How the session's queues are notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// By file descriptors of each queue: whoever serves them looks when he likes.
    Descriptors,
    /// By messages: the guest waits until its notification has been acted on.
    InBand,
}

/// What ends a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The socket, or what came through it.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Guest memory cannot be used.
    #[error("the memory table cannot be used: {0}")]
    Memory(#[from] MemoryError),
    /// A queue cannot be used.
    #[error("queue {index} cannot be used: {source}")]
    Queue {
        /// Which one.
        index: usize,
        /// What is wrong.
        source: VringError,
    },
    /// The guest broke a queue while it was served.
    #[error("the guest broke its {0}")]
    Broken(#[from] QueueError),
    /// A queue that does not exist.
    #[error("queue {0} does not exist; there are {QUEUES}")]
    NoQueue(u32),
    /// An address outside the memory table.
    #[error("address {0:#x} is not in the memory table")]
    NoMemory(u64),
    /// More features than were offered.
    #[error("features {0:#x} were never offered")]
    Features(u64),
    /// A file descriptor cannot be used.
    #[error("a file descriptor cannot be used: {0}")]
    Descriptor(io::Error),
    /// A notification by message, which was not offered.
    #[error("a queue was notified by a message, which was never offered")]
    NotNegotiated,
    /// The guest is to be told something and has never said where.
    #[error("the guest has set up no channel for requests to it")]
    NoBackendChannel,
    /// The device itself has ended.
    #[error(transparent)]
    Poller(#[from] PollerGone),
}

impl SessionError {
    /// Whether this is how a session ends when all is well.
    pub fn is_farewell(&self) -> bool {
        matches!(self, Self::Connection(ConnectionError::Closed))
    }
}

/// What a guest has said about one queue.
#[derive(Default)]
struct QueueSetup {
    size: Option<u32>,
    /// Descriptor table, available and used ring, in guest physical addresses.
    addresses: Option<[u64; 3]>,
    next: u16,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
}

/// One guest's session.
pub struct Session<O: RingOwner> {
    connection: Connection,
    owner: O,
    memory: Option<MemoryTable>,
    queues: [QueueSetup; QUEUES],
    running: bool,
    set_up: bool,
    over: bool,
    signals: Signals,
    /// UML registers its interrupts only when it may hand this over.
    backend: Option<Backend>,
}

/// The channel for requests to the guest, kept open.
enum Backend {
    Unused(#[expect(dead_code, reason = "held open, for the guest")] OwnedFd),
    Channel(BackendChannel),
}

impl<O: RingOwner> Session<O> {
    /// Begins a session on `connection`, with `owner` to serve its queues.
    pub fn new(connection: Connection, owner: O, signals: Signals) -> Self {
        Self {
            connection,
            owner,
            memory: None,
            queues: Default::default(),
            running: false,
            set_up: false,
            over: false,
            signals,
            backend: None,
        }
    }

    /// Receives and answers one request. Call it when the connection is readable.
    ///
    /// # Errors
    /// See [`SessionError`]; the session is then over.
    pub fn serve_one(&mut self) -> Result<(), SessionError> {
        let incoming = self.connection.receive()?;
        let Incoming {
            code,
            request,
            needs_reply,
        } = incoming;
        log::debug!("vhost-user {request:?}");
        match request {
            Request::GetFeatures => return self.reply(code, FEATURES),
            Request::GetProtocolFeatures => return self.reply(code, self.protocol_features()),
            Request::GetQueueNum => return self.reply(code, QUEUES as u64),
            Request::GetVringBase(index) => return self.vring_base(code, index),
            other => self.apply(other)?,
        }
        if needs_reply {
            self.reply(code, ACK)?;
        }
        Ok(())
    }

    /// Becomes readable when guest memory is gone, if there is any.
    pub fn lost_memory_notifier(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().map(MemoryTable::lost_notifier)
    }

    /// Whether the queues have been served at some time.
    pub fn is_set_up(&self) -> bool {
        self.set_up
    }

    /// Ends the session: nothing refers to the guest any more.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub fn end(mut self) -> Result<(), PollerGone> {
        self.close()
    }

    /// Whoever serves the queues.
    pub fn owner(&self) -> &O {
        &self.owner
    }

    /// The same, to be changed.
    pub fn owner_mut(&mut self) -> &mut O {
        &mut self.owner
    }

    /// The guest has said its last word: nothing refers to it any more.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub fn close(&mut self) -> Result<(), PollerGone> {
        self.over = true;
        self.forget_memory()
    }

    /// Whether it was closed.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Ends the session and gives back who served its queues.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub fn into_owner(mut self) -> Result<O, PollerGone> {
        self.close()?;
        Ok(self.owner)
    }

    /// Tells the guest that a queue has something for it, and waits until it knows.
    ///
    /// # Errors
    /// When it is gone, or never gave a channel.
    pub fn call(&mut self, index: u32) -> Result<(), SessionError> {
        match &mut self.backend {
            Some(Backend::Channel(channel)) => Ok(channel.call(index)?),
            Some(Backend::Unused(_)) | None => Err(SessionError::NoBackendChannel),
        }
    }

    fn protocol_features(&self) -> u64 {
        match self.signals {
            Signals::Descriptors => PROTOCOL_FEATURES,
            Signals::InBand => PROTOCOL_FEATURES | PROTOCOL_IN_BAND,
        }
    }

    fn kick(&mut self, index: u32) -> Result<(), SessionError> {
        if self.signals == Signals::Descriptors {
            return Err(SessionError::NotNegotiated);
        }
        self.queue_index(index)?;
        if self.running {
            self.owner.kick()?;
        }
        Ok(())
    }

    fn reply(&mut self, code: u32, value: u64) -> Result<(), SessionError> {
        Ok(self.connection.reply(code, value)?)
    }

    fn apply(&mut self, request: Request) -> Result<(), SessionError> {
        match request {
            Request::SetFeatures(features) => return offered(features, FEATURES),
            Request::SetProtocolFeatures(features) => {
                return offered(features, self.protocol_features());
            }
            Request::SetBackendChannel(fd) => {
                self.backend = Some(match self.signals {
                    Signals::Descriptors => Backend::Unused(fd),
                    Signals::InBand => {
                        Backend::Channel(BackendChannel::new(fd).map_err(SessionError::Descriptor)?)
                    }
                });
            }
            Request::VringKick(VringState { index, .. }) => return self.kick(index.get()),
            Request::SetMemTable(table) => self.set_memory(table)?,
            Request::SetVringNum(VringState { index, value }) => {
                self.stopped_queue(index.get())?.size = Some(value.get());
            }
            Request::SetVringBase(VringState { index, value }) => {
                let next = u16::try_from(value.get()).map_err(|_| SessionError::Queue {
                    index: usize::try_from(index.get()).unwrap_or(usize::MAX),
                    source: VringError::Size(value.get()),
                })?;
                self.stopped_queue(index.get())?.next = next;
            }
            Request::SetVringAddr(addresses) => self.set_addresses(&addresses)?,
            Request::SetVringKick(index, fd) => {
                let fd = fd.map(unblocking).transpose()?;
                self.stopped_queue(index)?.kick = fd;
            }
            Request::SetVringCall(index, fd) => {
                let fd = fd.map(unblocking).transpose()?;
                self.stopped_queue(index)?.call = fd;
            }
            Request::SetVringErr(index) => {
                self.queue_index(index)?;
            }
            Request::SetVringEnable(VringState { index, value }) => {
                self.stopped_queue(index.get())?.enabled = value.get() == 1;
            }
            // Nothing to do, or answered before.
            Request::SetOwner
            | Request::GetFeatures
            | Request::GetProtocolFeatures
            | Request::GetQueueNum
            | Request::GetVringBase(_) => {}
        }
        self.start_if_ready()
    }

    fn vring_base(&mut self, code: u32, index: u32) -> Result<(), SessionError> {
        let queue = self.stopped_queue(index)?;
        queue.enabled = false;
        let next = u32::from(queue.next);
        Ok(self.connection.reply_pair(code, index, next)?)
    }

    fn set_memory(&mut self, table: Vec<(MemoryRegion, OwnedFd)>) -> Result<(), SessionError> {
        self.forget_memory()?;
        let memory = MemoryTable::map(table)?;
        self.owner.attach(memory.ram().clone())?;
        self.memory = Some(memory);
        Ok(())
    }

    fn forget_memory(&mut self) -> Result<(), PollerGone> {
        self.stop()?;
        if self.memory.is_some() {
            self.owner.detach()?;
        }
        // Only now: it watches over a mapping that was in use until here.
        self.memory = None;
        Ok(())
    }

    fn set_addresses(&mut self, addresses: &VringAddresses) -> Result<(), SessionError> {
        let translate = |user: u64| {
            self.memory
                .as_ref()
                .and_then(|memory| memory.guest_address(user))
                .ok_or(SessionError::NoMemory(user))
        };
        let translated = [
            translate(addresses.descriptors.get())?,
            translate(addresses.available.get())?,
            translate(addresses.used.get())?,
        ];
        self.stopped_queue(addresses.index.get())?.addresses = Some(translated);
        Ok(())
    }

    fn queue_index(&self, index: u32) -> Result<usize, SessionError> {
        usize::try_from(index)
            .ok()
            .filter(|&index| index < QUEUES)
            .ok_or(SessionError::NoQueue(index))
    }

    /// A queue's set-up, to change it; the queues are stopped for that.
    fn stopped_queue(&mut self, index: u32) -> Result<&mut QueueSetup, SessionError> {
        let index = self.queue_index(index)?;
        self.stop()?;
        Ok(&mut self.queues[index])
    }

    fn stop(&mut self) -> Result<(), PollerGone> {
        if !self.running {
            return Ok(());
        }
        self.running = false;
        if let Some(positions) = self.owner.stop()? {
            for (queue, next) in self.queues.iter_mut().zip(positions) {
                queue.next = next;
            }
        }
        Ok(())
    }

    /// Starts the queues once both are enabled and complete.
    fn start_if_ready(&mut self) -> Result<(), SessionError> {
        if self.running {
            return Ok(());
        }
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        let [commands, interrupts] =
            [0, 1].map(|i| self.queues[i].open(i, memory.ram(), self.signals));
        if let (Some(commands), Some(interrupts)) = (commands?, interrupts?) {
            self.owner.start(PciQueues::new(commands, interrupts))?;
            self.running = true;
            self.set_up = true;
        }
        Ok(())
    }
}

impl<O: RingOwner> AsFd for Session<O> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl QueueSetup {
    /// The queue, if it is enabled and all of it is known.
    fn open(
        &self,
        index: usize,
        ram: &GuestRam,
        signals: Signals,
    ) -> Result<Option<Queue>, SessionError> {
        let (true, Some(size), Some([descriptors, available, used])) =
            (self.enabled, self.size, self.addresses)
        else {
            return Ok(None);
        };
        let notifier = match (signals, &self.kick, &self.call) {
            (Signals::InBand, ..) => Notifier::InBand { call: false },
            (Signals::Descriptors, Some(kick), Some(call)) => Notifier::Descriptors {
                kick: kick.try_clone().map_err(SessionError::Descriptor)?,
                call: call.try_clone().map_err(SessionError::Descriptor)?,
            },
            (Signals::Descriptors, ..) => return Ok(None),
        };
        let layout = VringLayout {
            size,
            descriptors,
            available,
            used,
            next: self.next,
        };
        let vring =
            Vring::new(ram, &layout).map_err(|source| SessionError::Queue { index, source })?;
        Ok(Some(Queue { vring, notifier }))
    }
}

fn offered(features: u64, offer: u64) -> Result<(), SessionError> {
    if features & !offer == 0 {
        Ok(())
    } else {
        Err(SessionError::Features(features))
    }
}

/// Neither a full call socket nor an empty kick eventfd may stop the poller.
fn unblocking(fd: OwnedFd) -> Result<File, SessionError> {
    let set = || {
        let flags = fcntl_getfl(&fd)?;
        fcntl_setfl(&fd, flags | OFlags::NONBLOCK)
    };
    set().map_err(|e| SessionError::Descriptor(e.into()))?;
    Ok(File::from(fd))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serves guests on a socket, one after another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, pidfd_open};

use super::connection::Connection;
use super::pcidev::PciQueues;
use super::session::{RingOwner, Session, SessionError, Signals};
use crate::dma::GuestRam;
use crate::drive::{PollerGone, PollerHandle, wait_readable};

/// How long a guest may take from its connection to its first working queues. UML takes some
/// milliseconds; the next guest waits that long.
const SET_UP_PATIENCE: Duration = Duration::from_secs(30);

/// What ends the server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody else serves this socket.
    #[error("{0}: another process serves this socket; end it or choose another path")]
    InUse(PathBuf),
    /// The path is taken by something that is no socket.
    #[error("{0}: exists and is no socket; remove it or choose another path")]
    NoSocket(PathBuf),
    /// The socket cannot be made.
    #[error("{path}: cannot listen there: {source}")]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket failed.
    #[error("waiting for guests failed: {0}")]
    Accept(io::Error),
    /// The device has ended.
    #[error(transparent)]
    Poller(#[from] PollerGone),
}

/// A listening socket; removed when dropped.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// Why waiting has ended.
enum Wake {
    Stop,
    Failure,
    Guest,
    PeerDied,
    MemoryLost,
    TimedOut,
}

/// How a guest's session has ended.
enum End {
    Farewell,
    PeerDied,
    MemoryLost,
    Silence,
    Error(SessionError),
    Stopped,
}

impl Server {
    /// Listens at `path`. A socket that nobody serves any more is replaced.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(ServerError::NoSocket(path.into()));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(ServerError::InUse(path.into()));
            }
            // If it cannot be removed, binding fails and says so.
            let _ = std::fs::remove_file(path);
        }
        let bind = |source| ServerError::Bind {
            path: path.into(),
            source,
        };
        let listener = UnixListener::bind(path).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        Ok(Self {
            listener,
            path: path.into(),
        })
    }

    /// The socket, for somebody who accepts by himself. It does not block.
    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Serves guests until `stop` becomes readable, or only one if `once` is set.
    ///
    /// # Errors
    /// [`ServerError::Accept`], [`ServerError::Poller`]; never because of a guest.
    pub fn serve(
        &self,
        poller: &PollerHandle<PciQueues>,
        stop: BorrowedFd<'_>,
        once: bool,
    ) -> Result<(), ServerError> {
        loop {
            let ready =
                wait_readable(&[stop, self.listener.as_fd()], None).map_err(ServerError::Accept)?;
            if ready[0] {
                return Ok(());
            }
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                // It has left again.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) => return Err(ServerError::Accept(e)),
            };
            let stopped = serve_guest(stream, poller, stop)?;
            if stopped || once {
                return Ok(());
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves one guest to its end. Returns whether it was the server that was stopped.
fn serve_guest(
    stream: UnixStream,
    poller: &PollerHandle<PciQueues>,
    stop: BorrowedFd<'_>,
) -> Result<bool, ServerError> {
    let peer = Peer::of(&stream);
    log::info!("guest connected ({peer})");
    let end = match Connection::new(stream) {
        Err(error) => End::Error(SessionError::Connection(error.into())),
        Ok(connection) => {
            let mut session = Session::new(
                connection,
                PollerRings(poller.clone()),
                Signals::Descriptors,
            );
            let end = converse(&mut session, poller, &peer, stop)?;
            session.end()?;
            // The queues may have failed of the same cause; the next guest has no part in it.
            let _ = poller.take_failure();
            end
        }
    };
    match &end {
        End::Farewell | End::PeerDied => log::info!("guest is gone ({peer})"),
        End::MemoryLost => log::warn!(
            "guest's connection ended ({peer}): its memory is gone; is the file system of its \
             TMPDIR full?"
        ),
        End::Silence => log::warn!(
            "guest's connection ended ({peer}): it set up nothing for {} s",
            SET_UP_PATIENCE.as_secs()
        ),
        End::Error(error) => log::warn!("guest's connection ended ({peer}): {error}"),
        End::Stopped => log::info!("stopped while a guest was connected ({peer})"),
    }
    Ok(matches!(end, End::Stopped))
}

fn converse(
    session: &mut Session<PollerRings>,
    poller: &PollerHandle<PciQueues>,
    peer: &Peer,
    stop: BorrowedFd<'_>,
) -> Result<End, ServerError> {
    let connected = Instant::now();
    loop {
        let left =
            (!session.is_set_up()).then(|| SET_UP_PATIENCE.saturating_sub(connected.elapsed()));
        match wait_for_guest(session, poller, peer, stop, left).map_err(ServerError::Accept)? {
            Wake::Stop => return Ok(End::Stopped),
            Wake::PeerDied => return Ok(End::PeerDied),
            Wake::MemoryLost => return Ok(End::MemoryLost),
            Wake::TimedOut => return Ok(End::Silence),
            Wake::Failure => {
                return match poller.take_failure() {
                    Some(error) => Ok(End::Error(error.into())),
                    None => Err(PollerGone.into()),
                };
            }
            Wake::Guest => {}
        }
        match session.serve_one() {
            Ok(()) => {}
            Err(SessionError::Poller(gone)) => return Err(gone.into()),
            Err(error) if error.is_farewell() => return Ok(End::Farewell),
            Err(error) => return Ok(End::Error(error)),
        }
    }
}

/// Waits until there is something to do. Lost memory explains whatever else goes wrong, so it comes
/// first; what the guest has said goes before its process's end, so that an orderly farewell is seen
/// as one.
fn wait_for_guest(
    session: &Session<PollerRings>,
    poller: &PollerHandle<PciQueues>,
    peer: &Peer,
    stop: BorrowedFd<'_>,
    patience: Option<Duration>,
) -> io::Result<Wake> {
    let mut sources = vec![(stop, Wake::Stop)];
    sources.extend(
        session
            .lost_memory_notifier()
            .map(|fd| (fd, Wake::MemoryLost)),
    );
    sources.push((poller.failure_notifier(), Wake::Failure));
    sources.push((session.as_fd(), Wake::Guest));
    sources.extend(peer.process.as_ref().map(|fd| (fd.as_fd(), Wake::PeerDied)));
    let fds: Vec<_> = sources.iter().map(|(fd, _)| *fd).collect();
    let ready = wait_readable(&fds, patience)?;
    Ok(sources
        .into_iter()
        .zip(ready)
        .find_map(|((_, wake), ready)| ready.then_some(wake))
        .unwrap_or(Wake::TimedOut))
}

/// The process at the other end. Its children may keep the connection open when it is killed, so
/// that the connection alone does not tell.
struct Peer {
    pid: Option<rustix::process::Pid>,
    process: Option<OwnedFd>,
}

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        let pid = rustix::net::sockopt::socket_peercred(stream)
            .ok()
            .map(|credentials| credentials.pid);
        Self {
            pid,
            process: pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {}", pid.as_raw_nonzero()),
            None => f.write_str("process unknown"),
        }
    }
}

/// The poller serves the queues.
struct PollerRings(PollerHandle<PciQueues>);

impl RingOwner for PollerRings {
    fn attach(&mut self, ram: GuestRam) -> Result<(), PollerGone> {
        self.0
            .with_function(move |function, _| function.attach(ram))
    }

    fn detach(&mut self) -> Result<(), PollerGone> {
        self.0.with_function(|function, _| function.detach())
    }

    fn start(&mut self, queues: PciQueues) -> Result<(), PollerGone> {
        self.0.start(queues)
    }

    fn stop(&mut self) -> Result<Option<[u16; 2]>, PollerGone> {
        Ok(self.0.stop()?.map(|queues| queues.positions()))
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serves guests on a socket, one after another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use super::connection::Connection;
use super::pcidev::PciQueues;
use super::session::{RingOwner, Session, SessionError};
use crate::dma::GuestRam;
use crate::drive::{PollerGone, PollerHandle};

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
    Guest,
    Failure,
    PeerDied,
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
            let ready = wait(&[stop, self.listener.as_fd()]).map_err(ServerError::Accept)?;
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
    let connection = match Connection::new(stream) {
        Ok(connection) => connection,
        Err(e) => {
            log::warn!("guest's connection ended: {e}");
            return Ok(false);
        }
    };
    let mut session = Session::new(connection, PollerRings(poller.clone()));
    let end = loop {
        match wait_for_guest(&session, poller, &peer, stop) {
            Err(e) => break Err(ServerError::Accept(e)),
            Ok(Wake::Stop) => break Ok(true),
            Ok(Wake::PeerDied) => {
                log::info!("guest is gone ({peer} has ended)");
                break Ok(false);
            }
            Ok(Wake::Failure) => match poller.take_failure() {
                Some(error) => {
                    log::warn!("guest's connection ended: {}", SessionError::from(error));
                    break Ok(false);
                }
                None => break Err(PollerGone.into()),
            },
            Ok(Wake::Guest) => {}
        }
        match session.serve_one() {
            Ok(()) => {}
            Err(SessionError::Poller(gone)) => return Err(gone.into()),
            Err(error) if error.is_farewell() => {
                log::info!("{error} ({peer})");
                break Ok(false);
            }
            Err(error) => {
                log::warn!("guest's connection ended: {error}");
                break Ok(false);
            }
        }
    };
    session.end()?;
    end
}

/// Waits until there is something to do. What the guest has said goes before its process's end, so
/// that an orderly farewell is seen as one.
fn wait_for_guest(
    session: &impl AsFd,
    poller: &PollerHandle<PciQueues>,
    peer: &Peer,
    stop: BorrowedFd<'_>,
) -> io::Result<Wake> {
    let mut fds = vec![stop, poller.failure_notifier(), session.as_fd()];
    fds.extend(peer.process.as_ref().map(AsFd::as_fd));
    let ready = wait(&fds)?;
    Ok(match ready.iter().position(|&ready| ready) {
        Some(0) => Wake::Stop,
        Some(1) => Wake::Failure,
        Some(2) => Wake::Guest,
        _ => Wake::PeerDied,
    })
}

/// Waits until at least one of `fds` is readable or broken.
fn wait(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    loop {
        match poll(&mut polled, None) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
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

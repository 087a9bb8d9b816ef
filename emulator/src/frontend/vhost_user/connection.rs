// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes and file descriptors on a vhost-user socket.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use zerocopy::{FromBytes, IntoBytes};

use super::message::{BACKEND_VRING_CALL, Header, MAX_PAYLOAD, MAX_REGIONS, MessageError, Request};

/// How long a peer may take to finish a message that it has begun, or to take a reply.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a guest may take to acknowledge a request to it: it does nothing else meanwhile, but its
/// processor may be busy with others.
const CALL_PATIENCE: Duration = Duration::from_secs(20);

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed it between two messages.
    #[error("the guest is gone")]
    Closed,
    /// The peer closed it, or stopped sending, in the middle of a message.
    #[error("the guest stopped in the middle of a message")]
    Truncated,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
    /// What came is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// One peer.
pub struct Connection {
    stream: UnixStream,
}

/// A request and how it wants to be answered.
pub struct Incoming {
    /// Request code.
    pub code: u32,
    /// What is asked.
    pub request: Request,
    /// Whether the peer waits for an acknowledgement, if the request has no reply of its own.
    pub needs_reply: bool,
}

impl Connection {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// When its timeouts cannot be set.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Receives one request. Call it when the socket is readable.
    ///
    /// # Errors
    /// See [`ConnectionError`]; the connection is then of no further use.
    pub fn receive(&mut self) -> Result<Incoming, ConnectionError> {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = [0; size_of::<Header>()];
        let mut fds = Vec::new();
        let mut got = self.receive_some(&mut bytes, &mut fds)?;
        if got == 0 {
            return Err(ConnectionError::Closed);
        }
        while got < bytes.len() {
            got += self.receive_more(&mut bytes[got..], &mut fds, deadline)?;
        }
        let header = Header::read_from_bytes(&bytes).map_err(|_| ConnectionError::Truncated)?;
        let length = header.check()?;

        let mut payload = [0; MAX_PAYLOAD];
        let payload = &mut payload[..length];
        let mut got = 0;
        while got < length {
            got += self.receive_more(&mut payload[got..], &mut fds, deadline)?;
        }
        let code = header.request.get();
        Ok(Incoming {
            code,
            request: Request::parse(code, payload, fds)?,
            needs_reply: header.needs_reply(),
        })
    }

    /// Answers request `code`.
    ///
    /// # Errors
    /// When the peer is gone or does not take the reply.
    pub fn reply(&mut self, code: u32, value: u64) -> Result<(), ConnectionError> {
        let mut message = [0; size_of::<Header>() + 8];
        let (header, payload) = message.split_at_mut(size_of::<Header>());
        header.copy_from_slice(Header::reply_u64(code).as_bytes());
        payload.copy_from_slice(&value.to_ne_bytes());
        self.stream.write_all(&message)?;
        Ok(())
    }

    /// Answers GET_VRING_BASE: a queue's number and its next entry, two 32-bit words.
    ///
    /// # Errors
    /// As [`Connection::reply`].
    pub fn reply_pair(
        &mut self,
        code: u32,
        first: u32,
        second: u32,
    ) -> Result<(), ConnectionError> {
        let mut both = [0; 8];
        both[..4].copy_from_slice(&first.to_ne_bytes());
        both[4..].copy_from_slice(&second.to_ne_bytes());
        self.reply(code, u64::from_ne_bytes(both))
    }

    fn receive_more(
        &self,
        into: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        deadline: Instant,
    ) -> Result<usize, ConnectionError> {
        if Instant::now() > deadline {
            return Err(ConnectionError::Truncated);
        }
        match self.receive_some(into, fds) {
            Ok(0) => Err(ConnectionError::Truncated),
            Err(ConnectionError::Socket(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                Err(ConnectionError::Truncated)
            }
            result => result,
        }
    }

    /// One `recvmsg`: up to `into.len()` bytes and the file descriptors that came with them.
    fn receive_some(
        &self,
        into: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Result<usize, ConnectionError> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_REGIONS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let result = recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(into)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            let message = match result {
                Ok(message) => message,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::CONNRESET) => return Ok(0),
                Err(e) => return Err(io::Error::from(e).into()),
            };
            for ancillary in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = ancillary {
                    fds.extend(rights);
                }
            }
            return Ok(message.bytes);
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The channel for requests to the guest.
pub struct BackendChannel {
    stream: UnixStream,
}

impl BackendChannel {
    /// Takes the guest's descriptor: one end of a pair of stream sockets.
    ///
    /// # Errors
    /// When its timeouts cannot be set: it is no socket.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let stream = UnixStream::from(fd);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CALL_PATIENCE))?;
        stream.set_write_timeout(Some(CALL_PATIENCE))?;
        Ok(Self { stream })
    }

    /// Tells the guest that queue `index` has something for it, and waits until it knows.
    ///
    /// # Errors
    /// When the guest is gone or does not answer.
    pub fn call(&mut self, index: u32) -> Result<(), ConnectionError> {
        let mut message = [0; size_of::<Header>() + 8];
        let (header, payload) = message.split_at_mut(size_of::<Header>());
        header.copy_from_slice(Header::backend_request(BACKEND_VRING_CALL).as_bytes());
        payload[..4].copy_from_slice(&index.to_ne_bytes());
        self.stream.write_all(&message)?;
        match self.stream.read_exact(&mut message) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ConnectionError::Closed)
            }
            Err(error) => Err(error.into()),
        }
    }
}

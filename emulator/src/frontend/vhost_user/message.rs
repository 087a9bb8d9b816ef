// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests of the vhost-user protocol, as QEMU's `docs/interop/vhost-user.rst` defines them and UML
//! sends them. Every length and every number of file descriptors is checked here.

use std::os::fd::OwnedFd;

use zerocopy::native_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The longest payload that any request has: a memory table of [`MAX_REGIONS`].
pub const MAX_PAYLOAD: usize = 8 + MAX_REGIONS * size_of::<MemoryRegion>();
/// The most regions of a memory table, and the most file descriptors of a message.
pub const MAX_REGIONS: usize = 8;

/// Feature bit: protocol features can be negotiated.
pub const FEATURE_PROTOCOL_FEATURES: u64 = 1 << 30;
/// Feature bit: the device follows virtio 1.
pub const FEATURE_VERSION_1: u64 = 1 << 32;
/// Protocol feature: requests without a reply of their own can ask for an acknowledgement.
pub const PROTOCOL_REPLY_ACK: u64 = 1 << 3;
/// Protocol feature: a channel for requests to the guest. In real time we send none, but without it
/// UML 6.12 registers no interrupt for the queues.
pub const PROTOCOL_BACKEND_CHANNEL: u64 = 1 << 5;
/// Protocol feature: notifications are messages on the socket and the backend channel.
pub const PROTOCOL_IN_BAND: u64 = 1 << 14;

/// On the backend channel: a queue has something for the driver.
pub const BACKEND_VRING_CALL: u32 = 4;

const FLAG_VERSION_MASK: u32 = 0b11;
const FLAG_VERSION: u32 = 1;
const FLAG_REPLY: u32 = 1 << 2;
const FLAG_NEED_REPLY: u32 = 1 << 3;
/// In the payload of SET_VRING_KICK and its kind: no file descriptor comes with it.
const VRING_NO_FD: u64 = 1 << 8;
const VRING_INDEX_MASK: u64 = 0xFF;

/// What precedes each payload.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Request code.
    pub request: U32,
    /// Version, reply and need-reply flags.
    pub flags: U32,
    /// Length of the payload in bytes.
    pub size: U32,
}

/// A region of a memory table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MemoryRegion {
    /// Where the guest has it, as descriptors name it.
    pub guest_address: U64,
    /// Length in bytes.
    pub size: U64,
    /// Where the other side has it, as SET_VRING_ADDR names it.
    pub user_address: U64,
    /// Where in its file it begins.
    pub file_offset: U64,
}

/// A queue's number and one value.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VringState {
    /// Queue.
    pub index: U32,
    /// Size, base or enable, as the request has it.
    pub value: U32,
}

/// Where a queue's parts are, in the other side's addresses.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VringAddresses {
    /// Queue.
    pub index: U32,
    /// Bit 0: log writes (never offered).
    pub flags: U32,
    /// Descriptor table.
    pub descriptors: U64,
    /// Used ring.
    pub used: U64,
    /// Available ring.
    pub available: U64,
    /// Log address, unused.
    pub log: U64,
}

/// A message that no correct peer sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not version 1, or a reply where a request is due.
    #[error("a message with flags {0:#x} is no vhost-user request of version 1")]
    Flags(u32),
    /// Longer than any request.
    #[error("request {request} announces a payload of {size} bytes; the longest has {MAX_PAYLOAD}")]
    TooLong {
        /// Request code.
        request: u32,
        /// Announced length.
        size: u32,
    },
    /// The payload's length does not fit the request.
    #[error("request {request} has a payload of {size} bytes, which does not fit it")]
    Size {
        /// Request code.
        request: u32,
        /// Length of the payload.
        size: usize,
    },
    /// Too few or too many file descriptors.
    #[error("request {request} came with {found} file descriptors instead of {expected}")]
    Descriptors {
        /// Request code.
        request: u32,
        /// How many belong to it.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// A request that was never offered.
    #[error("request {0} is unknown or was not negotiated")]
    Unknown(u32),
}

impl Header {
    /// Checks the flags and the announced length.
    ///
    /// # Errors
    /// [`MessageError::Flags`], [`MessageError::TooLong`].
    pub fn check(&self) -> Result<usize, MessageError> {
        let flags = self.flags.get();
        if flags & FLAG_VERSION_MASK != FLAG_VERSION || flags & FLAG_REPLY != 0 {
            return Err(MessageError::Flags(flags));
        }
        usize::try_from(self.size.get())
            .ok()
            .filter(|&size| size <= MAX_PAYLOAD)
            .ok_or(MessageError::TooLong {
                request: self.request.get(),
                size: self.size.get(),
            })
    }

    /// Whether the sender waits for an acknowledgement.
    pub fn needs_reply(&self) -> bool {
        self.flags.get() & FLAG_NEED_REPLY != 0
    }

    /// The header of a request to the guest with a payload of 8 bytes, to be acknowledged.
    pub fn backend_request(request: u32) -> Self {
        Self {
            request: U32::new(request),
            flags: U32::new(FLAG_VERSION | FLAG_NEED_REPLY),
            size: U32::new(8),
        }
    }

    /// The header of a reply with a payload of 8 bytes. UML insists on exactly these flags.
    pub fn reply_u64(request: u32) -> Self {
        Self {
            request: U32::new(request),
            flags: U32::new(FLAG_VERSION | FLAG_REPLY),
            size: U32::new(8),
        }
    }
}

/// A request, with its file descriptors.
#[derive(Debug)]
pub enum Request {
    /// Which virtio features there are.
    GetFeatures,
    /// Which virtio features are used.
    SetFeatures(u64),
    /// The session begins.
    SetOwner,
    /// Which protocol features there are.
    GetProtocolFeatures,
    /// Which protocol features are used.
    SetProtocolFeatures(u64),
    /// How many queues there are.
    GetQueueNum,
    /// Guest memory, a file for each region.
    SetMemTable(Vec<(MemoryRegion, OwnedFd)>),
    /// A queue's size.
    SetVringNum(VringState),
    /// Where a queue is.
    SetVringAddr(VringAddresses),
    /// Which entry of the available ring comes first.
    SetVringBase(VringState),
    /// Stops a queue and asks which entry would have come next.
    GetVringBase(u32),
    /// The eventfd of a queue's notifications to the device.
    SetVringKick(u32, Option<OwnedFd>),
    /// What to write to in order to notify the driver.
    SetVringCall(u32, Option<OwnedFd>),
    /// What to write to after an error; never used.
    SetVringErr(u32),
    /// Starts or stops a queue.
    SetVringEnable(VringState),
    /// The channel for requests to the guest.
    SetBackendChannel(OwnedFd),
    /// A queue has something for the device.
    VringKick(VringState),
}

impl Request {
    /// Takes a request apart.
    ///
    /// # Errors
    /// [`MessageError`] when lengths or file descriptors do not fit it, or nobody knows it.
    pub fn parse(code: u32, payload: &[u8], fds: Vec<OwnedFd>) -> Result<Self, MessageError> {
        let parser = Parser { code, payload };
        let request = match code {
            5 => return parser.mem_table(fds),
            12 => {
                return parser
                    .vring_fd(fds)
                    .map(|(i, fd)| Self::SetVringKick(i, fd));
            }
            13 => {
                return parser
                    .vring_fd(fds)
                    .map(|(i, fd)| Self::SetVringCall(i, fd));
            }
            14 => return parser.vring_fd(fds).map(|(i, _)| Self::SetVringErr(i)),
            21 => return parser.one_fd(fds).map(Self::SetBackendChannel),
            1 => parser.empty(Self::GetFeatures),
            2 => parser.value().map(|v: U64| Self::SetFeatures(v.get())),
            3 => parser.empty(Self::SetOwner),
            8 => parser.value().map(Self::SetVringNum),
            9 => parser.value().map(Self::SetVringAddr),
            10 => parser.value().map(Self::SetVringBase),
            11 => parser
                .value()
                .map(|v: VringState| Self::GetVringBase(v.index.get())),
            15 => parser.empty(Self::GetProtocolFeatures),
            16 => parser
                .value()
                .map(|v: U64| Self::SetProtocolFeatures(v.get())),
            17 => parser.empty(Self::GetQueueNum),
            18 => parser.value().map(Self::SetVringEnable),
            35 => parser.value().map(Self::VringKick),
            _ => Err(MessageError::Unknown(code)),
        }?;
        parser.descriptors(&fds, 0)?;
        Ok(request)
    }
}

/// A payload, with the code that errors name.
struct Parser<'a> {
    code: u32,
    payload: &'a [u8],
}

impl Parser<'_> {
    fn value<T: FromBytes>(&self) -> Result<T, MessageError> {
        T::read_from_bytes(self.payload).map_err(|_| self.wrong_size())
    }

    fn empty(&self, request: Request) -> Result<Request, MessageError> {
        if self.payload.is_empty() {
            Ok(request)
        } else {
            Err(self.wrong_size())
        }
    }

    fn one_fd(&self, fds: Vec<OwnedFd>) -> Result<OwnedFd, MessageError> {
        let found = fds.len();
        let [fd] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| self.wrong_fds(1, found))?;
        Ok(fd)
    }

    /// A queue's number in bits 7:0, and a file descriptor unless bit 8 says that none came.
    fn vring_fd(&self, fds: Vec<OwnedFd>) -> Result<(u32, Option<OwnedFd>), MessageError> {
        let value: U64 = self.value()?;
        let index = u32::try_from(value.get() & VRING_INDEX_MASK).unwrap_or(u32::MAX);
        if value.get() & VRING_NO_FD != 0 {
            self.descriptors(&fds, 0)?;
            return Ok((index, None));
        }
        Ok((index, Some(self.one_fd(fds)?)))
    }

    /// UML before 6.13 always sends room for two regions, whatever the number; so anything after the
    /// announced regions is accepted, and ignored.
    fn mem_table(&self, fds: Vec<OwnedFd>) -> Result<Request, MessageError> {
        let (head, rest) =
            <[U32; 2]>::read_from_prefix(self.payload).map_err(|_| self.wrong_size())?;
        let count = usize::try_from(head[0].get())
            .ok()
            .filter(|count| (1..=MAX_REGIONS).contains(count))
            .ok_or_else(|| self.wrong_size())?;
        self.descriptors(&fds, count)?;
        let (regions, _) = <[MemoryRegion]>::ref_from_prefix_with_elems(rest, count)
            .map_err(|_| self.wrong_size())?;
        Ok(Request::SetMemTable(
            regions.iter().copied().zip(fds).collect(),
        ))
    }

    fn descriptors(&self, fds: &[OwnedFd], expected: usize) -> Result<(), MessageError> {
        if fds.len() == expected {
            Ok(())
        } else {
            Err(self.wrong_fds(expected, fds.len()))
        }
    }

    fn wrong_fds(&self, expected: usize, found: usize) -> MessageError {
        MessageError::Descriptors {
            request: self.code,
            expected,
            found,
        }
    }

    fn wrong_size(&self) -> MessageError {
        MessageError::Size {
            request: self.code,
            size: self.payload.len(),
        }
    }
}

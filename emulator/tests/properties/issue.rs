// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands, and what is known about each while it is outstanding.

use crate::dice::low;
use crate::medium::Transfer;

pub const FLUSH: u8 = 0x00;
pub const WRITE: u8 = 0x01;
pub const READ: u8 = 0x02;
pub const COMPARE: u8 = 0x05;
pub const WRITE_ZEROES: u8 = 0x08;
pub const DATASET_MANAGEMENT: u8 = 0x09;
pub const VERIFY: u8 = 0x0C;

pub const DELETE_SQ: u8 = 0x00;
pub const CREATE_SQ: u8 = 0x01;
pub const GET_LOG_PAGE: u8 = 0x02;
pub const DELETE_CQ: u8 = 0x04;
pub const CREATE_CQ: u8 = 0x05;
pub const IDENTIFY: u8 = 0x06;
pub const ABORT: u8 = 0x08;
pub const SET_FEATURES: u8 = 0x09;
pub const GET_FEATURES: u8 = 0x0A;
pub const EVENT_REQUEST: u8 = 0x0C;
pub const DOORBELL_BUFFERS: u8 = 0x7C;
pub const FORMAT: u8 = 0x80;

/// (status code type, status code).
pub type Status = (u8, u8);
pub const SUCCESS: Status = (0, 0);
pub const COMPARE_FAILURE: Status = (2, 0x85);

/// Whether a command may have been ended early, wherever it was by then.
pub fn is_aborted(status: Status) -> bool {
    matches!(status, (0, 0x07 | 0x08))
}

/// A command: 16 dwords.
#[derive(Clone, Copy)]
pub struct Command(pub [u32; 16]);

impl Command {
    pub fn new(opcode: u8) -> Self {
        let mut dwords = [0; 16];
        dwords[0] = opcode.into();
        Self(dwords)
    }

    pub fn cdw(mut self, index: usize, value: u32) -> Self {
        self.0[index] = value;
        self
    }

    pub fn nsid(self, nsid: u32) -> Self {
        self.cdw(1, nsid)
    }

    pub fn quad(self, index: usize, value: u64) -> Self {
        self.cdw(index, low(value)).cdw(index + 1, low(value >> 32))
    }

    pub fn prp(self, prp1: u64, prp2: u64) -> Self {
        self.quad(6, prp1).quad(8, prp2)
    }

    pub fn flags(mut self, flags: u8) -> Self {
        self.0[0] |= u32::from(flags) << 8;
        self
    }

    pub fn with_cid(mut self, cid: u16) -> Self {
        self.0[0] = self.0[0] & 0xFFFF | u32::from(cid) << 16;
        self
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        let dword = |at: usize| u32::from_le_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap());
        Self(std::array::from_fn(dword))
    }

    pub fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (into, dword) in bytes.chunks_exact_mut(4).zip(self.0) {
            into.copy_from_slice(&dword.to_le_bytes());
        }
        bytes
    }

    pub fn opcode(&self) -> u8 {
        self.0[0].to_le_bytes()[0]
    }

    pub fn cid(&self) -> u16 {
        u16::try_from(self.0[0] >> 16).unwrap()
    }

    pub fn get_quad(&self, index: usize) -> u64 {
        u64::from(self.0[index]) | u64::from(self.0[index + 1]) << 32
    }

    /// The low and the high half of a dword.
    pub fn halves(&self, index: usize) -> (u16, u16) {
        let dword = self.0[index];
        let half = |value: u32| u16::try_from(value & 0xFFFF).unwrap();
        (half(dword), half(dword >> 16))
    }
}

/// How a command must end, unless it is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Success,
    /// With an error, and without having moved data.
    Refused,
}

/// A command that the device was told of.
pub struct Issued {
    pub command: Command,
    pub expect: Expect,
    pub transfer: Option<Transfer>,
    /// Pages that are its own while it is outstanding.
    pub pages: Vec<u64>,
}

impl Issued {
    pub fn new(command: Command, expect: Expect) -> Self {
        Self {
            command,
            expect,
            transfer: None,
            pages: Vec::new(),
        }
    }

    pub fn cid(&self) -> u16 {
        self.command.cid()
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (prp1, prp2) = (self.get_quad(6), self.get_quad(8));
        let [opcode, cid, nsid] = [self.opcode().into(), self.cid().into(), self.0[1]];
        let rest = &self.0[10..13];
        write!(
            f,
            "{opcode:02x} cid {cid:x} nsid {nsid:x} prp {prp1:x} {prp2:x} {rest:x?}"
        )
    }
}

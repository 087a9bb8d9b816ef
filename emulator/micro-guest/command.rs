// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands and completions as they stand in memory (NVMe Base 2.0c, 3.3.3).

/// A submission queue entry.
#[derive(Clone, Copy)]
pub struct Command(pub [u64; 8]);

impl Command {
    /// A command with an admin or I/O opcode; everything else is 0.
    pub const fn new(opcode: u8) -> Self {
        Self([opcode as u64, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Its namespace.
    pub const fn nsid(mut self, nsid: u32) -> Self {
        self.0[0] |= (nsid as u64) << 32;
        self
    }

    /// Its identifier.
    pub const fn cid(mut self, cid: u16) -> Self {
        self.0[0] = self.0[0] & !0xFFFF_0000 | (cid as u64) << 16;
        self
    }

    /// PRP entries 1 and 2.
    pub const fn prp(mut self, first: u64, second: u64) -> Self {
        self.0[3] = first;
        self.0[4] = second;
        self
    }

    /// Command dword `index`, 10 to 15.
    pub const fn cdw(mut self, index: usize, value: u32) -> Self {
        let shift = 32 * (index % 2);
        let word = &mut self.0[index / 2];
        *word = *word & !(0xFFFF_FFFF << shift) | (value as u64) << shift;
        self
    }

    /// Command dwords 10 and 11 together.
    pub const fn lba(mut self, lba: u64) -> Self {
        self.0[5] = lba;
        self
    }
}

/// Delete I/O Submission Queue.
pub const DELETE_SQ: u8 = 0x00;
/// Create I/O Submission Queue.
pub const CREATE_SQ: u8 = 0x01;
/// Get Log Page.
pub const GET_LOG_PAGE: u8 = 0x02;
/// Delete I/O Completion Queue.
pub const DELETE_CQ: u8 = 0x04;
/// Create I/O Completion Queue.
pub const CREATE_CQ: u8 = 0x05;
/// Identify.
pub const IDENTIFY: u8 = 0x06;
/// Set Features.
pub const SET_FEATURES: u8 = 0x09;
/// Asynchronous Event Request.
pub const ASYNC_EVENT_REQUEST: u8 = 0x0C;
/// Doorbell Buffer Config.
pub const DOORBELL_BUFFER_CONFIG: u8 = 0x7C;

/// Flush.
pub const FLUSH: u8 = 0x00;
/// Write.
pub const WRITE: u8 = 0x01;
/// Read.
pub const READ: u8 = 0x02;

/// A flush of namespace 1.
pub const fn flush() -> Command {
    Command::new(FLUSH).nsid(1)
}

/// A read or write of `blocks` (1 to 65536) blocks of namespace 1.
pub fn transfer(opcode: u8, lba: u64, blocks: u64) -> Command {
    Command::new(opcode)
        .nsid(1)
        .lba(lba)
        .cdw(12, low32(blocks - 1))
}

/// Get Log Page of `bytes` bytes, at most a page, into the page at `address`; its events may come
/// again.
pub fn log_page(page: u8, bytes: u32, address: u64) -> Command {
    Command::new(GET_LOG_PAGE)
        .nsid(0xFFFF_FFFF)
        .prp(address, 0)
        .cdw(10, (bytes / 4 - 1) << 16 | u32::from(page))
}

/// Create I/O Completion Queue; with a `vector`, it interrupts.
pub fn create_cq(id: u16, entries: u32, address: u64, vector: Option<u16>) -> Command {
    let interrupts = vector.map_or(0, |vector| u32::from(vector) << 16 | 2);
    Command::new(CREATE_CQ)
        .prp(address, 0)
        .cdw(10, (entries - 1) << 16 | u32::from(id))
        .cdw(11, interrupts | 1)
}

/// Create I/O Submission Queue whose commands complete to the queue `cq`.
pub fn create_sq(id: u16, entries: u32, address: u64, cq: u16) -> Command {
    Command::new(CREATE_SQ)
        .prp(address, 0)
        .cdw(10, (entries - 1) << 16 | u32::from(id))
        .cdw(11, u32::from(cq) << 16 | 1)
}

/// The low half of `value`.
#[inline]
pub const fn low32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The low 16 bits of `value`.
#[inline]
pub const fn low16(value: u64) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// A completion queue entry.
#[derive(Clone, Copy)]
pub struct Completion {
    /// Dword 0.
    pub result: u32,
    /// Submission queue head.
    pub sq_head: u16,
    /// Submission queue.
    pub sq_id: u16,
    /// The command's identifier.
    pub cid: u16,
    /// Status code in bits 7:0, type in bits 10:8; no DNR, More or CRD.
    pub status: u16,
}

/// Status: it succeeded.
pub const SUCCESS: u16 = 0x000;
/// Status: Invalid Field in Command.
pub const INVALID_FIELD: u16 = 0x002;
/// Status: Data Transfer Error.
pub const DATA_TRANSFER_ERROR: u16 = 0x004;
/// Status: Command Aborted due to SQ Deletion.
pub const ABORTED_SQ_DELETION: u16 = 0x008;
/// Status: PRP Offset Invalid.
pub const PRP_OFFSET_INVALID: u16 = 0x013;
/// Status: LBA Out of Range.
pub const LBA_OUT_OF_RANGE: u16 = 0x080;
/// Status: Invalid Queue Identifier.
pub const INVALID_QUEUE_IDENTIFIER: u16 = 0x101;
/// Status: Invalid Queue Size.
pub const INVALID_QUEUE_SIZE: u16 = 0x102;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The submission queue entry (NVMe Base 2.0c, 3.3.3.1, figure 86).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A submission queue entry (SQE): 64 bytes, little endian.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SubmissionQueueEntry {
    /// Opcode (OPC), command dword 0 bits 7:0.
    pub opcode: u8,
    /// FUSE (bits 1:0) and PSDT (bits 7:6), command dword 0 bits 15:8.
    pub flags: u8,
    /// Command identifier (CID).
    pub cid: U16,
    /// Namespace identifier (NSID).
    pub nsid: U32,
    /// Command dword 2.
    pub cdw2: U32,
    /// Command dword 3.
    pub cdw3: U32,
    /// Metadata pointer (MPTR).
    pub mptr: U64,
    /// PRP entry 1, or the first half of SGL entry 1.
    pub prp1: U64,
    /// PRP entry 2, or the second half of SGL entry 1.
    pub prp2: U64,
    /// Command dword 10.
    pub cdw10: U32,
    /// Command dword 11.
    pub cdw11: U32,
    /// Command dword 12.
    pub cdw12: U32,
    /// Command dword 13.
    pub cdw13: U32,
    /// Command dword 14.
    pub cdw14: U32,
    /// Command dword 15.
    pub cdw15: U32,
}

const _: () = assert!(size_of::<SubmissionQueueEntry>() == 64);

/// FUSE: a normal operation.
pub const FUSE_NORMAL: u8 = 0b00;
/// PSDT: the data buffer is described by PRPs.
pub const PSDT_PRP: u8 = 0b00;

impl SubmissionQueueEntry {
    /// Fused operation (FUSE).
    pub const fn fuse(&self) -> u8 {
        self.flags & 0b11
    }

    /// PRP or SGL for Data Transfer (PSDT).
    pub const fn psdt(&self) -> u8 {
        self.flags >> 6
    }

    /// Starting LBA (SLBA, dwords 10 and 11) of commands that have one.
    pub const fn slba(&self) -> u64 {
        self.cdw10.get() as u64 | (self.cdw11.get() as u64) << 32
    }

    /// Number of logical blocks, from the 0's based NLB (dword 12 bits 15:0): 1 to 65536.
    pub const fn block_count(&self) -> u32 {
        (self.cdw12.get() & 0xFFFF) + 1
    }

    /// Force Unit Access (dword 12 bit 30).
    pub const fn fua(&self) -> bool {
        self.cdw12.get() & 1 << 30 != 0
    }
}

/// A range of Dataset Management (NVM Command Set 1.0c, figure 41).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DatasetRange {
    /// Context attributes, hints only.
    pub attributes: U32,
    /// Length in logical blocks.
    pub blocks: U32,
    /// First logical block.
    pub slba: U64,
}

const _: () = assert!(size_of::<DatasetRange>() == 16);

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

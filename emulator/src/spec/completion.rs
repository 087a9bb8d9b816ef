// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The completion queue entry (NVMe Base 2.0c, 3.3.3.2, figure 89).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A completion queue entry (CQE): 16 bytes, little endian.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CompletionQueueEntry {
    /// Command specific, dword 0.
    pub dw0: U32,
    /// Command specific, dword 1.
    pub dw1: U32,
    /// Submission queue head pointer (SQHD).
    pub sq_head: U16,
    /// Submission queue identifier (SQID).
    pub sq_id: U16,
    /// Command identifier (CID).
    pub cid: U16,
    /// Status field in bits 15:1, phase tag in bit 0.
    pub status_and_phase: U16,
}

const _: () = assert!(size_of::<CompletionQueueEntry>() == 16);

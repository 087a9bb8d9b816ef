// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A command's data buffer: the guest ranges that its PRPs name (NVMe Base 2.0c, 4.1.1).

use super::GuestRam;
use crate::spec::Status;

/// One contiguous piece of a data buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Guest physical address.
    pub address: u64,
    /// Length in bytes, never 0.
    pub length: u32,
}

/// A command's data buffer, resolved and checked. Kept by the caller and reused, so that the hot
/// path allocates nothing; adjacent pages are merged.
#[derive(Debug, Default)]
pub struct SegmentList {
    segments: Vec<Segment>,
}

impl SegmentList {
    /// A list that holds a transfer of `max_bytes` without growing.
    pub fn with_capacity(_max_bytes: usize) -> Self {
        unimplemented!()
    }

    /// Resolves `prp1` and `prp2` for a transfer of `length` bytes with memory pages of
    /// `page_size` bytes. Each list entry is read once; a transfer of 0 bytes gives no segment.
    ///
    /// # Errors
    /// The status that the command completes with: PRP Offset Invalid for a misaligned entry, Data
    /// Transfer Error for anything outside guest RAM. Nothing else has then happened.
    pub fn resolve_prp(
        &mut self,
        _ram: &GuestRam,
        _prp1: u64,
        _prp2: u64,
        _length: usize,
        _page_size: usize,
    ) -> Result<(), Status> {
        unimplemented!()
    }

    /// The pieces in order.
    pub fn as_slice(&self) -> &[Segment] {
        &self.segments
    }

    /// Total length in bytes.
    pub fn length(&self) -> usize {
        self.segments.iter().map(|s| s.length as usize).sum()
    }

    /// Copies `from` into the buffer, starting at its first byte. `from` may be shorter.
    pub fn write_to_guest(&self, _ram: &GuestRam, _from: &[u8]) {
        unimplemented!()
    }

    /// Copies the buffer's start into `into`, once.
    pub fn read_from_guest(&self, _ram: &GuestRam, _into: &mut [u8]) {
        unimplemented!()
    }
}

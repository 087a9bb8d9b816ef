// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A command's data buffer: the guest ranges that its PRPs name (NVMe Base 2.0c, 4.1.1).

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use vm_memory::VolatileSlice;

use super::GuestRam;
use crate::spec::Status;

/// Bytes of a PRP entry.
const ENTRY: u64 = 8;
/// The smallest memory page (CC.MPS = 0).
const SMALLEST_PAGE: usize = 4096;

/// The size of a memory page: a power of two, so that the walk needs no division.
#[derive(Clone, Copy)]
struct PageSize(u64);

impl PageSize {
    #[inline]
    fn offset_of(self, address: u64) -> u64 {
        address & (self.0 - 1)
    }

    #[inline]
    fn pages_for(self, bytes: u64) -> u64 {
        (bytes >> self.0.trailing_zeros()) + u64::from(self.offset_of(bytes) != 0)
    }
}

/// One contiguous piece of a data buffer. It lies in one region of guest RAM.
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
    /// A list that holds a transfer of `max_bytes` without growing (regions of guest RAM that meet
    /// within a memory page, which no front end has, would cost one segment more each).
    pub fn with_capacity(max_bytes: usize) -> Self {
        Self {
            segments: Vec::with_capacity(max_bytes.div_ceil(SMALLEST_PAGE) + 1),
        }
    }

    /// Resolves `prp1` and `prp2` for a transfer of `length` bytes with memory pages of
    /// `page_size` bytes, a power of two from 4096 on. Each list entry is read once; a transfer of
    /// 0 bytes gives no segment. What a transfer does not need (PRP2 of a short one) is not looked
    /// at.
    ///
    /// # Errors
    /// The status that the command completes with: PRP Offset Invalid for a misaligned entry, Data
    /// Transfer Error for a zero address and anything outside guest RAM. Nothing else has then
    /// happened, and the list is empty.
    #[inline]
    pub fn resolve_prp(
        &mut self,
        ram: &GuestRam,
        prp1: u64,
        prp2: u64,
        length: usize,
        page_size: usize,
    ) -> Result<(), Status> {
        debug_assert!(page_size.is_power_of_two() && page_size >= SMALLEST_PAGE);
        self.segments.clear();
        let result = self.walk(ram, prp1, prp2, length as u64, PageSize(page_size as u64));
        if result.is_err() {
            self.segments.clear();
        }
        result
    }

    /// The pieces in order.
    pub fn as_slice(&self) -> &[Segment] {
        &self.segments
    }

    /// The pieces in order, as the host sees them: each with its offset in the buffer, in bytes.
    ///
    /// `ram` is what the list was resolved with; from any other, pieces may be missing.
    pub fn slices<'a>(
        &'a self,
        ram: &'a GuestRam,
    ) -> impl Iterator<Item = (usize, VolatileSlice<'a>)> {
        let mut next = 0;
        self.segments.iter().filter_map(move |segment| {
            let offset = next;
            next += segment.length as usize;
            let slice = ram.slice(segment.address, segment.length as usize);
            debug_assert!(slice.is_ok(), "{segment:?} was resolved with other RAM");
            Some((offset, slice.ok()?))
        })
    }

    /// Total length in bytes.
    pub fn length(&self) -> usize {
        self.segments.iter().map(|s| s.length as usize).sum()
    }

    /// How many segments fit without growing.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.segments.capacity()
    }

    /// Copies `from` into the buffer, starting at its first byte. `from` may be shorter.
    pub fn write_to_guest(&self, ram: &GuestRam, from: &[u8]) {
        for (offset, slice) in self.slices(ram) {
            let Some(rest) = from.get(offset..) else {
                break;
            };
            slice.copy_from(rest);
        }
    }

    /// Copies the buffer's start into `into`, once.
    pub fn read_from_guest(&self, ram: &GuestRam, into: &mut [u8]) {
        for (offset, slice) in self.slices(ram) {
            let Some(rest) = into.get_mut(offset..) else {
                break;
            };
            slice.copy_to(rest);
        }
    }

    #[inline]
    fn walk(
        &mut self,
        ram: &GuestRam,
        prp1: u64,
        prp2: u64,
        length: u64,
        page: PageSize,
    ) -> Result<(), Status> {
        if length == 0 {
            return Ok(());
        }
        if !prp1.is_multiple_of(4) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let first = length.min(page.0 - page.offset_of(prp1));
        self.push(ram, prp1, first)?;
        match length - first {
            0 => Ok(()),
            rest if rest <= page.0 => self.push_page(ram, prp2, rest, page),
            rest => self.walk_list(ram, prp2, rest, page),
        }
    }

    /// Walks a PRP list for the `left` bytes after the first page. Every list page but the first
    /// holds at least one page of data for its chain pointer, so that a list which points to itself
    /// ends with the transfer.
    fn walk_list(
        &mut self,
        ram: &GuestRam,
        list: u64,
        mut left: u64,
        page: PageSize,
    ) -> Result<(), Status> {
        if !list.is_multiple_of(ENTRY) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let mut list = list;
        loop {
            let room = (page.0 - page.offset_of(list)) / ENTRY;
            let wanted = page.pages_for(left);
            let chained = wanted > room;
            let data_entries = if chained { room - 1 } else { wanted };
            for index in 0..data_entries {
                let entry = read_entry(ram, list, index)?;
                let length = left.min(page.0);
                self.push_page(ram, entry, length, page)?;
                left -= length;
            }
            if !chained {
                return Ok(());
            }
            list = read_entry(ram, list, data_entries)?;
            if page.offset_of(list) != 0 {
                return Err(Status::PRP_OFFSET_INVALID);
            }
        }
    }

    #[inline]
    fn push_page(
        &mut self,
        ram: &GuestRam,
        address: u64,
        length: u64,
        page: PageSize,
    ) -> Result<(), Status> {
        if page.offset_of(address) != 0 {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        self.push(ram, address, length)
    }

    /// Appends `[address, address + length)`, which is no more than a memory page.
    #[inline]
    fn push(&mut self, ram: &GuestRam, address: u64, length: u64) -> Result<(), Status> {
        // Not RAM on some machines and never a buffer on the others: a driver's null pointer.
        if address == 0 {
            return Err(Status::DATA_TRANSFER_ERROR);
        }
        let (mut address, mut left) = (address, length);
        while left > 0 {
            let reach = ram.reach(address).ok_or(Status::DATA_TRANSFER_ERROR)?;
            let piece = left.min(reach);
            self.append(ram, address, piece)?;
            left -= piece;
            address = address.wrapping_add(piece);
        }
        Ok(())
    }

    /// Appends a piece that lies in one region; merges it with the last one if together they do.
    #[inline]
    fn append(&mut self, ram: &GuestRam, address: u64, length: u64) -> Result<(), Status> {
        let length = u32::try_from(length).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
        if let Some(last) = self.segments.last_mut()
            && last.address.checked_add(u64::from(last.length)) == Some(address)
            && let Some(merged) = last.length.checked_add(length)
            && ram.host(last.address, u64::from(merged)).is_ok()
        {
            last.length = merged;
        } else {
            self.segments.push(Segment { address, length });
        }
        Ok(())
    }
}

/// Reads entry `index` of the list at `list`, a multiple of 8, once.
#[inline]
fn read_entry(ram: &GuestRam, list: u64, index: u64) -> Result<u64, Status> {
    let address = list
        .checked_add(index * ENTRY)
        .ok_or(Status::DATA_TRANSFER_ERROR)?;
    let host = ram
        .host(address, ENTRY)
        .map_err(|_| Status::DATA_TRANSFER_ERROR)?;
    let entry: NonNull<AtomicU64> = host.cast();
    if !entry.is_aligned() {
        // A region of guest RAM that does not begin on a multiple of 8: no front end makes one.
        return Err(Status::DATA_TRANSFER_ERROR);
    }
    // SAFETY: eight bytes of mapped guest RAM, aligned (checked above); the mapping outlives this
    // call because `ram` holds it, and an atomic may be changed by others meanwhile.
    Ok(u64::from_le(
        unsafe { entry.as_ref() }.load(Ordering::Relaxed),
    ))
}

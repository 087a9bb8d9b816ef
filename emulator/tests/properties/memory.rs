// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest RAM between pages that nobody may touch, and a mirror of it that tells what the device has
//! written.

use std::ptr::null_mut;

use emulator::dma::GuestRam;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

pub const PAGE: u64 = 4096;

/// Regions of guest RAM and their pages. The first two touch in the guest, not here; the last lies
/// where no 32-bit address reaches.
pub const REGIONS: [(u64, u64); 3] = [(0x200_0000, 64), (0x204_0000, 32), (0x7A_5A00_0000, 8)];

/// Room without access before and behind each region here.
const GUARD: usize = 1 << 20;

/// A region: where it is for the guest and here, and what it held when it was last looked at.
struct Region {
    start: u64,
    host: *mut u8,
    mirror: Vec<u8>,
}

/// Guest RAM. The device must be gone before it is dropped.
pub struct Memory {
    regions: Vec<Region>,
    pub ram: GuestRam,
}

/// A range of guest addresses, `[start, end)`.
pub type Range = (u64, u64);

impl Region {
    fn new(start: u64, length: usize) -> Self {
        let all = length + 2 * GUARD;
        // SAFETY: a new mapping of which nobody knows.
        let base =
            unsafe { mmap_anonymous(null_mut(), all, ProtFlags::empty(), MapFlags::PRIVATE) };
        let host = base.unwrap().cast::<u8>().wrapping_add(GUARD);
        // SAFETY: a part of the mapping just made.
        let opened = unsafe {
            mprotect(
                host.cast(),
                length,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        };
        opened.unwrap();
        Self {
            start,
            host,
            mirror: vec![0; length],
        }
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: the region's own memory. The device writes to it only within calls of it, on this
        // thread, and no slice is kept over one.
        unsafe { std::slice::from_raw_parts(self.host, self.mirror.len()) }
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.mirror[at..at + bytes.len()].copy_from_slice(bytes);
        // SAFETY: the line above has checked that the range is inside; see `as_slice`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.host.add(at), bytes.len()) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let all = self.mirror.len() + 2 * GUARD;
        // SAFETY: the mapping that `new` made; nothing refers to it any more (see `Memory`).
        let _ = unsafe { munmap(self.host.wrapping_sub(GUARD).cast(), all) };
    }
}

impl Memory {
    pub fn new() -> Self {
        let regions: Vec<Region> = REGIONS
            .iter()
            .map(|&(start, pages)| Region::new(start, usize::try_from(pages * PAGE).unwrap()))
            .collect();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let mapped = regions.iter().map(|region| {
            // SAFETY: mapped like this by `Region::new`, until the region is dropped.
            let raw = unsafe {
                MmapRegion::build_raw(region.host, region.mirror.len(), protection, flags)
            };
            GuestRegionMmap::new(raw.unwrap(), GuestAddress(region.start)).unwrap()
        });
        let memory = GuestMemoryMmap::from_regions(mapped.collect()).unwrap();
        Self {
            ram: GuestRam::new(memory),
            regions,
        }
    }

    /// Writes as the guest does. What is not RAM is left out.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        if let Some((region, at)) = self.find(address, bytes.len()) {
            self.regions[region].store(at, bytes);
        }
    }

    pub fn write32(&mut self, address: u64, value: u32) {
        self.write(address, &value.to_le_bytes());
    }

    /// What is at a range of one region, as of the last look.
    pub fn at(&self, address: u64, length: usize) -> Option<&[u8]> {
        let (region, at) = self.find(address, length)?;
        Some(&self.regions[region].mirror[at..at + length])
    }

    pub fn u32(&self, address: u64) -> Option<u32> {
        Some(u32::from_le_bytes(self.at(address, 4)?.try_into().unwrap()))
    }

    pub fn u64(&self, address: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.at(address, 8)?.try_into().unwrap()))
    }

    fn find(&self, address: u64, length: usize) -> Option<(usize, usize)> {
        self.regions.iter().enumerate().find_map(|(index, region)| {
            let at = usize::try_from(address.checked_sub(region.start)?).ok()?;
            let end = at.checked_add(length)?;
            (end <= region.mirror.len()).then_some((index, at))
        })
    }

    /// Looks at what the device has written since the last look. With `allowed` ranges it must be in
    /// those.
    pub fn look(&mut self, allowed: Option<&[Range]>) {
        let page = usize::try_from(PAGE).unwrap();
        for region in &mut self.regions {
            if region.as_slice() == &region.mirror[..] {
                continue;
            }
            for first in (0..region.mirror.len()).step_by(page) {
                // SAFETY: as in `as_slice`; the mirror, which is written below, is other memory.
                let now = unsafe { std::slice::from_raw_parts(region.host.add(first), page) };
                let before = &mut region.mirror[first..first + page];
                if now == before {
                    continue;
                }
                if let Some(allowed) = allowed {
                    check_page(region.start + first as u64, before, now, allowed);
                }
                before.copy_from_slice(now);
            }
        }
    }
}

/// Panics if a byte has changed that may not have.
fn check_page(address: u64, before: &[u8], now: &[u8], allowed: &[Range]) {
    let inside = |start: u64, end: u64| allowed.iter().any(|a| a.0 <= start && end <= a.1);
    if inside(address, address + PAGE) {
        return;
    }
    for (at, (before, now)) in (address..).zip(before.iter().zip(now)) {
        assert!(
            before == now || inside(at, at + 1),
            "the device has written to {at:#x}, which nobody named: {before:#x} became {now:#x}"
        );
    }
}

/// Whether two ranges have a byte in common.
pub fn overlap(one: Range, other: Range) -> bool {
    one.0 < other.1 && other.0 < one.1
}

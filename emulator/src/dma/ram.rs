// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest RAM as the device sees it.

use std::ptr::NonNull;
use std::sync::Arc;

use vm_memory::mmap::FromRangesError;
use vm_memory::{
    GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileSlice,
};

/// An access that is not wholly inside guest RAM, or not aligned as its use demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("guest physical range {address:#x}+{length:#x} is not in guest RAM")]
pub struct OutOfRange {
    /// First byte of the range.
    pub address: u64,
    /// Length in bytes.
    pub length: u64,
}

/// One contiguous region of guest RAM and where the host has it mapped.
#[derive(Clone, Copy)]
struct Window {
    start: u64,
    length: u64,
    host: NonNull<u8>,
}

impl Window {
    const EMPTY: Self = Self {
        start: 0,
        length: 0,
        host: NonNull::dangling(),
    };

    /// How far into the window `address` lies.
    #[inline]
    fn offset_of(&self, address: u64) -> Option<u64> {
        let offset = address.wrapping_sub(self.start);
        (offset < self.length).then_some(offset)
    }

    /// Where `[address, address + length)` is mapped, when all of it lies in this window.
    #[inline]
    fn host(&self, address: u64, length: u64) -> Option<NonNull<u8>> {
        let offset = self.offset_of(address)?;
        if length > self.length - offset {
            return None;
        }
        // The window is mapped, so its length and every offset into it fit usize.
        let offset = usize::try_from(offset).ok()?;
        // SAFETY: `offset` is below the window's length, and the window is one live mapping of that
        // length (see `Mapping`).
        Some(unsafe { self.host.add(offset) })
    }
}

/// The mapping that every handle and ring keeps alive.
///
/// Invariant: each window describes a region of `memory`, which stays mapped, readable and writable
/// at that place for as long as this value lives.
struct Mapping {
    windows: Vec<Window>,
    /// Owns what the windows point to.
    _memory: GuestMemoryMmap,
}

// SAFETY: the pointers are to shared memory that `_memory` owns; they are dereferenced only through
// volatile or atomic accesses, which any thread may make.
unsafe impl Send for Mapping {}
// SAFETY: as above; a `Mapping` is never changed after it was made.
unsafe impl Sync for Mapping {}

/// The guest's RAM: a cheap handle; the mapping lives as long as any handle or ring.
///
/// Nearly every access goes to the largest region (with UML there is no other), so that one is kept
/// in the handle itself and the others are searched only when it does not match.
#[derive(Clone)]
pub struct GuestRam {
    main: Window,
    mapping: Arc<Mapping>,
}

// SAFETY: `main` is a copy of one of `mapping`'s windows; see there.
unsafe impl Send for GuestRam {}
// SAFETY: as above.
unsafe impl Sync for GuestRam {}

/// Keeps guest RAM mapped while somebody holds a pointer into it.
#[derive(Clone)]
pub(super) struct KeepMapped {
    _mapping: Arc<Mapping>,
}

impl GuestRam {
    /// Wraps an existing mapping of guest RAM, which must be readable and writable.
    pub fn new(memory: GuestMemoryMmap) -> Self {
        let mut windows: Vec<Window> = memory
            .iter()
            .filter_map(|region| {
                Some(Window {
                    start: region.start_addr().0,
                    length: region.len(),
                    host: NonNull::new(region.as_ptr())?,
                })
            })
            .collect();
        windows.sort_by_key(|window| std::cmp::Reverse(window.length));
        Self {
            main: windows.first().copied().unwrap_or(Window::EMPTY),
            mapping: Arc::new(Mapping {
                windows,
                _memory: memory,
            }),
        }
    }

    /// Anonymous RAM with the given `(start, bytes)` ranges, ascending: for tests and benchmarks.
    ///
    /// # Errors
    /// When the ranges overlap or the host has no memory for them.
    pub fn anonymous(ranges: &[(u64, usize)]) -> Result<Self, FromRangesError> {
        let ranges: Vec<_> = ranges
            .iter()
            .map(|&(start, bytes)| (GuestAddress(start), bytes))
            .collect();
        GuestMemoryMmap::from_ranges(&ranges).map(Self::new)
    }

    /// Whether all of `[address, address + length)` is RAM; regions that touch count as one.
    pub fn contains(&self, address: u64, length: u64) -> bool {
        let (mut address, mut left) = (address, length);
        while left > 0 {
            let Some(step) = self.reach(address).map(|reach| reach.min(left)) else {
                return false;
            };
            left -= step;
            // Only the last byte of the address space wraps, and then nothing is left.
            address = address.wrapping_add(step);
            if left > 0 && address == 0 {
                return false;
            }
        }
        true
    }

    /// The host's view of a range that lies in one region.
    ///
    /// # Errors
    /// [`OutOfRange`] when it does not.
    #[inline]
    pub fn slice(&self, address: u64, length: usize) -> Result<VolatileSlice<'_>, OutOfRange> {
        let host = self.host(address, length as u64)?;
        // SAFETY: `host` checked that `length` bytes from there are in one window, which stays
        // mapped while `self` holds the mapping. Everybody else accesses it through `GuestRam`, the
        // rings or from outside the process, never through Rust references.
        Ok(unsafe { VolatileSlice::new(host.as_ptr(), length) })
    }

    /// Copies guest memory out, once.
    ///
    /// # Errors
    /// [`OutOfRange`]; `into` is then unspecified.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), OutOfRange> {
        let length = into.len() as u64;
        if let Ok(slice) = self.slice(address, into.len()) {
            slice.copy_to(into);
            return Ok(());
        }
        let mut left = into;
        let mut at = address;
        while !left.is_empty() {
            let slice = self
                .slice_up_to(at, left.len())
                .ok_or(OutOfRange { address, length })?;
            let done = slice.copy_to(left);
            left = &mut left[done..];
            at = at.wrapping_add(done as u64);
        }
        Ok(())
    }

    /// Copies into guest memory.
    ///
    /// # Errors
    /// [`OutOfRange`]; nothing has then been written.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), OutOfRange> {
        let length = from.len() as u64;
        if let Ok(slice) = self.slice(address, from.len()) {
            slice.copy_from(from);
            return Ok(());
        }
        if !self.contains(address, length) {
            return Err(OutOfRange { address, length });
        }
        let mut left = from;
        let mut at = address;
        while let Some(slice) = self.slice_up_to(at, left.len()) {
            slice.copy_from(left);
            left = &left[slice.len()..];
            at = at.wrapping_add(slice.len() as u64);
        }
        Ok(())
    }

    /// How many bytes of RAM follow from `address` on in its region, 0 never.
    #[inline]
    pub(super) fn reach(&self, address: u64) -> Option<u64> {
        let window = self.window(address)?;
        Some(window.length - window.offset_of(address)?)
    }

    /// Where a range that lies in one region is mapped.
    #[inline]
    pub(super) fn host(&self, address: u64, length: u64) -> Result<NonNull<u8>, OutOfRange> {
        self.main
            .host(address, length)
            .or_else(|| self.host_elsewhere(address, length))
            .ok_or(OutOfRange { address, length })
    }

    /// As [`GuestRam::host`], with what keeps the pointer valid.
    pub(super) fn pin(
        &self,
        address: u64,
        length: u64,
    ) -> Result<(NonNull<u8>, KeepMapped), OutOfRange> {
        let host = self.host(address, length)?;
        let keep = KeepMapped {
            _mapping: Arc::clone(&self.mapping),
        };
        Ok((host, keep))
    }

    #[inline]
    fn window(&self, address: u64) -> Option<&Window> {
        if self.main.offset_of(address).is_some() {
            return Some(&self.main);
        }
        self.mapping
            .windows
            .iter()
            .find(|window| window.offset_of(address).is_some())
    }

    #[cold]
    fn host_elsewhere(&self, address: u64, length: u64) -> Option<NonNull<u8>> {
        self.window(address)?.host(address, length)
    }

    /// As much of `[address, address + most)` as its region holds; `None` outside RAM or for
    /// `most` = 0.
    fn slice_up_to(&self, address: u64, most: usize) -> Option<VolatileSlice<'_>> {
        let reach = usize::try_from(self.reach(address)?).unwrap_or(usize::MAX);
        match most.min(reach) {
            0 => None,
            length => self.slice(address, length).ok(),
        }
    }
}

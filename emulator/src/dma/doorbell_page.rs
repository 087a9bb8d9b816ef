// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The doorbell registers as plain memory: a page of ours that a front end lays into the guest's
//! address space, so that ringing is a store that nobody but the poller notices.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use vm_memory::MmapRegion;
use vm_memory::mmap::MmapRegionError;

/// One 4 KiB page of shared memory with a 32-bit slot for each doorbell, in the order of the
/// doorbell registers (stride 4 bytes: SQ 0 tail, CQ 0 head, SQ 1 tail, ...).
///
/// Guest and device access it at the same time: what is read is the guest's and not checked.
pub struct DoorbellPage {
    /// Invariant: aligned to a page; [`DoorbellPage::SLOTS`] words from it on are `_region`'s.
    first: NonNull<AtomicU32>,
    _region: MmapRegion,
}

// SAFETY: the slots are shared memory that `_region` owns; they are accessed only as atomics.
unsafe impl Send for DoorbellPage {}
// SAFETY: as above.
unsafe impl Sync for DoorbellPage {}

impl DoorbellPage {
    /// Size in bytes: that of a page of every guest that this is laid into.
    pub const BYTES: usize = 4096;
    /// Slots: as many as there can be doorbells of 512 queue identifiers.
    pub const SLOTS: u32 = 1024;
    /// Slots that share a cache line.
    pub const LINE_SLOTS: u32 = 16;
    /// Cache lines.
    pub const LINES: u32 = Self::SLOTS / Self::LINE_SLOTS;

    /// A page of zeros. It is shared memory, so that it stays one and the same page for all whom it
    /// is mapped to, whatever becomes of the process's private memory.
    ///
    /// # Errors
    /// When the host has no memory for it.
    pub fn new() -> io::Result<Self> {
        let region = MmapRegion::build(
            None,
            Self::BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        )
        .map_err(|error| match error {
            MmapRegionError::Mmap(error) => error,
            other => io::Error::other(other),
        })?;
        let first = NonNull::new(region.as_ptr().cast::<AtomicU32>())
            .ok_or_else(|| io::Error::other("a mapping at address 0"))?;
        Ok(Self {
            first,
            _region: region,
        })
    }

    /// Where the page lies in this process, aligned to a page: for a KVM memory slot. It stays
    /// there for as long as the value lives, so whoever hands it to a guest keeps the `Arc`.
    pub fn host_address(&self) -> u64 {
        self.first.as_ptr().expose_provenance() as u64
    }

    /// What the guest last wrote to `slot`, with acquire order: entries that it wrote before are
    /// visible.
    ///
    /// # Panics
    /// As all of these, when `slot` is not below [`DoorbellPage::SLOTS`].
    #[inline]
    pub fn doorbell(&self, slot: u32) -> u32 {
        u32::from_le(self.at(slot).load(Ordering::Acquire))
    }

    /// Writes `slot`: a doorbell write that trapped, or the start of a queue.
    #[inline]
    pub fn set_doorbell(&self, slot: u32, value: u32) {
        self.at(slot).store(value.to_le(), Ordering::Release);
    }

    /// Writes 0 to every slot.
    pub fn clear(&self) {
        for slot in 0..Self::SLOTS {
            self.set_doorbell(slot, 0);
        }
    }

    /// Whether every slot of a cache line is 0. Orders nothing.
    ///
    /// # Panics
    /// When `line` is not below [`DoorbellPage::LINES`].
    #[inline]
    pub fn line_is_clear(&self, line: u32) -> bool {
        let first = line * Self::LINE_SLOTS;
        let slots = first..first + Self::LINE_SLOTS;
        slots.fold(0, |any, slot| any | self.at(slot).load(Ordering::Relaxed)) == 0
    }

    #[inline]
    fn at(&self, slot: u32) -> &AtomicU32 {
        assert!(slot < Self::SLOTS, "doorbell slot {slot} out of range");
        // SAFETY: `slot` is below the count of words that the invariant promises, and shared memory
        // may be changed by others while a reference to an atomic exists.
        unsafe { self.first.add(slot as usize).as_ref() }
    }
}

const _: () = assert!(DoorbellPage::SLOTS as usize * size_of::<u32>() == DoorbellPage::BYTES);

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that others read and write too: the device, the host, other vCPUs. Every access is
//! volatile; nothing here is ever a Rust reference to plain data.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::layout::{
    ARENA, HOST_WORDS, HostWords, LATENCIES_STRIDE, PARAMETERS, Parameters, WINDOWS_STRIDE,
    latencies, windows,
};

/// Bytes of a memory page.
pub const PAGE: u64 = 4096;

/// A piece of shared memory, aligned to 8 bytes.
///
/// Invariant: it is mapped RAM outside the program and its stacks.
#[derive(Clone, Copy)]
pub struct Region {
    start: u64,
    bytes: u64,
}

impl Region {
    /// A vCPU's latency histogram.
    pub fn latencies(vcpu: u64) -> Self {
        Self {
            start: latencies(vcpu),
            bytes: LATENCIES_STRIDE,
        }
    }

    /// A vCPU's windows.
    pub fn windows(vcpu: u64) -> Self {
        Self {
            start: windows(vcpu),
            bytes: WINDOWS_STRIDE,
        }
    }

    /// Guest physical address of its first byte.
    pub const fn address(self) -> u64 {
        self.start
    }

    /// A part of it.
    pub fn part(self, offset: u64, bytes: u64) -> Self {
        assert!(offset + bytes <= self.bytes, "outside the region");
        Self {
            start: self.start + offset,
            bytes,
        }
    }

    #[inline]
    fn pointer<T>(self, offset: u64) -> *mut T {
        let bytes = size_of::<T>() as u64;
        assert!(offset + bytes <= self.bytes, "access outside the region");
        core::ptr::with_exposed_provenance_mut((self.start + offset) as usize)
    }

    /// Reads 4 bytes; `offset` is a multiple of 4.
    #[inline]
    pub fn load32(self, offset: u64) -> u32 {
        // SAFETY: mapped RAM, by the invariant.
        unsafe { self.pointer::<u32>(offset).read_volatile() }
    }

    /// Writes 4 bytes; `offset` is a multiple of 4.
    #[inline]
    pub fn store32(self, offset: u64, value: u32) {
        // SAFETY: mapped RAM that holds no Rust value, by the invariant.
        unsafe { self.pointer::<u32>(offset).write_volatile(value) };
    }

    /// Reads 8 bytes; `offset` is a multiple of 8.
    #[inline]
    pub fn load64(self, offset: u64) -> u64 {
        // SAFETY: mapped RAM, by the invariant.
        unsafe { self.pointer::<u64>(offset).read_volatile() }
    }

    /// Writes 8 bytes; `offset` is a multiple of 8.
    #[inline]
    pub fn store64(self, offset: u64, value: u64) {
        // SAFETY: mapped RAM that holds no Rust value, by the invariant.
        unsafe { self.pointer::<u64>(offset).write_volatile(value) };
    }

    /// A word that others change at any time.
    #[inline]
    pub fn atomic32(self, offset: u64) -> &'static AtomicU32 {
        // SAFETY: mapped RAM for good, aligned, accessed as an atomic.
        unsafe { AtomicU32::from_ptr(self.pointer(offset)) }
    }

    /// Writes one word to all of it. Its length is a multiple of 8.
    pub fn fill(self, word: u64) {
        for at in (0..self.bytes).step_by(8) {
            self.store64(at, word);
        }
    }

    /// Where it differs from what [`Region::fill`] wrote: offset and word.
    pub fn differs(self, word: u64) -> Option<(u64, u64)> {
        (0..self.bytes).step_by(8).find_map(|at| {
            let seen = self.load64(at);
            (seen != word).then_some((at, seen))
        })
    }
}

/// Gives out the driver's memory, from the arena's start to the end of RAM. Nothing is taken back.
pub struct Arena {
    next: u64,
    end: u64,
}

impl Arena {
    /// All of it. There is one arena in the program.
    pub fn new(parameters: &Parameters) -> Self {
        Self {
            next: ARENA,
            end: parameters.ram_bytes,
        }
    }

    /// `count` pages in a row, zeroed.
    pub fn pages(&mut self, count: u64) -> Region {
        let bytes = count * PAGE;
        assert!(
            bytes <= self.end.saturating_sub(self.next),
            "out of memory: the guest needs more RAM"
        );
        let region = Region {
            start: self.next,
            bytes,
        };
        self.next += bytes;
        region.fill(0);
        region
    }

    /// At least `bytes`, rounded up to pages, zeroed.
    pub fn bytes(&mut self, bytes: u64) -> Region {
        self.pages(bytes.div_ceil(PAGE))
    }

    /// Gives away `bytes`, rounded down to pages, to be used by another vCPU.
    pub fn split(&mut self, bytes: u64) -> Self {
        let start = self.next;
        self.next = self.end.min(start + bytes / PAGE * PAGE);
        Self {
            next: start,
            end: self.next,
        }
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

/// The parameter page.
pub fn parameters() -> Parameters {
    let from = core::ptr::with_exposed_provenance::<Parameters>(PARAMETERS as usize);
    // SAFETY: the host filled the page before the guest started; any bits are valid.
    unsafe { from.read_volatile() }
}

fn host_word(offset: usize) -> &'static AtomicU64 {
    let address = HOST_WORDS as usize + offset;
    // SAFETY: a mapped, aligned word that the host changes atomically.
    unsafe { AtomicU64::from_ptr(core::ptr::with_exposed_provenance_mut(address)) }
}

/// The phase that the host has last taken note of.
pub fn acknowledged() -> u64 {
    host_word(core::mem::offset_of!(HostWords, acknowledged)).load(Ordering::Acquire)
}

/// Whether the host wants an end.
pub fn told_to_stop() -> bool {
    host_word(core::mem::offset_of!(HostWords, stop)).load(Ordering::Acquire) != 0
}

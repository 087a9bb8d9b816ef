// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Split virtqueues (virtio 1.2, 2.7), without indirect descriptors and event indices, which are
//! never offered.
//!
//! Each descriptor is copied out once and then judged. A chain is served before the next one is
//! taken, so at most one is in flight.

use std::sync::atomic::{Ordering, fence};

use vm_memory::Bytes;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::dma::{GuestRam, OutOfRange};

/// The most descriptors of a chain that we take: virtio-pcidev never uses more than three.
const MAX_CHAIN: usize = 4;
/// The largest queue (virtio 1.2, 2.7.1).
const MAX_SIZE: u16 = 1 << 15;

const DESCRIPTOR_NEXT: u16 = 1 << 0;
const DESCRIPTOR_WRITE: u16 = 1 << 1;
const DESCRIPTOR_INDIRECT: u16 = 1 << 2;
const AVAILABLE_NO_INTERRUPT: u16 = 1 << 0;
const USED_NO_NOTIFY: u16 = 1 << 0;

/// Offsets in the available and the used ring.
const RING_FLAGS: u64 = 0;
const RING_INDEX: u64 = 2;
const RING_ENTRIES: u64 = 4;
const USED_ENTRY: u64 = 8;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Descriptor {
    address: U64,
    length: U32,
    flags: U16,
    next: U16,
}

/// What a guest has broken. The queue is then of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VringError {
    /// The size is no power of two, or too large.
    #[error("a queue of {0} entries is not possible")]
    Size(u32),
    /// A part of the queue is not in guest RAM, or not aligned.
    #[error("the queue is not in guest RAM: {0}")]
    Placement(#[from] OutOfRange),
    /// More entries are available than the queue has.
    #[error("the available index {available} is more than a queue's length from {next}")]
    AvailableIndex {
        /// The guest's index.
        available: u16,
        /// The entry that comes next.
        next: u16,
    },
    /// A descriptor's number is beyond the table.
    #[error("descriptor {0} does not exist")]
    DescriptorIndex(u16),
    /// A descriptor uses what was not offered, or a device-readable one follows a writable one.
    #[error("descriptor {index} has the flags {flags:#x}, which are not possible there")]
    DescriptorFlags {
        /// Its number.
        index: u16,
        /// Its flags.
        flags: u16,
    },
    /// A chain that is too long, or a loop.
    #[error("a chain of more than {MAX_CHAIN} descriptors begins at {0}")]
    ChainTooLong(u16),
    /// The device needs a larger buffer.
    #[error("a chain offers {offered} bytes where {needed} are needed")]
    BufferTooShort {
        /// What there is.
        offered: usize,
        /// What there should be.
        needed: usize,
    },
}

/// Where a queue is, in guest physical addresses.
#[derive(Clone, Copy, Debug)]
pub struct VringLayout {
    /// Entries, a power of two.
    pub size: u32,
    /// Descriptor table.
    pub descriptors: u64,
    /// Available ring.
    pub available: u64,
    /// Used ring.
    pub used: u64,
    /// The entry of the available ring that comes first.
    pub next: u16,
}

/// A queue in guest memory, from the device's side.
pub struct Vring {
    ram: GuestRam,
    size: u16,
    descriptors: u64,
    available: u64,
    used: u64,
    next_available: u16,
    next_used: u16,
}

/// A buffer of a chain.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    address: u64,
    length: usize,
}

/// A chain of buffers, in guest RAM as far as their addresses were checked when it was taken.
#[derive(Debug)]
pub struct Chain {
    head: u16,
    buffers: [Buffer; MAX_CHAIN],
    readable: usize,
    count: usize,
}

impl Vring {
    /// Takes a queue over. Completions go on where the used ring stands.
    ///
    /// # Errors
    /// [`VringError::Size`], [`VringError::Placement`].
    pub fn new(ram: &GuestRam, layout: &VringLayout) -> Result<Self, VringError> {
        let size = u16::try_from(layout.size)
            .ok()
            .filter(|size| size.is_power_of_two() && *size <= MAX_SIZE)
            .ok_or(VringError::Size(layout.size))?;
        let entries = usize::from(size);
        for (address, length, alignment) in [
            (layout.descriptors, entries * size_of::<Descriptor>(), 16),
            (layout.available, 4 + entries * 2, 2),
            (layout.used, 4 + entries * 8, 4),
        ] {
            ram.slice(address, length)?;
            if address % alignment != 0 {
                let length = length as u64;
                return Err(OutOfRange { address, length }.into());
            }
        }
        let mut vring = Self {
            ram: ram.clone(),
            size,
            descriptors: layout.descriptors,
            available: layout.available,
            used: layout.used,
            next_available: layout.next,
            next_used: 0,
        };
        vring.next_used = vring.load(vring.used + RING_INDEX)?;
        Ok(vring)
    }

    /// Takes the next chain, if there is one.
    ///
    /// # Errors
    /// See [`VringError`].
    pub fn take(&mut self) -> Result<Option<Chain>, VringError> {
        let available = self.available_index()?;
        let waiting = available.wrapping_sub(self.next_available);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.size {
            return Err(VringError::AvailableIndex {
                available,
                next: self.next_available,
            });
        }
        let slot = u64::from(self.next_available % self.size);
        let head = self.load(self.available + RING_ENTRIES + 2 * slot)?;
        let chain = self.follow(head)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Whether a chain waits.
    ///
    /// # Errors
    /// [`VringError::Placement`].
    pub fn has_work(&self) -> Result<bool, VringError> {
        Ok(self.available_index()? != self.next_available)
    }

    /// Gives a chain back, of which the device has written `written` bytes.
    ///
    /// # Errors
    /// [`VringError::Placement`].
    pub fn give_back(&mut self, chain: &Chain, written: usize) -> Result<(), VringError> {
        let slot = u64::from(self.next_used % self.size);
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        let entry = [U32::from(u32::from(chain.head)), U32::from(written)];
        self.ram.write(
            self.used + RING_ENTRIES + USED_ENTRY * slot,
            entry.as_bytes(),
        )?;
        self.next_used = self.next_used.wrapping_add(1);
        self.store(self.used + RING_INDEX, self.next_used, Ordering::Release)
    }

    /// Says whether the driver should notify the device of new chains. After asking for it, look
    /// once more: a chain that came before may go unnotified.
    ///
    /// # Errors
    /// [`VringError::Placement`].
    pub fn set_notifications(&self, wanted: bool) -> Result<(), VringError> {
        let flags = if wanted { 0 } else { USED_NO_NOTIFY };
        self.store(self.used + RING_FLAGS, flags, Ordering::Relaxed)?;
        if wanted {
            // The driver makes a chain available and then reads the flags; we set the flags and
            // then read the available index. One of the two sees the other.
            fence(Ordering::SeqCst);
        }
        Ok(())
    }

    /// Whether the driver wants to know about completions.
    ///
    /// # Errors
    /// [`VringError::Placement`].
    pub fn wants_call(&self) -> Result<bool, VringError> {
        // Pairs with the driver, which sets the flags and then reads the used index.
        fence(Ordering::SeqCst);
        Ok(self.load(self.available + RING_FLAGS)? & AVAILABLE_NO_INTERRUPT == 0)
    }

    /// The entry of the available ring that comes next.
    pub fn next_available(&self) -> u16 {
        self.next_available
    }

    /// Copies the device-readable part of a chain, up to the length of `into`. Returns how much
    /// there was to copy.
    ///
    /// # Errors
    /// [`VringError::Placement`].
    pub fn read(&self, chain: &Chain, into: &mut [u8]) -> Result<usize, VringError> {
        let mut done = 0;
        for buffer in &chain.buffers[..chain.readable] {
            let length = buffer.length.min(into.len() - done);
            self.ram
                .read(buffer.address, &mut into[done..done + length])?;
            done += length;
        }
        Ok(done)
    }

    /// Copies into the device-writable part of a chain.
    ///
    /// # Errors
    /// [`VringError::BufferTooShort`] when it does not fit; [`VringError::Placement`].
    pub fn write(&self, chain: &Chain, from: &[u8]) -> Result<(), VringError> {
        let writable = &chain.buffers[chain.readable..chain.count];
        let offered = writable.iter().map(|buffer| buffer.length).sum();
        if offered < from.len() {
            return Err(VringError::BufferTooShort {
                offered,
                needed: from.len(),
            });
        }
        let mut left = from;
        for buffer in writable {
            let (now, later) = left.split_at(buffer.length.min(left.len()));
            self.ram.write(buffer.address, now)?;
            left = later;
        }
        Ok(())
    }

    fn follow(&self, head: u16) -> Result<Chain, VringError> {
        let mut chain = Chain {
            head,
            buffers: [Buffer {
                address: 0,
                length: 0,
            }; MAX_CHAIN],
            readable: 0,
            count: 0,
        };
        let mut index = head;
        loop {
            if chain.count == MAX_CHAIN {
                return Err(VringError::ChainTooLong(head));
            }
            let descriptor = self.descriptor(index)?;
            let flags = descriptor.flags.get();
            let writable = flags & DESCRIPTOR_WRITE != 0;
            if flags & DESCRIPTOR_INDIRECT != 0 || (!writable && chain.readable < chain.count) {
                return Err(VringError::DescriptorFlags { index, flags });
            }
            let buffer = Buffer {
                address: descriptor.address.get(),
                length: usize::try_from(descriptor.length.get()).unwrap_or(usize::MAX),
            };
            if !self.ram.contains(buffer.address, buffer.length as u64) {
                let length = buffer.length as u64;
                let address = buffer.address;
                return Err(OutOfRange { address, length }.into());
            }
            chain.buffers[chain.count] = buffer;
            chain.count += 1;
            chain.readable += usize::from(!writable);
            if flags & DESCRIPTOR_NEXT == 0 {
                return Ok(chain);
            }
            index = descriptor.next.get();
        }
    }

    fn descriptor(&self, index: u16) -> Result<Descriptor, VringError> {
        if index >= self.size {
            return Err(VringError::DescriptorIndex(index));
        }
        let mut bytes = [0; size_of::<Descriptor>()];
        let offset = u64::from(index) * size_of::<Descriptor>() as u64;
        self.ram.read(self.descriptors + offset, &mut bytes)?;
        Ok(zerocopy::transmute!(bytes))
    }

    fn available_index(&self) -> Result<u16, VringError> {
        self.load(self.available + RING_INDEX)
    }

    fn load(&self, address: u64) -> Result<u16, VringError> {
        let slice = self.ram.slice(address, size_of::<u16>())?;
        let value: u16 = atomic(address, slice.load(0, Ordering::Acquire))?;
        Ok(u16::from_le(value))
    }

    fn store(&self, address: u64, value: u16, order: Ordering) -> Result<(), VringError> {
        let slice = self.ram.slice(address, size_of::<u16>())?;
        atomic(address, slice.store(value.to_le(), 0, order))
    }
}

impl Chain {
    /// Length of the device-writable part.
    pub fn writable(&self) -> usize {
        self.buffers[self.readable..self.count]
            .iter()
            .map(|buffer| buffer.length)
            .sum()
    }
}

/// The one way in which an atomic access can fail: a misaligned address.
fn atomic<T>(address: u64, result: vm_memory::VolatileMemoryResult<T>) -> Result<T, VringError> {
    result.map_err(|_| {
        let length = size_of::<u16>() as u64;
        OutOfRange { address, length }.into()
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest RAM as the device sees it.

use std::sync::Arc;

use vm_memory::{GuestAddress, GuestMemoryMmap, VolatileSlice};

/// An access that is not wholly inside guest RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("guest physical range {address:#x}+{length:#x} is not in guest RAM")]
pub struct OutOfRange {
    /// First byte of the range.
    pub address: u64,
    /// Length in bytes.
    pub length: u64,
}

/// The guest's RAM: a cheap handle; the mapping lives as long as any handle or ring.
#[derive(Clone)]
pub struct GuestRam {
    memory: Arc<GuestMemoryMmap>,
}

impl GuestRam {
    /// Wraps an existing mapping of guest RAM.
    pub fn new(memory: GuestMemoryMmap) -> Self {
        Self {
            memory: Arc::new(memory),
        }
    }

    /// Anonymous RAM with the given `(start, bytes)` ranges: for tests and benchmarks.
    ///
    /// # Errors
    /// When the ranges overlap or the host has no memory for them.
    pub fn anonymous(_ranges: &[(u64, usize)]) -> Result<Self, vm_memory::mmap::FromRangesError> {
        let _ = &GuestAddress(0);
        unimplemented!()
    }

    /// Whether all of `[address, address + length)` is RAM.
    pub fn contains(&self, _address: u64, _length: u64) -> bool {
        let _ = &self.memory;
        unimplemented!()
    }

    /// The host's view of a range that lies in one region.
    ///
    /// # Errors
    /// [`OutOfRange`] when it does not.
    pub fn slice(&self, _address: u64, _length: usize) -> Result<VolatileSlice<'_>, OutOfRange> {
        unimplemented!()
    }

    /// Copies guest memory out, once.
    ///
    /// # Errors
    /// [`OutOfRange`]; `into` is then unspecified.
    pub fn read(&self, _address: u64, _into: &mut [u8]) -> Result<(), OutOfRange> {
        unimplemented!()
    }

    /// Copies into guest memory.
    ///
    /// # Errors
    /// [`OutOfRange`]; nothing has then been written.
    pub fn write(&self, _address: u64, _from: &[u8]) -> Result<(), OutOfRange> {
        unimplemented!()
    }
}

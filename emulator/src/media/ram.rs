// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of this process: sparse, in huge pages, gone with the process. No system call but to give
//! space back.

use std::io;
use std::sync::Arc;

use vm_memory::VolatileSlice;

use super::{FlushStart, FlushTicket, Media, MediaError, PowerCut};
use crate::dma::{AnonymousMemory, fill_zero, prefetch};

/// From this many bytes on, zeroes are written by giving the memory back: cheaper than filling it,
/// and a system call does not count any more.
const DISCARD_FROM: usize = 1 << 20;

/// How many bytes are fetched ahead: the first lines of a transfer, from which the processor sees
/// by itself where it goes on.
const PREFETCH: usize = 1024;

/// Data in memory.
pub(super) struct RamMedia {
    memory: Arc<AnonymousMemory>,
    size: u64,
}

impl RamMedia {
    pub(super) fn new(size: u64) -> io::Result<Self> {
        let bytes = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let memory = Arc::new(AnonymousMemory::new(bytes)?);
        Ok(Self { memory, size })
    }

    #[inline]
    fn slice(&self, offset: u64, length: usize) -> Option<VolatileSlice<'_>> {
        self.memory.slice(usize::try_from(offset).ok()?, length)
    }
}

/// An access that the caller should have refused; no guest can cause it.
fn beyond_end() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the medium")
}

impl Media for RamMedia {
    fn size(&self) -> u64 {
        self.size
    }

    fn another(&self) -> Option<Box<dyn Media>> {
        Some(Box::new(Self {
            memory: Arc::clone(&self.memory),
            size: self.size,
        }))
    }

    fn read(&mut self, offset: u64, into: &VolatileSlice<'_>) -> Result<(), MediaError> {
        let data = self
            .slice(offset, into.len())
            .ok_or_else(|| MediaError::Read(beyond_end()))?;
        data.copy_to_volatile_slice(*into);
        Ok(())
    }

    #[inline]
    fn prefetch(&self, offset: u64, length: usize) {
        if let Some(data) = self.slice(offset, length.min(PREFETCH)) {
            prefetch(&data);
        }
    }

    fn write(&mut self, offset: u64, from: &VolatileSlice<'_>) -> Result<(), MediaError> {
        let data = self
            .slice(offset, from.len())
            .ok_or_else(|| MediaError::Write(beyond_end()))?;
        from.copy_to_volatile_slice(data);
        Ok(())
    }

    fn write_zeroes(
        &mut self,
        offset: u64,
        length: u64,
        deallocate: bool,
    ) -> Result<(), MediaError> {
        let beyond = || MediaError::Write(beyond_end());
        let length = usize::try_from(length).map_err(|_| beyond())?;
        let data = self.slice(offset, length).ok_or_else(beyond)?;
        if deallocate || length >= DISCARD_FROM {
            let offset = usize::try_from(offset).map_err(|_| beyond())?;
            self.memory.discard(offset, length);
        } else {
            fill_zero(&data);
        }
        Ok(())
    }

    fn start_flush(&mut self, _ticket: FlushTicket) -> Result<FlushStart, MediaError> {
        Ok(FlushStart::Done)
    }

    fn poll_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)> {
        None
    }

    fn set_volatile_cache(&mut self, _on: bool) {}

    fn power_cut(&mut self, _seed: u64) -> PowerCut {
        PowerCut::default()
    }
}

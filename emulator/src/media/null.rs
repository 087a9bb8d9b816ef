// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nothing: for measurements of everything but the medium.

use vm_memory::VolatileSlice;

use super::{FlushStart, FlushTicket, Media, MediaError, PowerCut};
use crate::dma::fill_zero;

/// Drops what is written.
pub(super) struct NullMedia {
    size: u64,
    zero_fill: bool,
}

impl NullMedia {
    pub(super) fn new(size: u64, zero_fill: bool) -> Self {
        Self { size, zero_fill }
    }
}

impl Media for NullMedia {
    fn size(&self) -> u64 {
        self.size
    }

    fn another(&self) -> Option<Box<dyn Media>> {
        Some(Box::new(Self { ..*self }))
    }

    fn read(&mut self, _offset: u64, into: &VolatileSlice<'_>) -> Result<(), MediaError> {
        if self.zero_fill {
            fill_zero(into);
        }
        Ok(())
    }

    fn write(&mut self, _offset: u64, _from: &VolatileSlice<'_>) -> Result<(), MediaError> {
        Ok(())
    }

    fn write_zeroes(
        &mut self,
        _offset: u64,
        _length: u64,
        _deallocate: bool,
    ) -> Result<(), MediaError> {
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

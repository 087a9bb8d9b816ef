// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What holds the data: `ram`, `file`, `null`; volatile write cache and power cut.
//!
//! [`open`] makes a medium from its configuration. With a volatile write cache, writes stay in the
//! process until a flush (or until the cache is full and gives up its oldest), so that a killed
//! process or a modelled power cut loses what a real device would lose.

use vm_memory::VolatileSlice;

mod cache;
mod config;
mod file;
mod flusher;
mod null;
mod overlay;
mod ram;

#[cfg(test)]
mod tests;

pub use config::{Backing, MediaConfig, OpenError, open};

/// What the host could not do; the controller turns it into an NVMe status.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The host has no room for the data: Capacity Exceeded.
    #[error("no space left for the data")]
    NoSpace,
    /// Reading failed: Unrecovered Read Error.
    #[error("read failed: {0}")]
    Read(#[source] std::io::Error),
    /// Writing failed: Write Fault.
    #[error("write failed: {0}")]
    Write(#[source] std::io::Error),
}

/// How a flush ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushStart {
    /// Everything written so far is already stable.
    Done,
    /// It goes on elsewhere; [`Media::poll_flush`] gives its ticket back when it has ended.
    Pending,
}

/// Names one flush that is under way; chosen by the caller.
pub type FlushTicket = u64;

/// What a power cut did to the volatile write cache, in atomic write units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerCut {
    /// Units that had reached the medium.
    pub kept: u64,
    /// Units that were lost with the whole write command that they belong to.
    pub lost: u64,
    /// Units that were lost although others of the same write command were kept.
    pub torn: u64,
}

/// A namespace's data. Offsets and lengths are in bytes; the caller has checked them against
/// [`Media::size`]. Nothing here blocks, but for the page cache of `file`.
pub trait Media: Send {
    /// Size in bytes, fixed.
    fn size(&self) -> u64;

    /// Another handle on the same data, to be used on another thread at the same time. `None`: one
    /// thread has it to itself, because it keeps track of what was written.
    fn another(&self) -> Option<Box<dyn Media>> {
        None
    }

    /// Copies data at `offset` into `into`.
    ///
    /// # Errors
    /// [`MediaError::Read`].
    fn read(&mut self, offset: u64, into: &VolatileSlice<'_>) -> Result<(), MediaError>;

    /// Data at `offset` will be read soon: a medium in memory may fetch it into the cache while
    /// something else is going on. Only a hint, which costs nearly nothing; ranges beyond the end
    /// are ignored.
    fn prefetch(&self, _offset: u64, _length: usize) {}

    /// Copies `from` to `offset`. It may stay in the volatile write cache until a flush, when the
    /// medium has one and it is on.
    ///
    /// # Errors
    /// [`MediaError::Write`], [`MediaError::NoSpace`].
    fn write(&mut self, offset: u64, from: &VolatileSlice<'_>) -> Result<(), MediaError>;

    /// Makes a range read as zeros; gives its space back when `deallocate` is set.
    ///
    /// # Errors
    /// As [`Media::write`].
    fn write_zeroes(
        &mut self,
        offset: u64,
        length: u64,
        deallocate: bool,
    ) -> Result<(), MediaError>;

    /// Begins to make stable what was written before (Flush, FUA).
    ///
    /// # Errors
    /// [`MediaError::Write`] when it cannot even begin.
    fn start_flush(&mut self, ticket: FlushTicket) -> Result<FlushStart, MediaError>;

    /// The next flush that has ended, if any. Called only while one is pending.
    fn poll_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)>;

    /// Turns the volatile write cache on or off (feature 06h); off writes back what it holds at
    /// the next flush and lets later writes through. No effect on a medium without one.
    fn set_volatile_cache(&mut self, on: bool);

    /// Cuts the power: flushes under way are forgotten, and each write that no flush made stable is
    /// kept, lost, or torn at the boundary of an atomic write unit, as `seed` decides. Waits for
    /// the host if it must.
    fn power_cut(&mut self, seed: u64) -> PowerCut;
}

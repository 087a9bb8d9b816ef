// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's memory as its table describes it.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};

use vm_memory::mmap::FromRangesError;
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionCollection, GuestRegionMmap,
};

use super::lost_memory::MemoryWatch;
use super::message::MemoryRegion;
use crate::dma::GuestRam;

/// A memory table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The host refuses to map a region, or it wraps.
    #[error(
        "region {guest_address:#x}+{size:#x} at file offset {file_offset:#x} cannot be mapped: {source}"
    )]
    Region {
        /// Guest physical address.
        guest_address: u64,
        /// Length in bytes.
        size: u64,
        /// Where in its file it begins.
        file_offset: u64,
        /// What is wrong.
        source: FromRangesError,
    },
    /// A region is not within a regular file: touching the rest would kill us.
    #[error(
        "region {guest_address:#x}+{size:#x} at file offset {file_offset:#x} is not in its file of {file_size:#x} bytes"
    )]
    NotInFile {
        /// Guest physical address.
        guest_address: u64,
        /// Length in bytes.
        size: u64,
        /// Where in its file it begins.
        file_offset: u64,
        /// Length of the file in bytes; 0 if it is none.
        file_size: u64,
    },
    /// Regions overlap.
    #[error("the regions overlap: {0}")]
    Overlap(vm_memory::GuestRegionCollectionError),
    /// The host cannot watch it.
    #[error("it cannot be watched: {0}")]
    Watch(std::io::Error),
}

/// Guest RAM, and how the other side's own addresses translate.
pub struct MemoryTable {
    // Before the mapping itself in the order of dropping.
    watch: MemoryWatch,
    ram: GuestRam,
    regions: Vec<MemoryRegion>,
}

impl MemoryTable {
    /// Maps every region of a table.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub fn map(mut table: Vec<(MemoryRegion, OwnedFd)>) -> Result<Self, MemoryError> {
        table.sort_by_key(|(region, _)| region.guest_address.get());
        let regions = table.iter().map(|(region, _)| *region).collect();
        let mapped = table
            .into_iter()
            .map(|(region, fd)| map_region(&region, fd))
            .collect::<Result<Vec<_>, _>>()?;
        let watch = MemoryWatch::new(&mapped).map_err(MemoryError::Watch)?;
        let memory: GuestMemoryMmap =
            GuestRegionCollection::from_regions(mapped).map_err(MemoryError::Overlap)?;
        Ok(Self {
            watch,
            ram: GuestRam::new(memory),
            regions,
        })
    }

    /// Becomes readable when a part of the memory is gone.
    pub fn lost_notifier(&self) -> BorrowedFd<'_> {
        self.watch.notifier()
    }

    /// Guest RAM.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// The guest physical address of the other side's address `user`, if it is in the table.
    pub fn guest_address(&self, user: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let offset = user.checked_sub(region.user_address.get())?;
            if offset < region.size.get() {
                region.guest_address.get().checked_add(offset)
            } else {
                None
            }
        })
    }
}

fn map_region(region: &MemoryRegion, fd: OwnedFd) -> Result<GuestRegionMmap, MemoryError> {
    let guest_address = region.guest_address.get();
    let size = region.size.get();
    let file_offset = region.file_offset.get();
    let file = File::from(fd);
    let file_size = file
        .metadata()
        .ok()
        .filter(|metadata| metadata.is_file())
        .map_or(0, |metadata| metadata.len());
    let fits = file_offset
        .checked_add(size)
        .is_some_and(|end| end <= file_size);
    let length = usize::try_from(size)
        .ok()
        .filter(|&length| fits && length > 0)
        .ok_or(MemoryError::NotInFile {
            guest_address,
            size,
            file_offset,
            file_size,
        })?;
    GuestRegionMmap::from_range(
        GuestAddress(guest_address),
        length,
        Some(FileOffset::new(file, file_offset)),
    )
    .map_err(|source| MemoryError::Region {
        guest_address,
        size,
        file_offset,
        source,
    })
}

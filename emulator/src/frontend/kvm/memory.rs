// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest RAM: one mapping for each range that the guest sees as RAM.

use std::io;

use rustix::mm::{Advice, madvise};
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{
    GuestAddress, GuestMemoryMmap, GuestRegionCollection, GuestRegionMmap, MmapRegion,
};

/// From here to 4 GiB there is no RAM: PCI windows, APICs, the reset vector.
pub const GAP_START: u64 = 3 << 30;
/// Where the RAM that does not fit below the gap goes on.
pub const GAP_END: u64 = 4 << 30;

/// What a huge page holds on x86-64.
const HUGE_PAGE: u64 = 2 << 20;

/// What guest RAM is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// Huge pages where the host has them to give, without asking for any to be set aside.
    #[default]
    Transparent,
    /// Pages of 2 MiB that the administrator has set aside (`vm.nr_hugepages`), or none at all.
    Reserved,
    /// Small pages.
    Off,
}

/// How much RAM, and of what kind.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// Bytes, a multiple of 2 MiB.
    pub bytes: u64,
    /// Pages.
    pub huge_pages: HugePages,
}

/// RAM that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Not a multiple of 2 MiB, or nothing.
    #[error("{bytes} bytes of guest memory are not possible: it must be a multiple of 2 MiB")]
    Size {
        /// What was asked for.
        bytes: u64,
    },
    /// The host has no room.
    #[error("the host gives no {bytes} bytes of guest memory: {source}")]
    Map {
        /// What was asked for.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// No huge pages are set aside.
    #[error(
        "the host has not set aside {bytes} bytes of huge pages: {source}; set vm.nr_hugepages, or \
         choose transparent huge pages"
    )]
    NoHugePages {
        /// What was asked for.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// The ranges cannot be put together.
    #[error("guest memory: {0}")]
    Regions(String),
}

impl MemoryError {
    /// Whether the user has asked for something that cannot be.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Size { .. })
    }
}

/// The guest physical ranges of `bytes` of RAM: up to the gap below 4 GiB, the rest above it.
pub fn ranges(bytes: u64) -> Vec<(u64, u64)> {
    let low = bytes.min(GAP_START);
    let mut ranges = vec![(0, low)];
    if bytes > low {
        ranges.push((GAP_END, bytes - low));
    }
    ranges
}

/// Maps the RAM.
pub fn map(options: MemoryOptions) -> Result<GuestMemoryMmap, MemoryError> {
    let bytes = options.bytes;
    if bytes == 0 || !bytes.is_multiple_of(HUGE_PAGE) {
        return Err(MemoryError::Size { bytes });
    }
    let regions = ranges(bytes)
        .into_iter()
        .map(|(start, length)| {
            let mapping = map_range(length, options.huge_pages)?;
            GuestRegionMmap::new(mapping, GuestAddress(start))
                .ok_or_else(|| MemoryError::Regions("a region passes the address space".into()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    GuestRegionCollection::from_regions(regions)
        .map_err(|error| MemoryError::Regions(error.to_string()))
}

fn map_range(length: u64, huge_pages: HugePages) -> Result<MmapRegion, MemoryError> {
    let failed = |source| match huge_pages {
        HugePages::Reserved => MemoryError::NoHugePages {
            bytes: length,
            source,
        },
        HugePages::Transparent | HugePages::Off => MemoryError::Map {
            bytes: length,
            source,
        },
    };
    let size = usize::try_from(length).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    let kind = match huge_pages {
        HugePages::Reserved => libc::MAP_HUGETLB,
        HugePages::Transparent | HugePages::Off => libc::MAP_NORESERVE,
    };
    let region = MmapRegionBuilder::new(size)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | kind)
        .build()
        .map_err(|error| failed(into_io(error)))?;
    if huge_pages == HugePages::Transparent {
        // SAFETY: the range is this mapping; the advice changes no contents.
        let advised = unsafe { madvise(region.as_ptr().cast(), size, Advice::LinuxHugepage) };
        if let Err(error) = advised {
            log::debug!("no huge pages for {size} bytes: {error}");
        }
    }
    Ok(region)
}

fn into_io(error: MmapRegionError) -> io::Error {
    match error {
        MmapRegionError::Mmap(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_large_memory_leaves_the_gap() {
        assert_eq!(ranges(1 << 30), [(0, 1 << 30)]);
        assert_eq!(ranges(GAP_START), [(0, GAP_START)]);
        assert_eq!(
            ranges(GAP_START + HUGE_PAGE),
            [(0, GAP_START), (GAP_END, HUGE_PAGE)]
        );
    }

    #[test]
    fn map_odd_size_is_refused() {
        let options = MemoryOptions {
            bytes: 4096,
            huge_pages: HugePages::Off,
        };
        assert!(matches!(map(options), Err(MemoryError::Size { .. })));
    }
}

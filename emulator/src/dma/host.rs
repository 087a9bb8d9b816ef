// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's side of a transfer: anonymous memory, and files read into or written from memory that
//! somebody else may be changing. For the media; nothing here knows about guests.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::mm::{Advice, madvise};
use vm_memory::mmap::MmapRegionError;
use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};

/// Private memory that takes space only where it was written, in huge pages where the host has
/// them. Reads as zeros at first.
pub struct AnonymousMemory {
    region: MmapRegion,
}

impl AnonymousMemory {
    /// Maps `size` bytes, more than 0.
    ///
    /// # Errors
    /// When the address space has no room for them.
    pub fn new(size: usize) -> io::Result<Self> {
        let region = MmapRegion::new(size).map_err(|error| match error {
            MmapRegionError::Mmap(error) => error,
            other => io::Error::other(other),
        })?;
        // SAFETY: the range is this mapping; the advice changes no contents.
        let advised = unsafe { madvise(region.as_ptr().cast(), size, Advice::LinuxHugepage) };
        if let Err(error) = advised {
            log::debug!("no huge pages for {size} bytes: {error}");
        }
        Ok(Self { region })
    }

    /// The bytes `[offset, offset + length)`, or `None` beyond the end.
    #[inline]
    pub fn slice(&self, offset: usize, length: usize) -> Option<VolatileSlice<'_>> {
        self.region.get_slice(offset, length).ok()
    }

    /// Makes a range read as zeros and gives its whole pages back to the host. What lies beyond the
    /// end is ignored.
    pub fn discard(&self, offset: usize, length: usize) {
        let page = page_size();
        let end = offset.saturating_add(length).min(self.region.size());
        let first_page = offset.next_multiple_of(page).min(end);
        let pages_end = (end - end % page).max(first_page);
        for (from, to) in [(offset, first_page), (pages_end, end)] {
            if let Some(edge) = self.slice(from, to.saturating_sub(from)) {
                fill_zero(&edge);
            }
        }
        let Some(pages) = self.slice(first_page, pages_end - first_page) else {
            return;
        };
        if pages.is_empty() {
            return;
        }
        let start = pages.ptr_guard_mut().as_ptr();
        // SAFETY: whole pages of this private anonymous mapping, which nobody holds references into
        // (only volatile slices); afterwards they read as zeros.
        let given_back = unsafe { madvise(start.cast(), pages.len(), Advice::LinuxDontNeed) };
        if given_back.is_err() {
            fill_zero(&pages);
        }
    }
}

fn page_size() -> usize {
    // SAFETY: sysconf only looks a number up.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Asks the processor to fetch the slice's lines, because they will be read soon. Only a hint.
#[inline]
pub fn prefetch(slice: &VolatileSlice<'_>) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        const LINE: usize = 64;
        let guard = slice.ptr_guard();
        for line in (0..slice.len()).step_by(LINE) {
            // SAFETY: a prefetch never faults, and the address is within the slice anyhow.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(guard.as_ptr().add(line).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

/// Sets every byte to 0.
#[inline]
pub fn fill_zero(slice: &VolatileSlice<'_>) {
    let guard = slice.ptr_guard_mut();
    // SAFETY: the slice promises that its bytes are mapped and writable, and that all its users
    // expect them to change.
    unsafe { std::ptr::write_bytes(guard.as_ptr(), 0, slice.len()) };
}

/// Reads `into.len()` bytes of `file` at `offset`, without a copy in between.
///
/// # Errors
/// What the host says; [`io::ErrorKind::UnexpectedEof`] when the file is too short.
pub fn read_at(file: &File, offset: u64, into: &VolatileSlice<'_>) -> io::Result<()> {
    let guard = into.ptr_guard_mut();
    transfer(offset, into.len(), |at, done, left| {
        // SAFETY: `done + left` is the slice's length, whose bytes are mapped and writable; the
        // kernel writes at most `left` bytes there.
        unsafe {
            let buffer = guard.as_ptr().add(done);
            libc::pread(file.as_raw_fd(), buffer.cast(), left, at)
        }
    })
    .map_err(|error| match error.kind() {
        io::ErrorKind::WriteZero => io::ErrorKind::UnexpectedEof.into(),
        _ => error,
    })
}

/// Writes `from` to `file` at `offset`, without a copy in between.
///
/// # Errors
/// What the host says.
pub fn write_at(file: &File, offset: u64, from: &VolatileSlice<'_>) -> io::Result<()> {
    let guard = from.ptr_guard();
    transfer(offset, from.len(), |at, done, left| {
        // SAFETY: `done + left` is the slice's length, whose bytes are mapped; the kernel reads at
        // most `left` bytes there.
        unsafe {
            let buffer = guard.as_ptr().add(done);
            libc::pwrite(file.as_raw_fd(), buffer.cast(), left, at)
        }
    })
}

/// Calls `step(file offset, bytes done, bytes left)` until `length` bytes are done. A step that
/// does nothing ends it with [`io::ErrorKind::WriteZero`].
fn transfer(
    offset: u64,
    length: usize,
    mut step: impl FnMut(libc::off_t, usize, usize) -> isize,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let at = offset
            .checked_add(done as u64)
            .and_then(|at| libc::off_t::try_from(at).ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        match usize::try_from(step(at, done, length - done)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => done += bytes,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A regular file, which survives the process.
//!
//! A write goes to the host's page cache: from there on a killed emulator loses nothing. A flush
//! takes it to the disk, so that a host that loses power loses nothing either. The file is locked
//! while it is open, and its space is reserved beforehand unless it is to be sparse.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::{Errno, retry_on_intr};
use vm_memory::VolatileSlice;

use super::flusher::{Flush, Flusher};
use super::{FlushStart, FlushTicket, Media, MediaError, OpenError, PowerCut};
use crate::dma::{AnonymousMemory, read_at, write_at};

/// How much is written at once where the file system can neither zero nor punch.
const ZERO_CHUNK: usize = 1 << 20;

/// Data in a file.
pub(super) struct FileMedia {
    file: Arc<File>,
    size: u64,
    sparse: bool,
    flusher: Flusher,
    /// Counts changes of the file, from 1: what an earlier process left may not be stable either.
    written: u64,
    /// How many of them are known to be stable.
    stable: u64,
}

impl FileMedia {
    pub(super) fn open(path: &Path, size: u64, sparse: bool) -> Result<Self, OpenError> {
        let unusable = |source: io::Error| OpenError::File {
            path: path.to_owned(),
            source,
        };
        let opened = File::options().read(true).write(true).open(path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Missing {
                path: path.to_owned(),
                size,
            },
            io::ErrorKind::IsADirectory => OpenError::NotAFile(path.to_owned()),
            _ => unusable(error),
        })?;
        let metadata = file.metadata().map_err(unusable)?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile(path.to_owned()));
        }
        // Locked before it is judged: a file in use is in use, whatever its size is just now.
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => OpenError::InUse(path.to_owned()),
            _ => unusable(errno.into()),
        })?;
        let found = file.metadata().map_err(unusable)?.len();
        if found != size {
            return Err(OpenError::WrongSize {
                path: path.to_owned(),
                found,
                size,
            });
        }
        if !sparse {
            reserve(&file, 0, size).map_err(|errno| match errno {
                Errno::NOSPC | Errno::DQUOT | Errno::FBIG => OpenError::NoRoom {
                    path: path.to_owned(),
                    size,
                },
                _ => OpenError::CannotReserve {
                    path: path.to_owned(),
                    source: errno.into(),
                },
            })?;
        }
        let file = Arc::new(file);
        let flusher = Flusher::spawn(Arc::clone(&file)).map_err(unusable)?;
        Ok(Self {
            file,
            size,
            sparse,
            flusher,
            written: 1,
            stable: 0,
        })
    }

    /// Zeroes a range; space that was reserved stays so, unless the file is sparse and the guest
    /// does not want it.
    fn zero(&self, offset: u64, length: u64, give_back: bool) -> Result<(), Errno> {
        let keep_size = FallocateFlags::KEEP_SIZE;
        let punch = FallocateFlags::PUNCH_HOLE | keep_size;
        let zero = FallocateFlags::ZERO_RANGE | keep_size;
        let ways: &[FallocateFlags] = if give_back {
            &[punch, zero]
        } else {
            &[zero, punch]
        };
        for &way in ways {
            match retry_on_intr(|| fallocate(&*self.file, way, offset, length)) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Ok(()) if way == punch && !self.sparse => {
                    return reserve(&self.file, offset, length);
                }
                ended => return ended,
            }
        }
        self.write_zeros_out(offset, length)
    }

    /// For file systems that can do nothing else.
    fn write_zeros_out(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let errno = |error: &io::Error| Errno::from_io_error(error).unwrap_or(Errno::IO);
        let zeros = AnonymousMemory::new(ZERO_CHUNK).map_err(|error| errno(&error))?;
        let mut done = 0;
        while done < length {
            let step = (length - done).min(ZERO_CHUNK as u64);
            let chunk = usize::try_from(step)
                .ok()
                .and_then(|step| zeros.slice(0, step));
            let chunk = chunk.ok_or(Errno::INVAL)?;
            write_at(&self.file, offset + done, &chunk).map_err(|error| errno(&error))?;
            done += step;
        }
        Ok(())
    }
}

/// Reserves space for a range without changing what it reads as.
fn reserve(file: &File, offset: u64, length: u64) -> Result<(), Errno> {
    retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, offset, length))
}

/// What a guest is told about a write that failed.
fn write_error(error: io::Error) -> MediaError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            MediaError::NoSpace
        }
        _ => MediaError::Write(error),
    }
}

impl Media for FileMedia {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, offset: u64, into: &VolatileSlice<'_>) -> Result<(), MediaError> {
        read_at(&self.file, offset, into).map_err(MediaError::Read)
    }

    fn write(&mut self, offset: u64, from: &VolatileSlice<'_>) -> Result<(), MediaError> {
        self.written += 1;
        write_at(&self.file, offset, from).map_err(write_error)
    }

    fn write_zeroes(
        &mut self,
        offset: u64,
        length: u64,
        deallocate: bool,
    ) -> Result<(), MediaError> {
        if length == 0 {
            return Ok(());
        }
        self.written += 1;
        self.zero(offset, length, deallocate && self.sparse)
            .map_err(|errno| write_error(errno.into()))
    }

    fn start_flush(&mut self, ticket: FlushTicket) -> Result<FlushStart, MediaError> {
        if self.stable == self.written {
            return Ok(FlushStart::Done);
        }
        let written = self.written;
        self.flusher
            .start(Flush { ticket, written })
            .map_err(MediaError::Write)?;
        Ok(FlushStart::Pending)
    }

    fn poll_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)> {
        let (flush, result) = self.flusher.poll()?;
        if result.is_ok() {
            self.stable = self.stable.max(flush.written);
        }
        Some((flush.ticket, result.map_err(write_error)))
    }

    fn set_volatile_cache(&mut self, _on: bool) {}

    fn power_cut(&mut self, _seed: u64) -> PowerCut {
        // The device's power, not the host's: the page cache stays.
        self.flusher.forget();
        PowerCut::default()
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a configuration to a medium, with errors that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::Media;
use super::cache::Cached;
use super::file::FileMedia;
use super::null::NullMedia;
use super::ram::RamMedia;

/// Smallest atomic write unit, in bytes: the smallest LBA.
const SMALLEST_UNIT: u32 = 512;
/// Largest atomic write unit, in bytes.
const LARGEST_UNIT: u32 = 64 * 1024;

/// What a namespace's data is kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Memory of this process, gone with it.
    Ram,
    /// A regular file that exists and has the namespace's size.
    File {
        /// Where it is.
        path: PathBuf,
        /// Leave holes in it: a write may then find the disk full.
        sparse: bool,
    },
    /// Nothing: writes are dropped.
    Null {
        /// Reads give zeros. Without, a read leaves the guest's buffer as it is: for measurements
        /// of everything but the copy.
        zero_fill: bool,
    },
}

/// A medium to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// What holds the data.
    pub backing: Backing,
    /// Size in bytes, more than 0.
    pub size: u64,
    /// Whether there is a volatile write cache; it is then on at first. `null` never has one.
    pub volatile_cache: bool,
    /// How many bytes, aligned to themselves, a power cut writes wholly or not at all: a power of
    /// two from 512 to 65536.
    pub atomic_unit: u32,
}

impl MediaConfig {
    /// `size` bytes of `backing`, without a volatile write cache and with atomic write units of
    /// 4096 bytes.
    pub fn new(backing: Backing, size: u64) -> Self {
        Self {
            backing,
            size,
            volatile_cache: false,
            atomic_unit: 4096,
        }
    }
}

/// Why a medium cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A namespace of nothing.
    #[error("a namespace of 0 bytes: `size` must be more than 0")]
    Empty,
    /// An atomic write unit that is none.
    #[error(
        "an atomic write unit of {0} bytes: it must be a power of two from {SMALLEST_UNIT} to \
         {LARGEST_UNIT}"
    )]
    AtomicUnit(u32),
    /// The address space is too small.
    #[error(
        "cannot map {size} bytes of memory for the namespace: {source}; choose a smaller `size`"
    )]
    Memory {
        /// What was asked for.
        size: u64,
        /// What the host said.
        source: io::Error,
    },
    /// No such file.
    #[error(
        "{path} does not exist; make it with: truncate -s {argument} {word}",
        path = .path.display(),
        argument = size_argument(*.size),
        word = shell_word(.path)
    )]
    Missing {
        /// What was asked for.
        path: PathBuf,
        /// The namespace's size in bytes.
        size: u64,
    },
    /// A file of another size.
    #[error(
        "{path} has {found} bytes, but the namespace's `size` is {size} bytes; change `size`, or \
         make the file fit{loss} with: truncate -s {argument} {word}",
        path = .path.display(),
        loss = if found > size { " (what is beyond is lost)" } else { "" },
        argument = size_argument(*.size),
        word = shell_word(.path)
    )]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The namespace's size in bytes.
        size: u64,
    },
    /// A directory, a device, a pipe.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Two emulators on one file would ruin it.
    #[error("{} is in use by another emulator; stop that one or give this one a file of its own", .0.display())]
    InUse(PathBuf),
    /// The space cannot be reserved because there is too little.
    #[error(
        "the file system of {path} has no room for all {size} bytes of it; make room, or set \
         `sparse = true` and risk that a write fails later",
        path = .path.display()
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The namespace's size in bytes.
        size: u64,
    },
    /// The space cannot be reserved on this file system.
    #[error(
        "the file system of {path} cannot reserve space ({source}); set `sparse = true` or use \
         another file system",
        path = .path.display()
    )]
    CannotReserve {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// Everything else that can go wrong with a file.
    #[error("cannot use {path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
}

/// Makes the medium that `config` describes.
///
/// # Errors
/// [`OpenError`]; nothing is then left behind.
pub fn open(config: &MediaConfig) -> Result<Box<dyn Media>, OpenError> {
    let &MediaConfig {
        size, atomic_unit, ..
    } = config;
    if size == 0 {
        return Err(OpenError::Empty);
    }
    if !atomic_unit.is_power_of_two() || !(SMALLEST_UNIT..=LARGEST_UNIT).contains(&atomic_unit) {
        return Err(OpenError::AtomicUnit(atomic_unit));
    }
    match &config.backing {
        Backing::Ram => {
            let media = RamMedia::new(size).map_err(|source| OpenError::Memory { size, source })?;
            with_cache(media, config)
        }
        Backing::File { path, sparse } => with_cache(FileMedia::open(path, size, *sparse)?, config),
        Backing::Null { zero_fill } => Ok(Box::new(NullMedia::new(size, *zero_fill))),
    }
}

fn with_cache<M: Media + 'static>(
    media: M,
    config: &MediaConfig,
) -> Result<Box<dyn Media>, OpenError> {
    if !config.volatile_cache {
        return Ok(Box::new(media));
    }
    let size = config.size;
    let cached = Cached::new(media, config.atomic_unit as usize)
        .map_err(|source| OpenError::Memory { size, source })?;
    Ok(Box::new(cached))
}

/// `bytes` as truncate(1) takes it.
fn size_argument(bytes: u64) -> String {
    [(30, 'G'), (20, 'M'), (10, 'K')]
        .into_iter()
        .find(|&(shift, _)| bytes != 0 && bytes.trailing_zeros() >= shift)
        .map_or_else(
            || bytes.to_string(),
            |(shift, suffix)| format!("{}{suffix}", bytes >> shift),
        )
}

/// `path` as a shell takes it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A run's own directory: the device's socket, the guest's channel, the command list, and
//! User-Mode Linux's memory file.
//!
//! It lies on a tmpfs that allows executable mappings, because User-Mode Linux maps the guest's
//! memory from it. `hipri` holds a lock on it; a directory whose lock is free belongs to a process
//! that was killed, and the next run removes it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{FlockOperation, StatVfsMountFlags, flock, statfs, statvfs};

use crate::exit::Failure;

const PREFIX: &str = "hipri-run-";
const LOCK: &str = "lock";
/// A directory is given its lock at once; after this time without one it never will be.
const BIRTH_LIMIT: Duration = Duration::from_secs(60);
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The directory of one run; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes a directory with room for `bytes` of guest memory.
    ///
    /// # Errors
    /// Exit 3, when no tmpfs of this host will do.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        Self::new_in(&candidates(), bytes)
    }

    fn new_in(candidates: &[PathBuf], bytes: u64) -> anyhow::Result<Self> {
        let base = choose(candidates, bytes)?;
        sweep_stale(&base);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&base)
            .with_context(|| format!("making a run directory in {}", base.display()))?;
        // It gets its name when it is held: a lock that is seen and free has lost its holder.
        let unnamed = directory.path().join("lock.new");
        let lock = File::create(&unnamed).context("making the run's lock")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("locking the run")?;
        std::fs::rename(&unnamed, directory.path().join(LOCK)).context("naming the run's lock")?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// Where a run directory may be: what the user says, or the usual places.
fn candidates() -> Vec<PathBuf> {
    if let Some(chosen) = std::env::var_os("HIPRI_TMPDIR") {
        return vec![chosen.into()];
    }
    let mut places = vec![PathBuf::from("/dev/shm")];
    for name in ["XDG_RUNTIME_DIR", "TMPDIR"] {
        places.extend(std::env::var_os(name).map(PathBuf::from));
    }
    places.push("/tmp".into());
    places
}

fn choose(candidates: &[PathBuf], bytes: u64) -> anyhow::Result<PathBuf> {
    let mut refusals = Vec::new();
    for place in candidates {
        match room(place) {
            Ok(free) if free >= bytes => return Ok(place.clone()),
            Ok(free) => refusals.push(format!("{} has {} MiB free", place.display(), free >> 20)),
            Err(why) => refusals.push(format!("{} {why}", place.display())),
        }
    }
    Err(Failure::infrastructure(format!(
        "the guest's memory needs {} MiB on a tmpfs without noexec ({}): make room, give a smaller --mem, or name a directory in HIPRI_TMPDIR",
        bytes >> 20,
        refusals.join(", ")
    ))
    .into())
}

/// Free bytes of a usable tmpfs, or why it cannot be used.
fn room(place: &Path) -> Result<u64, String> {
    let fs = statfs(place).map_err(|error| format!("cannot be used: {error}"))?;
    if u64::try_from(fs.f_type).ok() != Some(TMPFS_MAGIC) {
        return Err("is no tmpfs".into());
    }
    let vfs = statvfs(place).map_err(|error| format!("cannot be used: {error}"))?;
    if vfs.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err("is mounted noexec".into());
    }
    Ok(vfs.f_bavail.saturating_mul(vfs.f_frsize))
}

/// Bytes free where a run directory would be made, and that place: for `hipri probe`.
pub fn available() -> Option<(PathBuf, u64)> {
    candidates()
        .into_iter()
        .find_map(|place| room(&place).ok().map(|free| (place, free)))
}

/// Removes the directories of runs whose process was killed. Best effort: a directory that cannot
/// be removed is somebody else's.
fn sweep_stale(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        if is_stale(&entry.path()) {
            log::info!(
                "removing {} of a run that was killed",
                entry.path().display()
            );
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                log::debug!("{}: {error}", entry.path().display());
            }
        }
    }
}

fn is_stale(directory: &Path) -> bool {
    match File::open(directory.join(LOCK)) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockShared).is_ok(),
        // Its owner is just making it, or died in that instant.
        Err(_) => age(directory).is_some_and(|age| age > BIRTH_LIMIT),
    }
}

fn age(directory: &Path) -> Option<Duration> {
    directory.metadata().ok()?.modified().ok()?.elapsed().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choose_without_room_names_place_and_way_out() {
        let error = choose(&["/dev/shm".into()], u64::MAX)
            .unwrap_err()
            .to_string();
        assert!(error.contains("/dev/shm"), "{error}");
        assert!(error.contains("--mem"), "{error}");
    }

    #[test]
    fn choose_directory_that_is_no_tmpfs_is_refused() {
        let error = choose(&["/proc".into()], 1).unwrap_err().to_string();
        assert!(error.contains("/proc is no tmpfs"), "{error}");
    }

    #[test]
    fn sweep_stale_removes_only_unlocked_directories() {
        let base = tempfile::tempdir().unwrap();
        let live = base.path().join("hipri-run-live");
        let dead = base.path().join("hipri-run-dead");
        let other = base.path().join("other");
        for directory in [&live, &dead, &other] {
            std::fs::create_dir(directory).unwrap();
            File::create(directory.join(LOCK)).unwrap();
        }
        let held = File::open(live.join(LOCK)).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();

        sweep_stale(base.path());

        assert!(live.exists());
        assert!(!dead.exists());
        assert!(other.exists());
    }
}

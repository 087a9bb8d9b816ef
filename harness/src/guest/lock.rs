// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One build at a time. The kernel drops the lock with its holder, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::paths::Paths;
use crate::interrupt::EmptyOnExit;
use crate::progress::Progress;

/// Held while something under `target/guest/` is made.
#[derive(Debug)]
pub struct Lock(File, EmptyOnExit);

/// Takes the lock, waiting for another hipri if need be.
///
/// # Errors
/// When the lock file cannot be used.
pub fn take(paths: &Paths, progress: &dyn Progress) -> anyhow::Result<Lock> {
    let path = paths.cache().join("lock");
    let failed = || format!("cannot use the lock {}", path.display());
    fs::create_dir_all(paths.cache())
        .with_context(|| format!("cannot make {}", paths.cache().display()))?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            if let Some(pid) = holder(&mut file) {
                progress.line(&format!(
                    "process {pid} ended while it was building the guest; its lock is taken over"
                ));
            }
        }
        Err(Errno::WOULDBLOCK) => {
            let who = holder(&mut file).map_or_else(String::new, |pid| format!(" (process {pid})"));
            progress.line(&format!(
                "another hipri{who} is building the guest; waiting for it"
            ));
            flock(&file, FlockOperation::LockExclusive).with_context(failed)?;
        }
        Err(error) => return Err(error).with_context(failed),
    }
    let lock = Lock(file, EmptyOnExit::new(&path));
    lock.write(&format!("{}\n", std::process::id()))
        .with_context(failed)?;
    Ok(lock)
}

impl Lock {
    fn write(&self, text: &str) -> std::io::Result<()> {
        let mut file = &self.0;
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty lock file tells the next one that all went well; it is a courtesy.
        let _ = self.write("");
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Step;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Said(Mutex<Vec<String>>);

    impl Progress for Said {
        fn step(&self, title: &str) -> Box<dyn Step> {
            crate::progress::Silent.step(title)
        }
        fn line(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    #[test]
    fn take_stale_pid_is_taken_over_with_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path().to_path_buf());
        fs::create_dir_all(paths.cache()).unwrap();
        fs::write(paths.cache().join("lock"), "999999999\n").unwrap();
        let said = Said::default();
        drop(take(&paths, &said).unwrap());
        assert_eq!(said.0.lock().unwrap().len(), 1);
        drop(take(&paths, &said).unwrap());
        assert_eq!(said.0.lock().unwrap().len(), 1);
    }
}

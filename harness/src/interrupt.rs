// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ctrl-C, SIGTERM and SIGHUP: a run is torn down in order, anything else just ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{ExitReason, Failure};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static GUARDS: AtomicUsize = AtomicUsize::new(0);
static EMPTIED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Starts to listen. Called once, by the command line.
///
/// # Errors
/// When the signals cannot be registered.
pub fn install() -> anyhow::Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("registering signal handlers")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in signals.forever() {
                let again = INTERRUPTED.swap(true, Ordering::SeqCst);
                if again || GUARDS.load(Ordering::SeqCst) == 0 {
                    // Children carry a parent-death signal and locks end with their holder.
                    empty_file();
                    std::process::exit(ExitReason::Interrupted.code().into());
                }
            }
        })
        .context("starting the signal thread")?;
    Ok(())
}

/// While it exists, a signal that ends the process empties a file before: a lock's note of who
/// holds it. One at a time.
#[derive(Debug)]
pub struct EmptyOnExit(());

impl EmptyOnExit {
    /// Names the file.
    pub fn new(path: &Path) -> Self {
        *EMPTIED.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
        Self(())
    }
}

impl Drop for EmptyOnExit {
    fn drop(&mut self) {
        *EMPTIED.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn empty_file() {
    let path = EMPTIED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(path) = path {
        // A note that stays is told as such by the next run.
        let _ = std::fs::File::create(path);
    }
}

/// While one exists, a signal only sets the flag that [`check`] looks at.
#[derive(Debug)]
pub struct Guard(());

impl Guard {
    /// From now on the caller looks at [`check`] often.
    #[expect(clippy::new_without_default, reason = "a guard is taken on purpose")]
    pub fn new() -> Self {
        GUARDS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Fails once the user has asked to stop.
///
/// # Errors
/// Exit 130.
pub fn check() -> anyhow::Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        return Err(Failure::new(ExitReason::Interrupted, "interrupted").into());
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ctrl-C, SIGTERM and SIGHUP: a run is torn down in order, anything else just ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{ExitReason, Failure};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static GUARDS: AtomicUsize = AtomicUsize::new(0);

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
                    std::process::exit(ExitReason::Interrupted.code().into());
                }
            }
        })
        .context("starting the signal thread")?;
    Ok(())
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

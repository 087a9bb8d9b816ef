// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Time, in ticks of the time stamp counter.

use core::arch::x86_64::_rdtsc;
use core::hint::spin_loop;

use crate::check::{Failure, Outcome};

/// Now.
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: reads a counter; user mode may (CR4.TSD is clear).
    unsafe { _rdtsc() }
}

/// How long to wait for the device.
#[derive(Clone, Copy)]
pub struct Patience(pub u64);

impl Patience {
    /// Polls `ready` until it gives something.
    ///
    /// # Errors
    /// After the patience is over: `message`, with nothing seen and the ticks waited.
    #[track_caller]
    pub fn wait<T>(
        self,
        message: &'static str,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Outcome<T> {
        let start = ticks();
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            let waited = ticks().wrapping_sub(start);
            if waited > self.0 {
                return Err(Failure::new(message, 0, 0).with(waited));
            }
            spin_loop();
        }
    }
}

/// Lets `duration` ticks pass.
pub fn pause(duration: u64) {
    let start = ticks();
    while ticks().wrapping_sub(start) < duration {
        spin_loop();
    }
}

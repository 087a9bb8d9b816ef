// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real time.

use crate::timing::Nanos;

/// Nanoseconds since the clock was made, from the time stamp counter where it can be trusted.
/// Reading it is no system call.
#[derive(Clone)]
pub struct Clock {
    clock: quanta::Clock,
    start: u64,
}

impl Clock {
    /// A clock that stands at 0. The first one in a process takes some milliseconds to calibrate.
    pub fn new() -> Self {
        let clock = quanta::Clock::new();
        let start = clock.raw();
        Self { clock, start }
    }

    /// Nanoseconds since the clock was made; never goes backwards on one thread.
    pub fn now(&self) -> Nanos {
        self.clock.delta_as_nanos(self.start, self.clock.raw())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

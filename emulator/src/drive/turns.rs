// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The turns of a poller's loop: when they begin, and what it does between two of them while there
//! is nothing to do.

use std::time::Duration;

use super::{Clock, PollerCounters};
use crate::timing::Nanos;

/// A turn that begins this long after the one before it was interrupted: the host ran something
/// else.
const GAP: Nanos = 500_000;
/// So long after the last work a poller does not pause between turns: a processor may take a pause
/// for as long as a cache line takes from one core to another, and the guest is about to submit its
/// next command.
const EAGER: Nanos = 20_000;
/// How long before a completion is due a poller is back from sleep: timer slack and scheduling.
const WAKE_EARLY: Nanos = 300_000;

/// One thread's turns.
pub(super) struct Turns {
    clock: Clock,
    idle_sleep: Option<Duration>,
    /// Whether there is no second core for the guest.
    alone: bool,
    /// When the current turn began.
    now: Nanos,
    /// When the next completion is due, as of the last turn.
    due: Option<Nanos>,
    /// Since when nothing has happened.
    quiet_since: Option<Nanos>,
}

impl Turns {
    /// Of a poller that sleeps after this time without anything to do.
    pub(super) fn new(clock: Clock, idle_sleep: Option<Duration>) -> Self {
        Self {
            clock,
            idle_sleep,
            alone: std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1),
            now: 0,
            due: None,
            quiet_since: None,
        }
    }

    /// The next turn has nothing to do with those before.
    pub(super) fn restart(&mut self) {
        self.skip();
        self.due = None;
        self.quiet_since = None;
    }

    /// The time since the last turn was well spent: it is no gap.
    pub(super) fn skip(&mut self) {
        self.now = self.clock_now();
    }

    /// Begins the next turn, and notes when the host has run something else in between.
    #[inline]
    pub(super) fn next(&mut self, counters: &mut PollerCounters) -> Nanos {
        let now = self.clock_now();
        let gap = now - self.now;
        if gap > GAP {
            counters.clock_gaps += 1;
            counters.longest_gap_ns = counters.longest_gap_ns.max(gap);
            // Time that it did not have is no idle time.
            self.quiet_since = None;
        }
        counters.turns += 1;
        self.now = now;
        now
    }

    /// Ends a turn after which the next completion is due at `due`: nothing can happen before the
    /// guest does something (`idle`), or something waits other than for its time (`busy`). Returns
    /// whether nothing has happened for so long that it is time to sleep.
    #[inline]
    pub(super) fn rest(&mut self, due: Option<Nanos>, idle: bool, busy: bool) -> bool {
        let waiting_long =
            due == self.due && due.is_some_and(|due| due > self.now.saturating_add(2 * WAKE_EARLY));
        self.due = due;
        if busy || !(idle || waiting_long) {
            self.quiet_since = None;
            return false;
        }
        let quiet = self.now - *self.quiet_since.get_or_insert(self.now);
        if self.alone {
            std::thread::yield_now();
        } else if quiet > EAGER {
            std::hint::spin_loop();
        }
        let idle_sleep = self.idle_sleep.map(|idle| idle.as_nanos());
        let sleep = idle_sleep.is_some_and(|idle| u128::from(quiet) >= idle);
        if sleep {
            self.quiet_since = None;
        }
        sleep
    }

    /// How long it may sleep before the next completion; `None`: for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        let awake_at = |due: Nanos| due.saturating_sub(WAKE_EARLY);
        let left = |due| Duration::from_nanos(awake_at(due).saturating_sub(self.clock_now()));
        self.due.map(left)
    }

    fn clock_now(&self) -> Nanos {
        self.clock.now().max(self.now)
    }
}

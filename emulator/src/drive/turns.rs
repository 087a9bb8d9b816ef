// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The turns of a poller's loop: when they begin, and what it does between two of them while there
//! is nothing to do.

use std::time::Duration;

use super::{Clock, PollerCounters};
use crate::timing::Nanos;

/// A turn that begins this long after the one before was interrupted: the host ran something else.
const GAP: Nanos = 500_000;
/// The same after a turn in which nothing was to be done, which takes well under a microsecond.
const GAP_AFTER_NOTHING: Nanos = 10_000;
/// So long after the last work a poller does not pause between turns: a processor may take a pause
/// for as long as a cache line takes from one core to another, and the guest is about to submit its
/// next command.
const EAGER: Nanos = 20_000;
/// How long before a completion is due a poller is back from sleep: timer slack and scheduling.
const WAKE_EARLY: Nanos = 300_000;

/// A turn that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// When.
    pub now: Nanos,
    /// Since when the host has run something else, if it has.
    pub away_since: Option<Nanos>,
}

/// What a turn has found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// When the next completion is due.
    pub due: Option<Nanos>,
    /// Nothing was to be done.
    pub nothing: bool,
    /// Nothing can happen before the guest does something.
    pub idle: bool,
    /// Something waits other than for its time.
    pub busy: bool,
}

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
    /// Whether there was nothing to do in the current turn.
    nothing: bool,
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
            nothing: false,
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
        self.nothing = false;
    }

    /// Begins the next turn, and notes when the host has run something else in between.
    #[inline]
    pub(super) fn next(&mut self, counters: &mut PollerCounters) -> Turn {
        let now = self.clock_now();
        self.begin(now, counters)
    }

    #[inline]
    fn begin(&mut self, now: Nanos, counters: &mut PollerCounters) -> Turn {
        let gap = now - self.now;
        let most = if self.nothing { GAP_AFTER_NOTHING } else { GAP };
        let away_since = (gap > most).then_some(self.now);
        if away_since.is_some() {
            counters.clock_gaps += 1;
            counters.longest_gap_ns = counters.longest_gap_ns.max(gap);
            // Time that it did not have is no idle time.
            self.quiet_since = None;
        }
        counters.turns += 1;
        self.now = now;
        Turn { now, away_since }
    }

    /// Ends a turn. Returns whether nothing has happened for so long that it is time to sleep.
    #[inline]
    pub(super) fn rest(&mut self, found: Found) -> bool {
        let Found {
            due,
            nothing,
            idle,
            busy,
        } = found;
        self.nothing = nothing;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// After a turn without anything to do a shorter time is a gap than after one with work.
    #[test]
    fn begin_tells_a_gap_from_work() {
        let mut turns = Turns::new(Clock::new(), None);
        let mut counters = PollerCounters::default();
        let mut begin = |now, nothing| {
            let turn = turns.begin(now, &mut counters);
            turns.rest(Found {
                nothing,
                ..Found::default()
            });
            turn.away_since
        };
        assert_eq!(begin(1_000, true), None);
        assert_eq!(begin(1_000 + GAP_AFTER_NOTHING, true), None);
        let before = 1_000 + GAP_AFTER_NOTHING;
        let after = before + GAP_AFTER_NOTHING + 1;
        assert_eq!(begin(after, false), Some(before));
        assert_eq!(begin(after + GAP, false), None);
        assert_eq!(begin(after + 2 * GAP + 1, false), Some(after + GAP));
        assert_eq!((counters.clock_gaps, counters.longest_gap_ns), (2, GAP + 1));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Several pollers: the engine lends I/O queues to lanes, each stepped by a thread of its own.
//!
//! A lane has nothing but the queues that were lent to it, and is the whole hot path for them; it
//! shares the media's data and the timing model with the engine. Whatever concerns more than its
//! queues (registers, admin commands, trapped doorbells, resets, counters that somebody asks for)
//! happens while everything is back in the engine, exactly as with one poller. So who drives the
//! engine takes every lane back first, and lends again afterwards.

use super::Engine;
use crate::controller::InterruptSink;
use crate::timing::Nanos;

/// Serves I/O queues that an engine has lent to it.
pub struct Lane(Engine);

/// Which of the I/O completion queues a lane is lent, with the submission queues that complete to
/// them: every `of`th, so that all pollers get as many. The engine keeps those of lane 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneShare {
    /// The lane's number, 1 or more.
    pub number: u16,
    /// How many pollers there are.
    pub of: u16,
}

impl LaneShare {
    fn has(self, cqid: u16) -> bool {
        cqid != 0 && (cqid - 1) % self.of == self.number
    }
}

impl Engine {
    /// A lane for this engine. `None` when a medium is for one thread only: a file, or one with a
    /// volatile write cache.
    pub fn lane(&mut self) -> Option<Lane> {
        let controller = self.controller.another()?;
        Some(Lane(Self::of(controller, self.admission.another())))
    }

    /// Whether queues may be lent now, and there are any for this lane: the controller runs, and
    /// nothing is under way that needs more than a lane has. Fault rules do: what they count and
    /// hold back is in one place.
    pub fn can_lend(&self, share: LaneShare) -> bool {
        self.controller.registers.is_running()
            && self.controller.ram.is_some()
            && self.held_aborts.is_empty()
            && self.flushes.is_empty()
            && self.faults.is_none()
            && !self.admin_waits()
            && self.controller.queues.has_cq(|cqid| share.has(cqid))
    }

    /// Lends a lane its queues with everything that is under way on them. Nothing else may be asked
    /// of this engine but [`Engine::step`] and what belongs to sleeping until it is taken back.
    pub fn lend(&mut self, lane: &mut Lane, share: LaneShare) {
        let Lane(lane) = lane;
        self.lent += 1;
        self.controller
            .lend(&mut lane.controller, |cqid| share.has(cqid));
        lane.admission.follow(&self.admission);
        lane.reserve_due();
        let queues = &lane.controller.queues;
        for completed in self
            .due
            .extract(|command| queues.sq(command.sqid).is_some())
        {
            lane.due.push(completed.due.unwrap_or(0), completed);
        }
        self.vectors
            .lend(&mut lane.vectors, &lane.controller.queues);
        lane.quiet = false;
        lane.resume_polling();
    }

    /// Takes back what a lane has, and takes over what it has counted.
    pub fn take_back(&mut self, lane: &mut Lane) {
        let Lane(lane) = lane;
        self.lent = self.lent.saturating_sub(1);
        self.controller.take_back(&mut lane.controller);
        self.reserve_due();
        for completed in lane.due.extract(|_| true) {
            self.due.push(completed.due.unwrap_or(0), completed);
        }
        self.vectors.take_back(&mut lane.vectors);
        self.quiet = false;
        if !lane.polling {
            self.announce_all();
        }
    }

    /// Whether an admin command waits to be fetched, as far as the last doorbell says.
    pub fn admin_waits(&self) -> bool {
        let queues = &self.controller.queues;
        queues.sq(0).is_some_and(|sq| sq.pending() > 0)
    }

    /// Looks at the admin doorbell in memory, and whether an admin command waits.
    #[inline]
    pub fn look_for_admin(&mut self) -> bool {
        if self.controller.queues.page().is_some() {
            self.poll_tail(0);
        }
        self.admin_waits()
    }
}

impl Lane {
    /// [`Engine::step`] of the queues that the lane has.
    pub fn step(&mut self, now: Nanos, interrupts: &mut dyn InterruptSink) -> Option<Nanos> {
        self.0.step(now, interrupts)
    }

    /// Whether it has noticed something that the host must be told of by the engine.
    #[inline]
    pub fn calls(&self) -> bool {
        !self.0.controller.events.is_empty()
    }

    /// See [`Engine::is_quiet`].
    pub fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }

    /// See [`Engine::was_away`].
    pub fn was_away(&mut self, since: Nanos) {
        self.0.was_away(since);
    }

    /// See [`Engine::is_idle`].
    pub fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    /// See [`Engine::prepare_sleep`].
    pub fn prepare_sleep(&mut self) -> bool {
        self.0.prepare_sleep()
    }

    /// See [`Engine::resume_polling`].
    pub fn resume_polling(&mut self) {
        self.0.resume_polling();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_gives_each_queue_to_one_poller_and_the_admin_queue_to_none() {
        for of in 1..5 {
            for cqid in 1..20 {
                let owners = (0..of).filter(|&number| LaneShare { number, of }.has(cqid));
                assert_eq!(owners.count(), 1, "queue {cqid} of {of}");
            }
            assert!((0..of).all(|number| !LaneShare { number, of }.has(0)));
        }
        // The first queue is the first poller's, the second the next one's.
        assert!(LaneShare { number: 1, of: 2 }.has(2));
    }
}

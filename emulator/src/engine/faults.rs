// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fault rules in the engine: commands are shown to them when they arrive, and what they decide is
//! carried out. Nothing here runs, and nothing is allocated, while no rule is loaded.
//!
//! What is held back is bounded: each held completion and each command that was not noticed has its
//! slot in a completion queue, and a reset drops them all.

use super::Engine;
use super::due::Completed;
use super::sweep::{Fetched, Filling, Swept};
use crate::controller::InterruptSink;
use crate::fault::{
    Arrival, ControllerFault, Ending, Execution, Faults, RuleReport, Rules, Verdict,
};
use crate::spec::Status;
use crate::spec::registers::CSTS;
use crate::timing::Nanos;

/// Interrupts that may wait to be raised for nothing.
const MOST_SPURIOUS: usize = 256;

/// Rules, and what they have brought about.
pub struct FaultState {
    rules: Faults,
    held: Vec<Held>,
    unnoticed: Vec<Unnoticed>,
    /// Times and completion queues.
    spurious: Vec<(Nanos, u16)>,
    /// The controller is no longer there.
    removed: bool,
    stuck: Option<Stuck>,
}

/// A completion that others are to overtake.
struct Held {
    completed: Completed,
    /// How many still.
    overtakers: u16,
    at_most: Nanos,
}

/// A command whose doorbell the device has not noticed yet.
struct Unnoticed {
    qid: u16,
    fetched: Fetched,
    until: Nanos,
}

/// CSTS.RDY does not change.
struct Stuck {
    ready: bool,
    until: Option<Nanos>,
}

impl FaultState {
    /// What a register reads as that holds `value`.
    pub fn register(&self, offset: u64, size: usize, value: u64) -> u64 {
        if self.removed {
            return u64::MAX;
        }
        let Some(stuck) = &self.stuck else {
            return value;
        };
        // RDY is the first bit of CSTS, which may be the upper half of what is read.
        match CSTS.checked_sub(offset) {
            Some(at) if offset.is_multiple_of(size as u64) && at < size as u64 => {
                value & !(1 << (8 * at)) | u64::from(stuck.ready) << (8 * at)
            }
            _ => value,
        }
    }

    /// Commands are forgotten.
    pub fn drop_commands(&mut self) {
        self.held.clear();
        self.unnoticed.clear();
        self.spurious.clear();
    }

    /// A reset of the function: registers are as they should be.
    pub fn heal(&mut self) {
        self.removed = false;
        self.stuck = None;
    }

    /// Whether something waits for its time.
    fn waits(&self) -> bool {
        !(self.held.is_empty() && self.unnoticed.is_empty() && self.spurious.is_empty())
    }

    fn next(&self) -> Option<Nanos> {
        let held = self.held.iter().map(|held| held.at_most);
        let unnoticed = self.unnoticed.iter().map(|command| command.until);
        let spurious = self.spurious.iter().map(|(at, _)| *at);
        let stuck = self.stuck.iter().filter_map(|stuck| stuck.until);
        held.chain(unnoticed).chain(spurious).chain(stuck).min()
    }

    /// Takes out what is held back and `wanted`.
    fn extract(&mut self, wanted: impl Fn(&Completed) -> bool) -> Vec<Completed> {
        let held = self.held.extract_if(.., |held| wanted(&held.completed));
        let mut taken: Vec<_> = held.map(|held| held.completed).collect();
        let unnoticed = self
            .unnoticed
            .extract_if(.., |command| wanted(&command.as_completed()));
        taken.extend(unnoticed.map(|command| command.as_completed()));
        taken
    }

    fn has_unnoticed(&self, qid: u16) -> bool {
        self.unnoticed.iter().any(|command| command.qid == qid)
    }
}

impl Unnoticed {
    fn as_completed(&self) -> Completed {
        refused(self.qid, &self.fetched, Status::SUCCESS)
    }
}

/// The completion of a command that was not executed.
fn refused(qid: u16, fetched: &Fetched, status: Status) -> Completed {
    Completed {
        sqid: qid,
        cid: fetched.sqe.cid.get(),
        status,
        dword0: 0,
        due: None,
        ending: Ending::Normal,
    }
}

impl Engine {
    /// Replaces the fault rules; none, and there are no faults any more. What the old ones have held
    /// back goes on with the next step, and registers are as they should be; a controller that has
    /// failed (CSTS.CFS) still needs its reset. Counts of what was done go on.
    pub fn set_faults(&mut self, rules: Rules) {
        self.quiet = false;
        let rules = Faults::new(rules);
        let Some(state) = &mut self.faults else {
            if !rules.is_empty() {
                self.faults = Some(Box::new(FaultState {
                    rules,
                    held: Vec::new(),
                    unnoticed: Vec::new(),
                    spurious: Vec::new(),
                    removed: false,
                    stuck: None,
                }));
            }
            return;
        };
        state.rules = rules;
        state.heal();
        state.held.iter_mut().for_each(|held| held.at_most = 0);
        state.unnoticed.iter_mut().for_each(|it| it.until = 0);
        state.spurious.clear();
        if state.rules.is_empty() && !state.waits() {
            self.faults = None;
        }
    }

    /// What each fault rule has done.
    pub fn fault_rules(&self) -> Vec<RuleReport> {
        let faults = self.faults.as_ref();
        faults.map_or_else(Vec::new, |faults| faults.rules.report())
    }

    /// Whether a fault rule has removed the controller: it answers nothing, and what is read is ones.
    #[inline]
    pub fn is_removed(&self) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.removed)
    }

    #[inline]
    pub(super) fn faults_wait(&self) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.waits())
    }

    /// Commands and completions that rules hold back and `wanted` picks, to be completed otherwise.
    pub(super) fn extract_from_faults(
        &mut self,
        wanted: impl Fn(&Completed) -> bool,
    ) -> Vec<Completed> {
        let faults = self.faults.as_mut();
        faults.map_or_else(Vec::new, |faults| faults.extract(wanted))
    }

    /// Does what it is time for at the beginning of a step. Returns whether there was anything.
    #[cold]
    pub(super) fn act_on_time(&mut self, now: Nanos) -> bool {
        let Some(faults) = &mut self.faults else {
            return false;
        };
        let ended = |stuck: &mut Stuck| stuck.until.is_some_and(|until| until <= now);
        faults.stuck.take_if(ended);
        let held = faults.held.extract_if(.., |held| held.at_most <= now);
        let late: Vec<_> = held.map(|held| held.completed).collect();
        let noticed = faults.unnoticed.extract_if(.., |it| it.until <= now);
        let noticed: Vec<_> = noticed.collect();
        if faults.rules.is_empty() && !faults.waits() {
            self.faults = None;
        }
        let worked = !(late.is_empty() && noticed.is_empty());
        for completed in late {
            self.fill(completed, Filling::Normal, now);
        }
        for command in noticed {
            self.execute(command.qid, &command.fetched, &Execution::NORMAL, now);
        }
        self.post_ready(now);
        worked
    }

    /// Raises what is to be raised for nothing. Returns when there is something to do next.
    #[cold]
    pub(super) fn finish_step_with_faults(
        &mut self,
        now: Nanos,
        sink: &mut dyn InterruptSink,
    ) -> Option<Nanos> {
        let faults = self.faults.as_mut()?;
        for (_, cqid) in faults.spurious.extract_if(.., |(at, _)| *at <= now) {
            if let Some(cq) = self.controller.queues.cq(cqid) {
                sink.raise(cq.vector());
                if let Some(counters) = self.controller.counters.queue_mut(cqid) {
                    counters.interrupts += 1;
                }
            }
        }
        faults.next()
    }

    /// Executes up to `burst` commands of a queue, each after the rules were asked.
    #[cold]
    pub(super) fn serve_with_faults(&mut self, qid: u16, burst: u32, now: Nanos) -> Swept {
        let mut swept = Swept::default();
        for _ in 0..burst {
            if !self.is_noticed(qid) {
                break;
            }
            let Some(fetched) = self.fetch(qid) else {
                break;
            };
            swept.executed = true;
            self.arrive(qid, &fetched, now);
        }
        self.post_ready(now);
        swept.more = self.is_noticed(qid) && self.has_more(qid);
        swept
    }

    /// Whether commands of a queue may be fetched: the controller runs, and the device is not late
    /// in noticing them.
    fn is_noticed(&self, qid: u16) -> bool {
        let late = |faults: &FaultState| faults.has_unnoticed(qid);
        self.is_running() && !self.faults.as_deref().is_some_and(late)
    }

    fn arrive(&mut self, qid: u16, fetched: &Fetched, now: Nanos) {
        let cid = fetched.sqe.cid.get();
        if !self.held_aborts.is_empty() && self.fetch_aborted(qid, fetched.index, cid, now) {
            return;
        }
        let Some(faults) = &mut self.faults else {
            return;
        };
        let arrival = Arrival {
            sqe: &fetched.sqe,
            queue: qid,
            creation: fetched.creation,
            sequence: fetched.sequence,
        };
        let verdict = faults.rules.verdict(&arrival);
        if let Some(verdict) = verdict {
            log::debug!("fault: queue {qid}, command {cid}: {verdict:?}");
            self.controller.counters.faults.acted += 1;
        }
        match verdict {
            None => self.execute(qid, fetched, &Execution::NORMAL, now),
            Some(Verdict::Execute(execution)) => self.execute(qid, fetched, &execution, now),
            Some(Verdict::Refuse(status)) => {
                if let Some(counters) = self.controller.counters.queue_mut(qid) {
                    counters.count_opcode(fetched.sqe.opcode);
                }
                self.ready.push(refused(qid, fetched, status));
            }
            Some(Verdict::Unnoticed(time)) => faults.unnoticed.push(Unnoticed {
                qid,
                fetched: *fetched,
                until: now.saturating_add(time),
            }),
            Some(Verdict::Controller(fault)) => self.fail(fault, qid, fetched, now),
        }
    }

    fn execute(&mut self, qid: u16, fetched: &Fetched, execution: &Execution, now: Nanos) {
        if qid == 0 {
            self.execute_admin(&fetched.sqe, execution, now);
            return;
        }
        let damaged = self
            .controller
            .execute_damaged(&fetched.sqe, execution.damage);
        self.conclude_io(qid, fetched, &damaged, execution, now);
    }

    fn fail(&mut self, fault: ControllerFault, qid: u16, fetched: &Fetched, now: Nanos) {
        match fault {
            ControllerFault::StuckCsts(lasts) => {
                if let Some(faults) = &mut self.faults {
                    faults.stuck = Some(Stuck {
                        ready: self.controller.registers.is_ready(),
                        until: lasts.map(|time| now.saturating_add(time)),
                    });
                }
                self.execute(qid, fetched, &Execution::NORMAL, now);
            }
            ControllerFault::Fatal => {
                self.drop_commands();
                self.controller.registers.set_failed();
            }
            ControllerFault::PowerCut(seed) => {
                self.drop_commands();
                self.flushes.forget();
                self.controller.cut_power(seed);
            }
            ControllerFault::Remove => {
                self.reset();
                if let Some(faults) = &mut self.faults {
                    faults.removed = true;
                }
            }
        }
    }

    /// Completes a command as a rule has decided, and whatever was held back for it to overtake.
    #[cold]
    pub(super) fn post_with_faults(&mut self, completed: Completed, now: Nanos) {
        let sqid = completed.sqid;
        let normal = Completed {
            ending: Ending::Normal,
            ..completed
        };
        match completed.ending {
            Ending::Normal => self.fill(normal, Filling::Normal, now),
            Ending::Dropped => {
                if let Some((_, cq)) = self.controller.queues.pair_mut(sqid) {
                    cq.release();
                }
                return;
            }
            Ending::Duplicated => {
                self.fill(normal, Filling::Normal, now);
                self.fill_again(normal, now);
            }
            Ending::WrongCid(cid) => {
                self.fill(Completed { cid, ..normal }, Filling::Normal, now);
            }
            Ending::WrongPhase => self.fill(normal, Filling::WrongPhase, now),
            Ending::Unannounced => self.fill(normal, Filling::Unannounced, now),
            Ending::AnnouncedTwice => {
                self.fill(normal, Filling::Normal, now);
                self.announce_again(sqid, now);
            }
            Ending::Reordered(overtakers) => {
                if let Some(faults) = &mut self.faults {
                    faults.held.push(Held {
                        completed: normal,
                        overtakers,
                        at_most: now.saturating_add(faults.rules.reorder_limit()),
                    });
                }
                return;
            }
        }
        self.overtake(sqid, now);
    }

    /// A second completion, if there is room.
    fn fill_again(&mut self, completed: Completed, now: Nanos) {
        let pair = self.controller.queues.pair_mut(completed.sqid);
        let Some(cqid) = pair.map(|(sq, _)| sq.cqid()) else {
            return;
        };
        if self.has_room(cqid) {
            if let Some(cq) = self.controller.queues.cq_mut(cqid) {
                cq.reserve();
            }
            self.fill(completed, Filling::Normal, now);
        }
    }

    fn announce_again(&mut self, sqid: u16, now: Nanos) {
        let Some((sq, cq)) = self.controller.queues.pair_mut(sqid) else {
            return;
        };
        let (cqid, interrupts) = (sq.cqid(), cq.interrupts());
        if let Some(faults) = &mut self.faults
            && interrupts
            && faults.spurious.len() < MOST_SPURIOUS
        {
            let at = now.saturating_add(faults.rules.spurious_after());
            faults.spurious.push((at, cqid));
        }
    }

    /// A completion of queue `sqid` was posted: those that it had to overtake may follow.
    fn overtake(&mut self, sqid: u16, now: Nanos) {
        let Some(faults) = &mut self.faults else {
            return;
        };
        let overtaken = faults.held.extract_if(.., |held| {
            let mine = held.completed.sqid == sqid;
            held.overtakers -= u16::from(mine);
            mine && held.overtakers == 0
        });
        let overtaken: Vec<_> = overtaken.map(|held| held.completed).collect();
        for completed in overtaken {
            self.fill(completed, Filling::Normal, now);
        }
    }
}

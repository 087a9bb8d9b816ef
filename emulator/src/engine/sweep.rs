// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fetching, executing and completing: the hot path.

use super::Engine;
use super::due::Completed;
use super::flushes::{Started, Waiter};
use crate::controller::{AdminOutcome, FlushScope, IoClass, IoOutcome};
use crate::fault::{Ending, Execution};
use crate::observe::POLLED;
use crate::spec::{AdminOpcode, CompletionQueueEntry, NvmOpcode, Status, SubmissionQueueEntry};
use crate::timing::{Nanos, Request, Work};

/// Largest burst of feature 01h (AB = 7, "no limit", is as much as a step can bear).
pub const LARGEST_BURST: u32 = 128;

/// I/O commands are fetched only while fewer flushes than this are under way for nobody: what resets,
/// aborts and queue deletions leave behind must not grow without end while a disk is slow.
pub const MOST_ABANDONED_FLUSHES: usize = 1024;
/// The same for admin commands, which a host needs to recover and of which few flush anything.
const MOST_ABANDONED_FLUSHES_ADMIN: usize = 2 * MOST_ABANDONED_FLUSHES;

/// What one sweep over the queues did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swept {
    /// At least one command was executed.
    pub executed: bool,
    /// A queue has more commands, and room for their completions.
    pub more: bool,
}

/// How a completion is put into its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    /// As it should be.
    Normal,
    /// As if the slot had not been filled.
    WrongPhase,
    /// No interrupt follows.
    Unannounced,
}

/// A fetched command and what its draw of the service time depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetched {
    pub sqe: SubmissionQueueEntry,
    pub index: u32,
    pub creation: u32,
    pub sequence: u64,
}

impl Engine {
    /// Gives the admin queue and then every I/O queue one burst. The queue that comes first moves
    /// on with each sweep.
    pub(super) fn sweep(&mut self, now: Nanos) -> Swept {
        let mut swept = Swept::default();
        let burst = self.controller.features.burst().min(LARGEST_BURST);
        let abandoned = self.flushes.abandoned();
        // An admin command may concern any queue: those that were lent have to be back.
        if abandoned < MOST_ABANDONED_FLUSHES_ADMIN && self.lent == 0 {
            if self.controller.queues.page().is_some() {
                // Not in shadow memory: no host writes the admin doorbells there.
                self.poll_tail(0);
            }
            self.serve(0, burst, now, &mut swept);
        }
        let queues = self.controller.queues.active().len();
        if queues == 0 || abandoned >= MOST_ABANDONED_FLUSHES {
            return swept;
        }
        let first = self.first_queue % queues;
        self.first_queue = first + 1;
        for at in 0..queues {
            let position = (first + at) % queues;
            let Some(&qid) = self.controller.queues.active().get(position) else {
                break;
            };
            self.poll_tail(qid);
            self.serve(qid, burst, now, &mut swept);
        }
        swept
    }

    /// Executes up to `burst` commands of a queue, as far as there is room for their completions.
    fn serve(&mut self, qid: u16, burst: u32, now: Nanos, swept: &mut Swept) {
        let Some((sq, cq)) = self.controller.queues.pair_mut(qid) else {
            return;
        };
        let wanted = sq.pending().min(burst);
        if wanted == 0 {
            return;
        }
        let cqid = sq.cqid();
        // The head in memory is looked at only when it matters, and often enough that the
        // host never comes round to its event index.
        if cq.free() < wanted || cq.used() > cq.size() / 2 {
            self.poll_head(cqid);
        }
        if self.faults.is_some() {
            let served = self.serve_with_faults(qid, burst, now);
            swept.executed |= served.executed;
            swept.more |= served.more;
            return;
        }
        if qid == 0 {
            swept.executed |= self.serve_admin(burst, now);
        } else {
            swept.executed |= self.serve_io(qid, burst, now);
        }
        self.post_ready(now);
        swept.more |= self.has_more(qid);
    }

    /// Whether a queue has another command, and room for its completion.
    pub(super) fn has_more(&mut self, qid: u16) -> bool {
        let pair = self.controller.queues.pair_mut(qid);
        pair.is_some_and(|(sq, cq)| sq.pending() > 0 && cq.free() > 0)
    }

    fn serve_admin(&mut self, burst: u32, now: Nanos) -> bool {
        let mut left = burst;
        while left > 0
            && let Some(fetched) = self.fetch(0)
        {
            left -= 1;
            self.execute_admin(&fetched.sqe, &Execution::NORMAL, now);
        }
        left < burst
    }

    /// Each command is fetched before its predecessor executes, so that the data of a read are on
    /// their way from memory meanwhile.
    fn serve_io(&mut self, qid: u16, burst: u32, now: Nanos) -> bool {
        let mut left = burst;
        let mut next = self.fetch(qid);
        while let Some(fetched) = next {
            left -= 1;
            next = if left > 0 { self.fetch(qid) } else { None };
            if let Some(coming) = &next {
                self.controller.io.prefetch(&coming.sqe);
            }
            self.execute_io(qid, &fetched, now);
        }
        left < burst
    }

    /// Takes the next command of a queue, with a slot for its completion.
    #[inline]
    pub(super) fn fetch(&mut self, qid: u16) -> Option<Fetched> {
        let (sq, cq) = self.controller.queues.pair_mut(qid)?;
        if sq.pending() == 0 || cq.free() == 0 {
            return None;
        }
        cq.reserve();
        let (index, sequence) = (sq.head(), sq.sequence());
        Some(Fetched {
            creation: sq.creation(),
            sqe: sq.fetch(),
            index,
            sequence,
        })
    }

    fn execute_io(&mut self, qid: u16, fetched: &Fetched, now: Nanos) {
        let sqe = &fetched.sqe;
        let cid = sqe.cid.get();
        if !self.held_aborts.is_empty() && self.fetch_aborted(qid, fetched.index, cid, now) {
            return;
        }
        let outcome = self.controller.execute_io(sqe);
        self.conclude_io(qid, fetched, &outcome, &Execution::NORMAL, now);
    }

    /// Counts an I/O command that was executed, and has it complete when it is due.
    #[inline]
    pub(super) fn conclude_io(
        &mut self,
        qid: u16,
        fetched: &Fetched,
        outcome: &IoOutcome,
        execution: &Execution,
        now: Nanos,
    ) {
        let sqe = &fetched.sqe;
        self.count(qid, sqe, outcome);
        let mut completed = Completed {
            sqid: qid,
            cid: sqe.cid.get(),
            status: outcome.status,
            dword0: 0,
            due: None,
            ending: execution.ending,
        };
        if !outcome.status.is_success() {
            completed.status = self.controller.report_failure(qid, sqe, outcome.status);
            if outcome.bytes == 0 {
                // Refused before it reached the medium.
                if self.trace.is_some() {
                    self.trace_untimed(qid, sqe, now);
                }
                self.complete_after(execution.delay, completed, now);
                return;
            }
        }
        let request = Request {
            nsid: sqe.nsid.get(),
            queue: qid,
            queue_creation: fetched.creation,
            sequence: fetched.sequence,
            work: match outcome.class {
                IoClass::Read => Work::Read,
                IoClass::Write if sqe.fua() || outcome.flush != FlushScope::Nothing => {
                    Work::WriteThrough
                }
                IoClass::Write => Work::Write,
                IoClass::Other if NvmOpcode(sqe.opcode) == NvmOpcode::FLUSH => Work::Flush,
                IoClass::Other => Work::Other,
            },
            bytes: outcome.bytes,
        };
        let due = self.admission.admit(now, &request);
        let due = due.saturating_add(execution.delay);
        completed.due = Some(due);
        if self.trace.is_some() {
            self.trace_timed(qid, sqe, outcome.bytes, now, due);
        }
        if outcome.flush != FlushScope::Nothing {
            self.wait_for_flush(sqe, completed, outcome.flush, now);
        } else if due <= now {
            self.ready.push(completed);
        } else {
            self.due.push(due, completed);
        }
    }

    #[inline]
    fn count(&mut self, qid: u16, sqe: &SubmissionQueueEntry, outcome: &IoOutcome) {
        if let Some(counters) = self.controller.counters.queue_mut(qid) {
            counters.count_opcode(sqe.opcode);
            if outcome.status.is_success() {
                match NvmOpcode(sqe.opcode) {
                    NvmOpcode::READ => counters.bytes_read += u64::from(outcome.bytes),
                    NvmOpcode::WRITE => counters.bytes_written += u64::from(outcome.bytes),
                    _ => self.controller.health.count_checked(outcome.bytes),
                }
            }
        }
    }

    /// Makes a command complete when its data are stable, and not before it is due.
    fn wait_for_flush(
        &mut self,
        sqe: &SubmissionQueueEntry,
        mut completed: Completed,
        scope: FlushScope,
        now: Nanos,
    ) {
        let io = &mut self.controller.io;
        match self.flushes.start(io, scope, Waiter::Command(completed)) {
            Started::Pending => {}
            Started::Ended(status) => {
                if !status.is_success() {
                    let sqid = completed.sqid;
                    completed.status = self.controller.report_failure(sqid, sqe, status);
                }
                self.complete_when_due(completed, now);
            }
        }
    }

    /// Completes commands whose flushes have ended. Returns whether there were any.
    pub(super) fn finish_flushes(&mut self, now: Nanos) -> bool {
        let mut ended = Vec::new();
        let io = &mut self.controller.io;
        self.flushes
            .poll(io, |waiter, status| ended.push((waiter, status)));
        let any = !ended.is_empty();
        for (waiter, status) in ended {
            match waiter {
                Waiter::Nobody => {}
                Waiter::Shutdown => self.shutdown_flushed(status),
                Waiter::Command(mut completed) => {
                    if !status.is_success() {
                        let sqe = SubmissionQueueEntry {
                            cid: completed.cid.into(),
                            ..SubmissionQueueEntry::default()
                        };
                        let sqid = completed.sqid;
                        completed.status = self.controller.report_failure(sqid, &sqe, status);
                    }
                    // What the host's storage took is not the model's lateness.
                    completed.due = completed.due.filter(|due| *due > now);
                    self.complete_when_due(completed, now);
                }
            }
        }
        self.post_ready(now);
        if self.shutdown_waits {
            self.start_shutdown_flush();
        }
        any
    }

    fn complete_when_due(&mut self, completed: Completed, now: Nanos) {
        match completed.due {
            Some(due) if due > now => self.due.push(due, completed),
            _ => self.ready.push(completed),
        }
    }

    /// Makes a command complete that the timing model does not time.
    #[inline]
    fn complete_after(&mut self, delay: Nanos, completed: Completed, now: Nanos) {
        if delay == 0 {
            self.ready.push(completed);
        } else {
            self.due.push(now.saturating_add(delay), completed);
        }
    }

    pub(super) fn execute_admin(
        &mut self,
        sqe: &SubmissionQueueEntry,
        execution: &Execution,
        now: Nanos,
    ) {
        if let Some(counters) = self.controller.counters.queue_mut(0) {
            counters.count_opcode(sqe.opcode);
        }
        let mut completed = Completed {
            sqid: 0,
            cid: sqe.cid.get(),
            status: Status::SUCCESS,
            dword0: 0,
            due: None,
            ending: execution.ending,
        };
        if self.trace.is_some() {
            self.trace_untimed(0, sqe, now);
        }
        match self.act(sqe, completed, now) {
            Ok(None) => return,
            Ok(Some(dword0)) => completed.dword0 = dword0,
            Err(status) => completed.status = self.controller.report_failure(0, sqe, status),
        }
        self.complete_after(execution.delay, completed, now);
    }

    /// Executes an admin command and what follows from it. `None`: it completes later.
    fn act(
        &mut self,
        sqe: &SubmissionQueueEntry,
        completed: Completed,
        now: Nanos,
    ) -> Result<Option<u32>, Status> {
        match self.controller.execute_admin(sqe, now)? {
            AdminOutcome::Done(dword0) => {
                if AdminOpcode(sqe.opcode) == AdminOpcode::CREATE_CQ {
                    self.reserve_due();
                }
                Ok(Some(dword0))
            }
            AdminOutcome::Flush(scope) => {
                self.wait_for_flush(sqe, completed, scope, now);
                Ok(None)
            }
            AdminOutcome::AwaitEvent => {
                // Its slot is reserved anew when there is an event to carry.
                if let Some(cq) = self.controller.queues.cq_mut(0) {
                    cq.release();
                }
                Ok(None)
            }
            AdminOutcome::DeleteSubmissionQueue(qid) => {
                self.delete_sq(qid, now);
                Ok(Some(0))
            }
            AdminOutcome::Abort { sqid, cid } => self.abort(sqe.cid.get(), sqid, cid, now),
        }
    }

    /// Completes what is under way of a submission queue, then removes it. Commands that were not
    /// fetched are gone with it.
    fn delete_sq(&mut self, qid: u16, now: Nanos) {
        let mut commands = self.due.extract(|command| command.sqid == qid);
        commands.extend(self.flushes.extract(|command| command.sqid == qid));
        commands.extend(self.extract_from_faults(|command| command.sqid == qid));
        self.complete_early(commands, Status::ABORTED_SQ_DELETION, now);
        self.drop_held_aborts(qid, now);
        self.controller.queues.remove_sq(qid);
    }

    /// Hands events to waiting requests, as far as the admin completion queue has room.
    pub(super) fn deliver_events(&mut self, now: Nanos) -> bool {
        let mut delivered = false;
        while self.controller.events.deliverable() {
            if !self.has_room(0) {
                break;
            }
            let Some((cid, event)) = self.controller.events.deliver() else {
                break;
            };
            if let Some(cq) = self.controller.queues.cq_mut(0) {
                cq.reserve();
            }
            let completed = Completed {
                sqid: 0,
                cid,
                status: Status::SUCCESS,
                dword0: event.dword0(),
                due: None,
                ending: Ending::Normal,
            };
            self.post(completed, now);
            delivered = true;
        }
        delivered
    }

    /// Posts the completions of a burst, one after another into the same cache lines.
    pub(super) fn post_ready(&mut self, now: Nanos) {
        let mut ready = std::mem::take(&mut self.ready);
        for completed in ready.drain(..) {
            self.post(completed, now);
        }
        self.ready = ready;
    }

    /// Completes a command, for which a slot was reserved.
    #[inline]
    pub(super) fn post(&mut self, completed: Completed, now: Nanos) {
        if self.faults.is_some() {
            self.post_with_faults(completed, now);
        } else {
            self.fill(completed, Filling::Normal, now);
        }
    }

    /// Fills the slot that was reserved for a command.
    #[inline]
    pub(super) fn fill(&mut self, completed: Completed, filling: Filling, now: Nanos) {
        let Some((sq, cq)) = self.controller.queues.pair_mut(completed.sqid) else {
            return;
        };
        let mut entry = CompletionQueueEntry::default();
        entry.dw0.set(completed.dword0);
        entry.sq_head.set(u16::try_from(sq.head()).unwrap_or(0));
        entry.sq_id.set(completed.sqid);
        entry.cid.set(completed.cid);
        match filling {
            Filling::WrongPhase => cq.post_stale(entry, completed.status),
            Filling::Normal | Filling::Unannounced => cq.post(entry, completed.status),
        }
        let cqid = sq.cqid();
        let interrupts = cq.interrupts();
        if interrupts && filling != Filling::Unannounced {
            if cq.unsignalled == 0 {
                self.vectors.touch(cqid);
            }
            cq.unsignalled += 1;
        }
        let Some(counters) = self.controller.counters.queue_mut(completed.sqid) else {
            return;
        };
        if interrupts {
            counters.interrupted += 1;
        } else {
            counters.polled += 1;
        }
        if !completed.status.is_success() {
            counters.errors += 1;
        }
        if let Some(trace) = &mut self.trace {
            let heard = self.controller.queues.doorbells().is_none() || completed.sqid == 0;
            trace.completed(completed.sqid, completed.cid, cqid, heard, |record| {
                record.completed.set(now);
                record.status.set(completed.status.0);
                record.flags |= if interrupts { 0 } else { POLLED };
            });
        }
        if let Some(due) = completed.due {
            counters.early += u64::from(now < due);
            counters.lateness.record(now.saturating_sub(due));
            if let Some(since) = self.away_since {
                counters.lateness_host_ns += now.saturating_sub(due.max(since));
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Notes of commands, for whoever wants a trace.

use super::Engine;
use crate::observe::TraceRecord;
use crate::spec::SubmissionQueueEntry;
use crate::timing::Nanos;

impl Engine {
    /// A command that the timing model times.
    pub(super) fn trace_timed(
        &mut self,
        qid: u16,
        sqe: &SubmissionQueueEntry,
        bytes: u32,
        now: Nanos,
        due: Nanos,
    ) {
        let started = self.admission.last_start();
        self.trace_fetched(qid, sqe, now, |record| {
            record.bytes.set(bytes);
            record.started.set(started);
            record.due.set(due);
        });
    }

    /// One that it does not time: an admin command, or a refusal.
    pub(super) fn trace_untimed(&mut self, qid: u16, sqe: &SubmissionQueueEntry, now: Nanos) {
        self.trace_fetched(qid, sqe, now, |_| {});
    }

    fn trace_fetched(
        &mut self,
        qid: u16,
        sqe: &SubmissionQueueEntry,
        now: Nanos,
        fill: impl FnOnce(&mut TraceRecord),
    ) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        let mut record = TraceRecord {
            opcode: sqe.opcode,
            ..TraceRecord::default()
        };
        record.queue.set(qid);
        record.command.set(sqe.cid.get());
        record.fetched.set(now);
        record.block.set(sqe.slba());
        record.namespace = sqe.nsid;
        fill(&mut record);
        trace.fetched(record);
    }
}

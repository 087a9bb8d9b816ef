// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Abort (NVMe Base 2.0c, 5.1): of commands that wait for their time, for a flush or for an event,
//! and of commands that still lie in their submission queue.

use super::Engine;
use super::due::Completed;
use crate::controller::ABORT_LIMIT;
use crate::fault::Ending;
use crate::spec::Status;
use crate::timing::Nanos;

/// Dword 0 of Abort: the command was aborted.
const ABORTED: u32 = 0;
/// Dword 0 of Abort: it was not.
const NOT_ABORTED: u32 = 1;

/// An Abort whose command has not been fetched yet. Abort must complete after the command that it
/// aborts, so it is held until the command's turn comes.
#[derive(Clone, Copy, Debug)]
pub struct HeldAbort {
    sqid: u16,
    index: u32,
    cid: u16,
    abort_cid: u16,
}

impl Engine {
    /// Executes an Abort with identifier `abort_cid`. Returns dword 0 of its completion, or `None`
    /// when it is held.
    ///
    /// # Errors
    /// Abort Command Limit Exceeded.
    pub(super) fn abort(
        &mut self,
        abort_cid: u16,
        sqid: u16,
        cid: u16,
        now: Nanos,
    ) -> Result<Option<u32>, Status> {
        if self.held_aborts.len() >= usize::from(ABORT_LIMIT) {
            return Err(Status::ABORT_LIMIT_EXCEEDED);
        }
        if sqid == 0 {
            return Ok(Some(self.abort_event_request(cid, now)));
        }
        let named = |command: &Completed| command.sqid == sqid && command.cid == cid;
        let mut commands = self.due.extract(named);
        commands.extend(self.flushes.extract(named));
        commands.extend(self.extract_from_faults(named));
        if !commands.is_empty() {
            self.complete_early(commands, Status::ABORT_REQUESTED, now);
            return Ok(Some(ABORTED));
        }
        let queued = self.controller.queues.sq(sqid).and_then(|sq| sq.find(cid));
        let Some(index) = queued else {
            return Ok(Some(NOT_ABORTED));
        };
        self.held_aborts.push(HeldAbort {
            sqid,
            index,
            cid,
            abort_cid,
        });
        Ok(None)
    }

    /// Commands of the admin queue are executed as soon as they are fetched; only Asynchronous
    /// Event Requests can be aborted.
    fn abort_event_request(&mut self, cid: u16, now: Nanos) -> u32 {
        if !self.has_room(0) || !self.controller.events.withdraw(cid) {
            return NOT_ABORTED;
        }
        if let Some(cq) = self.controller.queues.cq_mut(0) {
            cq.reserve();
        }
        let request = Completed {
            sqid: 0,
            cid,
            status: Status::ABORT_REQUESTED,
            dword0: 0,
            due: None,
            ending: Ending::Normal,
        };
        self.post(request, now);
        ABORTED
    }

    /// Posts commands before their time with `status`.
    pub(super) fn complete_early(&mut self, commands: Vec<Completed>, status: Status, now: Nanos) {
        for command in commands {
            let early = Completed {
                status,
                dword0: 0,
                due: None,
                ending: Ending::Normal,
                ..command
            };
            self.post(early, now);
        }
    }

    /// Whether the command just fetched from `index` of queue `sqid` is to be aborted. If so it is
    /// completed, and so is the Abort that asked for it.
    pub(super) fn fetch_aborted(&mut self, sqid: u16, index: u32, cid: u16, now: Nanos) -> bool {
        let matching = |held: &HeldAbort| held.sqid == sqid && held.index == index;
        let mut aborted = false;
        while let Some(at) = self.held_aborts.iter().position(matching) {
            let held = self.held_aborts.swap_remove(at);
            let same = held.cid == cid;
            if same && !aborted {
                aborted = true;
                let command = Completed {
                    sqid,
                    cid,
                    status: Status::ABORT_REQUESTED,
                    dword0: 0,
                    due: None,
                    ending: Ending::Normal,
                };
                self.post(command, now);
            }
            self.finish_abort(held, if same { ABORTED } else { NOT_ABORTED }, now);
        }
        aborted
    }

    /// The queue of held Aborts goes away, and with it the commands that they were for.
    pub(super) fn drop_held_aborts(&mut self, sqid: u16, now: Nanos) {
        while let Some(at) = self.held_aborts.iter().position(|held| held.sqid == sqid) {
            let held = self.held_aborts.swap_remove(at);
            self.finish_abort(held, NOT_ABORTED, now);
        }
    }

    fn finish_abort(&mut self, held: HeldAbort, dword0: u32, now: Nanos) {
        let abort = Completed {
            sqid: 0,
            cid: held.abort_cid,
            status: Status::SUCCESS,
            dword0,
            due: None,
            ending: Ending::Normal,
        };
        self.post(abort, now);
    }
}

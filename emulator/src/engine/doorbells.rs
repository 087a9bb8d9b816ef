// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Doorbells: trapped writes, and doorbells in memory that are polled (NVMe Base 2.0c, 3.1.4 and
//! appendix B.5).
//!
//! With shadow doorbells the host writes a doorbell's value to memory and then looks at the event
//! index beside it: only when the value moves past that index does it write the register too. While
//! the device polls, the event index stays behind the value that was seen last, where the next
//! value never passes it: no write traps. Before the device sleeps it moves the index to the value
//! itself and looks once more, with a barrier between; the host does the same in the opposite
//! order, so at least one of the two sees what the other wrote.
//!
//! The index is moved only when the value seen last has gone a quarter of the queue further: it
//! stays behind, without a write to a cache line that the host reads on each of its doorbells.
//!
//! With a page of doorbells, which is laid into the guest, there are no event indices and no traps:
//! the page is polled for every queue, and the device does not sleep while the controller runs. A
//! write that traps came before the page was laid; it is put there and looked at.

use super::Engine;
use crate::controller::{DoorbellMemory, InvalidDoorbellValue, cq_slot, sq_slot};
use crate::spec::log::AsyncEvent;
use crate::timing::Nanos;

impl Engine {
    /// A doorbell write that trapped, at `offset` from the first doorbell.
    pub(super) fn ring(&mut self, now: Nanos, offset: u64, value: u32) {
        let index = offset / 4;
        let is_head = index % 2 == 1;
        let Ok(qid) = u16::try_from(index / 2) else {
            self.event(AsyncEvent::InvalidDoorbellRegister);
            return;
        };
        let exists = if is_head {
            self.controller.queues.cq(qid).is_some()
        } else {
            self.controller.queues.sq(qid).is_some()
        };
        if !exists {
            log::debug!("doorbell of queue {qid}, which does not exist");
            self.event(AsyncEvent::InvalidDoorbellRegister);
            return;
        }
        if let Some(counters) = self.controller.counters.queue_mut(qid) {
            if is_head {
                counters.cq_doorbell_traps += 1;
            } else {
                counters.sq_doorbell_traps += 1;
            }
        }
        self.quiet = false;
        let slot = if is_head { cq_slot(qid) } else { sq_slot(qid) };
        let queues = &mut self.controller.queues;
        match queues.doorbells() {
            // The shadow holds the value; this write only says "look".
            Some(DoorbellMemory::Shadow(_)) if qid != 0 => return,
            Some(DoorbellMemory::Page(page)) => {
                page.set_doorbell(slot, value);
                if is_head {
                    self.poll_head(qid);
                } else {
                    self.poll_tail(qid);
                }
                return;
            }
            _ => {}
        }
        let used = queues.cq(qid).map_or(0, |cq| cq.used());
        let taken = if is_head {
            queues.cq_mut(qid).map(|cq| cq.set_head(value))
        } else {
            queues.sq_mut(qid).map(|sq| sq.set_tail(value))
        };
        if is_head && let Some(trace) = &mut self.trace {
            let left = queues.cq(qid).map_or(0, |cq| cq.used());
            trace.reaped(qid, used.saturating_sub(left), now);
        }
        if taken == Some(Err(InvalidDoorbellValue)) {
            log::debug!("doorbell value {value} is not possible on queue {qid}");
            self.event(AsyncEvent::InvalidDoorbellValue);
            return;
        }
        if let Some(shadow) = queues.doorbells() {
            shadow.set_doorbell(slot, value);
        }
    }

    fn event(&mut self, event: AsyncEvent) {
        self.controller.events.raise(event);
        self.quiet = false;
    }

    /// Looks at the tail of a submission queue in memory. Returns whether it moved.
    #[inline]
    pub(super) fn poll_tail(&mut self, qid: u16) -> bool {
        let polling = self.polling;
        let queues = &mut self.controller.queues;
        let Some((Some(doorbells), sq, _)) = queues.doorbells_and_pair_mut(qid) else {
            return false;
        };
        let tail = doorbells.doorbell(sq_slot(qid));
        let before = sq.tail();
        if tail == before {
            if polling && is_far(sq.announced, tail, sq.size()) && sq.settles() {
                sq.announced = tail;
                doorbells.announce(sq_slot(qid), tail, polling);
            }
            return false;
        }
        if sq.set_tail(tail).is_err() {
            if sq.rejected != Some(tail) {
                sq.rejected = Some(tail);
                self.event(AsyncEvent::InvalidDoorbellValue);
            }
            return false;
        }
        sq.rejected = None;
        if must_announce(sq.announced, tail, sq.size(), polling) {
            // The host writes its tail and then looks at the index: it may be just about to. An index
            // beside the new tail would trap it; beside the one before, which it has done with, not.
            let rest = if polling { before } else { tail };
            sq.announced = rest;
            doorbells.announce(sq_slot(qid), rest, polling);
        }
        true
    }

    /// Looks at the head of a completion queue in memory. Returns whether it moved.
    pub(super) fn poll_head(&mut self, cqid: u16) -> bool {
        let polling = self.polling;
        let queues = &mut self.controller.queues;
        let Some((Some(doorbells), cq)) = queues.doorbells_and_cq_mut(cqid) else {
            return false;
        };
        let head = doorbells.doorbell(cq_slot(cqid));
        if head == cq.head() {
            return false;
        }
        if cq.set_head(head).is_err() {
            if cq.rejected != Some(head) {
                cq.rejected = Some(head);
                self.event(AsyncEvent::InvalidDoorbellValue);
            }
            return false;
        }
        cq.rejected = None;
        // This is looked at only when there is no room left, so the index always follows: the host
        // cannot consume more than was posted, and so it never comes round to the index.
        cq.announced = head;
        doorbells.announce(cq_slot(cqid), head, polling);
        true
    }

    /// Publishes every event index according to whether the device polls.
    pub(super) fn announce_all(&mut self) {
        let polling = self.polling;
        let queues = &mut self.controller.queues;
        if !matches!(queues.doorbells(), Some(DoorbellMemory::Shadow(_))) {
            return;
        }
        for qid in 1..queues.identifiers() {
            let Ok(qid) = u16::try_from(qid) else { break };
            if let Some((Some(shadow), sq, _)) = queues.doorbells_and_pair_mut(qid) {
                sq.announced = sq.tail();
                shadow.announce(sq_slot(qid), sq.tail(), polling);
            }
            if let Some((Some(shadow), cq)) = queues.doorbells_and_cq_mut(qid) {
                cq.announced = cq.head();
                shadow.announce(cq_slot(qid), cq.head(), polling);
            }
        }
    }

    /// Whether the guest has given work, or room for completions that lacked it, since the queues
    /// were last looked at.
    pub(super) fn work_arrived(&mut self) -> bool {
        let mut arrived = self.queue_has_work(0);
        for at in 0..self.controller.queues.active().len() {
            let qid = self.controller.queues.active()[at];
            self.poll_tail(qid);
            arrived |= self.queue_has_work(qid);
        }
        arrived
    }

    fn queue_has_work(&mut self, qid: u16) -> bool {
        let sq = self.controller.queues.sq(qid);
        let waiting = sq.filter(|sq| sq.pending() > 0).map(|sq| sq.cqid());
        waiting.is_some_and(|cqid| self.has_room(cqid))
    }

    /// Whether a completion queue has a free slot, if need be after a look at its head in memory.
    pub(super) fn has_room(&mut self, cqid: u16) -> bool {
        let free = |engine: &Self| {
            let cq = engine.controller.queues.cq(cqid);
            cq.is_some_and(|cq| cq.free() > 0)
        };
        free(self) || self.poll_head(cqid) && free(self)
    }
}

/// Queues of at most this many entries get each new tail announced.
const SMALL_QUEUE: u32 = 256;

/// Whether the published event index must follow the tail of a submission queue: always when the
/// device may sleep, else once the tail is a quarter of the queue ahead, long before a host that
/// leaves a quarter of the queue unused comes round to the index. Hosts do fill small queues, so
/// there the index follows each time, one tail behind; and further when the tail stands still.
fn must_announce(announced: u32, seen: u32, size: u32, polling: bool) -> bool {
    !polling || size <= SMALL_QUEUE || is_far(announced, seen, size)
}

/// Whether a tail is more than a quarter of the queue ahead of where the index rests.
fn is_far(announced: u32, seen: u32, size: u32) -> bool {
    let ahead = if seen >= announced {
        seen - announced
    } else {
        seen + size - announced
    };
    ahead > size / 4
}

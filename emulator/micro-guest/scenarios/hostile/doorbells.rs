// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Wrong doorbells (NVMe Base 2.0c, 3.1.4 and figure 146): an event for each, and nothing else.

use super::super::{polled_pair, works};
use crate::check::{Outcome, equal_in, that};
use crate::clock::pause;
use crate::command::flush;
use crate::controller::{Controller, DOORBELL_BYTES};
use crate::doorbell::Mode;
use crate::layout::Counts;
use crate::memory::Arena;
use crate::rings::QueuePair;

/// Event: a write to the doorbell of a queue that does not exist.
const INVALID_REGISTER: u64 = 0x0001_0000;
/// Event: a doorbell value that is not possible.
const INVALID_VALUE: u64 = 0x0001_0100;
/// Entries of the queue whose completions are left standing.
const FEW: u32 = 8;
/// How long to look for something that must not come, in ticks.
const A_WHILE: u64 = 200_000;

/// All of it. `pair` is an I/O queue pair with nothing in flight.
pub fn run(
    controller: &mut Controller,
    arena: &mut Arena,
    pair: &mut QueuePair,
    counts: &mut Counts,
) -> Outcome {
    right_values_are_no_event(controller, pair)?;
    for wrong in [pair.entries, pair.entries + 1, 0xFFFF, 0xFFFF_FFFF] {
        event_after(controller, INVALID_VALUE, wrong, |_| {
            pair.sq_bell.misuse(wrong);
        })?;
        pair.sq_bell.repair();
        works(pair, controller.patience)?;
        counts.events += 1;
    }
    for wrong in [FEW - 1, FEW, 0xFFFF_FFFF] {
        wrong_head(controller, arena, wrong)?;
        works(pair, controller.patience)?;
        counts.events += 1;
    }
    counts.events += absent_queues(controller)?;
    counts.events += admin_queue(controller)?;
    works(pair, controller.patience)
}

/// Lets `wrong` happen and waits for its event; `value` is told when another one comes.
#[track_caller]
fn event_after(
    controller: &mut Controller,
    event: u64,
    value: u32,
    wrong: impl FnOnce(&mut Controller),
) -> Outcome {
    controller.ask_for_event();
    wrong(controller);
    let seen = controller.wait_event()?;
    equal_in(
        "asynchronous event of a wrong doorbell (detail: value)",
        event,
        seen,
        value.into(),
    )?;
    controller.read_error_log()
}

/// No event comes of what is right. The request stays and carries the first wrong one's event.
fn right_values_are_no_event(controller: &mut Controller, pair: &mut QueuePair) -> Outcome {
    controller.ask_for_event();
    for _ in 0..2 * pair.entries {
        works(pair, controller.patience)?;
    }
    pause(A_WHILE);
    that("no event without cause", !controller.event_came()?)?;
    // The event that it is spent on.
    pair.sq_bell.misuse(pair.entries);
    let event = controller.wait_event()?;
    pair.sq_bell.repair();
    equal_in("the first event", INVALID_VALUE, event, 0)?;
    controller.read_error_log()?;
    works(pair, controller.patience)
}

/// A completion queue head that is out of range or passes what was posted. A device that polls
/// heads looks at them when it needs the room: so more than half of the queue is left standing.
fn wrong_head(controller: &mut Controller, arena: &mut Arena, wrong: u32) -> Outcome {
    let patience = controller.patience;
    let mut small = polled_pair(controller, arena, 2, FEW)?;
    let standing = FEW / 2 + 1;
    for cid in 0..standing {
        small.put(&flush().cid(cid.to_le_bytes()[0].into()));
    }
    small.ring();
    for _ in 0..standing {
        patience.wait("a flush completes", || small.take_checked().transpose())??;
    }
    event_after(controller, INVALID_VALUE, wrong, |_| {
        small.cq_bell.misuse(wrong);
        small.put(&flush());
        small.ring();
    })?;
    small.release();
    patience.wait("a flush completes", || small.take_checked().transpose())??;
    small.release();
    for _ in 0..2 * FEW {
        works(&mut small, patience)?;
    }
    controller.delete_sq(&small)?;
    controller.delete_cq(&small)
}

/// Doorbell registers of queues that do not exist: the next ones, and the last ones of the page.
fn absent_queues(controller: &mut Controller) -> Outcome<u64> {
    let slots = [4, 5, 6, DOORBELL_BYTES / 4 - 2, DOORBELL_BYTES / 4 - 1];
    for slot in slots {
        let mut bell = controller.register_bell(slot);
        event_after(controller, INVALID_REGISTER, 1, |_| bell.misuse(1))?;
        if controller.mode == Mode::Mapped {
            bell.misuse(0);
        }
    }
    Ok(slots.len() as u64)
}

/// The admin queue's own doorbells.
fn admin_queue(controller: &mut Controller) -> Outcome<u64> {
    let mut events = 0;
    for wrong in [controller.admin.entries, 0xFFFF_FFFF] {
        controller.ask_for_event();
        // Where doorbells are memory, a wrong one would take the request's place before it is seen.
        controller.read_error_log()?;
        controller.admin.sq_bell.misuse(wrong);
        let event = controller.wait_event()?;
        controller.admin.sq_bell.repair();
        equal_in("event of a wrong admin tail", INVALID_VALUE, event, 0)?;
        controller.read_error_log()?;
        events += 1;
        if controller.mode == Mode::Mapped {
            // A head in memory is looked at only when its queue lacks room.
            continue;
        }
        controller.ask_for_event();
        controller.admin.cq_bell.misuse(wrong);
        let event = controller.wait_event()?;
        equal_in("event of a wrong admin head", INVALID_VALUE, event, 0)?;
        controller.read_error_log()?;
        events += 1;
    }
    Ok(events)
}

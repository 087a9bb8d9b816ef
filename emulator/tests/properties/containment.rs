// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a step may write: the buffers that outstanding commands name, the free entries of
//! completion queues, and the pages of shadow doorbells.

use crate::issue::{DOORBELL_BUFFERS, Expect, GET_FEATURES, GET_LOG_PAGE, IDENTIFY, READ};
use crate::medium::Deed;
use crate::memory::{Memory, Range, overlap};
use crate::queues::{Queues, Submission};

/// Chained lists that are followed at most: far more than the largest transfer has.
const MOST_LISTS: u32 = 64;
/// Blocks are of one of these sizes.
const BLOCK_SIZES: (u64, u64) = (512, 4096);

/// Why a range is named: the number of the command, and which reading of its PRP 2 it is.
type Reason = (usize, bool);

/// Ranges that commands name.
#[derive(Default)]
struct Named {
    /// Where data may be put.
    written: Vec<(Range, Reason)>,
    /// PRP lists that say where.
    lists: Vec<(Range, Reason)>,
    commands: usize,
}

/// The ranges, or `None` when a command may write to what decides about others.
pub fn allowed(queues: &Queues, memory: &Memory, page: u64) -> Option<Vec<Range>> {
    let mut named = Named::default();
    for sq in &queues.submission {
        name_commands(&mut named, sq, memory, page);
    }
    let protected = queues.protected();
    let harmful = |(range, reason): &(Range, Reason)| {
        let list_hit = |(list, other): &(Range, Reason)| {
            // PRP 2 is a page or a list, not both.
            let exclusive = reason.0 == other.0 && reason.1 != other.1;
            !exclusive && overlap(*range, *list)
        };
        let hit = |other: &Range| overlap(*range, *other);
        protected.iter().any(hit) || named.lists.iter().any(list_hit)
    };
    if named.written.iter().any(harmful) {
        return None;
    }
    let mut allowed: Vec<Range> = named.written.iter().map(|(range, _)| *range).collect();
    for cq in &queues.completion {
        cq.free(&mut allowed);
    }
    shadow(queues, &mut allowed);
    Some(allowed)
}

/// The slots of shadow doorbells and event indices.
pub fn shadow(queues: &Queues, into: &mut Vec<Range>) {
    let slots = 2 * 4 * (u64::from(crate::host::QUEUE_PAIRS) + 1);
    if let Some((doorbells, events)) = queues.shadow {
        into.extend([(doorbells, doorbells + slots), (events, events + slots)]);
    }
}

fn name_commands(named: &mut Named, sq: &Submission, memory: &Memory, page: u64) {
    for issued in &sq.issued {
        named.commands += 1;
        if issued.expect == Expect::Refused {
            continue;
        }
        if let Some(transfer) = &issued.transfer {
            if transfer.deed == Deed::Read {
                for &(address, length) in &transfer.pieces {
                    named.write((address, address + length as u64), false);
                }
            }
            continue;
        }
        let command = &issued.command;
        let (prp1, prp2) = (command.get_quad(6), command.get_quad(8));
        match (sq.id, command.opcode()) {
            (0, DOORBELL_BUFFERS) => {
                for base in [prp1, prp2] {
                    named.write((base, base.saturating_add(128)), false);
                }
            }
            (0, GET_LOG_PAGE) => {
                let dwords =
                    u64::from(command.halves(10).1) | u64::from(command.halves(11).0) << 16;
                let length = (dwords + 1) * 4;
                named.buffer(memory, page, (prp1, prp2), (length, length));
            }
            (0, IDENTIFY | GET_FEATURES) => {
                named.buffer(memory, page, (prp1, prp2), (8, 4096));
            }
            (1.., READ) => {
                let blocks = u64::from(command.halves(12).0) + 1;
                let length = (blocks * BLOCK_SIZES.0, blocks * BLOCK_SIZES.1);
                named.buffer(memory, page, (prp1, prp2), length);
            }
            _ => {}
        }
    }
}

impl Named {
    fn write(&mut self, range: Range, by_list: bool) {
        self.written.push((range, (self.commands, by_list)));
    }

    /// What the PRPs of a transfer of a length between these name.
    fn buffer(&mut self, memory: &Memory, page: u64, prps: (u64, u64), length: (u64, u64)) {
        let (prp1, prp2) = prps;
        if length.0 > crate::host::MAX_TRANSFER {
            return; // refused
        }
        let page_of = |address: u64| (address, (address | (page - 1)).saturating_add(1));
        let first = page_of(prp1);
        self.write(first, false);
        let in_first = first.1.saturating_sub(prp1);
        let rest = (
            length.0.saturating_sub(in_first),
            length.1.saturating_sub(in_first),
        );
        if rest.1 > 0 && rest.0 <= page {
            self.write(page_of(prp2), false);
        }
        if rest.1 > page {
            self.list(memory, page, prp2, rest.1);
        }
    }

    /// A PRP list for up to `most` bytes, and those chained to it.
    fn list(&mut self, memory: &Memory, page: u64, first: u64, most: u64) {
        let page_of = |address: u64| (address, (address | (page - 1)).saturating_add(1));
        let mut list = first;
        for _ in 0..MOST_LISTS {
            if !list.is_multiple_of(8) || memory.u64(list).is_none() {
                return;
            }
            let range = page_of(list);
            let reason = (self.commands, true);
            self.lists.push((range, reason));
            let wanted = most / page + 2;
            let mut last = 0;
            for at in (range.0..range.1)
                .step_by(8)
                .take(usize::try_from(wanted).unwrap())
            {
                let Some(entry) = memory.u64(at) else { return };
                last = entry;
                if memory.u64(entry & !7).is_some() {
                    self.write(page_of(entry), true);
                }
            }
            if wanted < (range.1 - range.0) / 8 {
                return;
            }
            list = last;
        }
    }
}

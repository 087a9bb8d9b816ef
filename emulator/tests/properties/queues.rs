// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queues as a driver keeps them, and every completion checked: it belongs to a command that is
//! outstanding on its submission queue, and it comes once.

use crate::issue::Issued;
use crate::memory::{Memory, Range};

/// A submission queue.
pub struct Submission {
    pub id: u16,
    pub base: u64,
    pub entries: u32,
    pub cqid: u16,
    /// The last tail that was rung.
    pub tail: u32,
    /// The last head that the device told.
    pub head: u32,
    pub issued: Vec<Issued>,
}

/// A completion queue.
pub struct Completion {
    pub id: u16,
    pub base: u64,
    pub entries: u32,
    /// The next entry that the device will write.
    pub seen: u32,
    pub phase: u8,
    /// The last head that was rung.
    pub head: u32,
}

/// A completion that was found.
pub struct Found {
    pub sqid: u16,
    pub status: (u8, u8),
    pub issued: Issued,
}

/// All queues, as far as is known.
#[derive(Default)]
pub struct Queues {
    pub submission: Vec<Submission>,
    pub completion: Vec<Completion>,
    /// Pages of shadow doorbells and event indices.
    pub shadow: Option<(u64, u64)>,
    /// Something made it impossible to tell what the device will do.
    pub spoiled: bool,
}

fn distance(from: u32, to: u32, entries: u32) -> u32 {
    (to + entries - from) % entries
}

impl Submission {
    pub fn range(&self) -> Range {
        (self.base, self.base + u64::from(self.entries) * 64)
    }

    /// How many more commands fit, whatever the device has fetched that it has not told.
    pub fn space(&self) -> u32 {
        self.entries - 1 - distance(self.head, self.tail, self.entries)
    }

    /// Where the entry `ahead` behind the tail is.
    pub fn slot(&self, ahead: u32) -> u64 {
        self.base + u64::from((self.tail + ahead) % self.entries) * 64
    }
}

impl Completion {
    pub fn range(&self) -> Range {
        (self.base, self.base + u64::from(self.entries) * 16)
    }

    /// Entries that the host has not given back.
    pub fn used(&self) -> u32 {
        distance(self.head, self.seen, self.entries)
    }

    /// Where the device may write: entries that it has not filled or that were given back.
    pub fn free(&self, into: &mut Vec<Range>) {
        for ahead in 0..self.entries - 1 - self.used() {
            let at = self.base + u64::from((self.seen + ahead) % self.entries) * 16;
            into.push((at, at + 16));
        }
    }

    /// Whether the device takes this head.
    pub fn can_be_head(&self, head: u32) -> bool {
        head < self.entries && distance(self.head, head, self.entries) <= self.used()
    }
}

impl Queues {
    pub fn sq(&mut self, id: u16) -> Option<&mut Submission> {
        self.submission.iter_mut().find(|sq| sq.id == id)
    }

    pub fn cq(&mut self, id: u16) -> Option<&mut Completion> {
        self.completion.iter_mut().find(|cq| cq.id == id)
    }

    /// The next completion of a queue that was not seen before.
    pub fn next_completion(&mut self, cqid: u16, memory: &Memory) -> Option<Found> {
        let Self {
            submission,
            completion,
            ..
        } = self;
        let cq = completion.iter_mut().find(|cq| cq.id == cqid)?;
        if cq.used() == cq.entries - 1 {
            return None;
        }
        let entry = memory.at(cq.base + u64::from(cq.seen) * 16, 16).unwrap();
        if entry[14] & 1 != cq.phase {
            return None;
        }
        let word = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let (head, sqid, cid, field) = (word(8), word(10), word(12), word(14) >> 1);
        cq.seen += 1;
        if cq.seen == cq.entries {
            (cq.seen, cq.phase) = (0, cq.phase ^ 1);
        }
        let sq = submission.iter_mut().find(|sq| sq.id == sqid);
        let sq = sq.unwrap_or_else(|| panic!("completion for queue {sqid}, which does not exist"));
        assert_eq!(sq.cqid, cqid, "completion of queue {sqid} on another queue");
        assert!(
            u32::from(head) < sq.entries,
            "SQ head {head} of queue {sqid}"
        );
        let moved = distance(sq.head, head.into(), sq.entries);
        let rung = distance(sq.head, sq.tail, sq.entries);
        assert!(
            moved <= rung,
            "SQ head {head} of queue {sqid} has passed the tail"
        );
        sq.head = head.into();
        let at = sq.issued.iter().position(|issued| issued.cid() == cid);
        let at = at.unwrap_or_else(|| {
            panic!("completion of command {cid} on queue {sqid}, which is not outstanding")
        });
        let [code, kind] = field.to_le_bytes();
        Some(Found {
            sqid,
            status: (kind & 7, code),
            issued: sq.issued.remove(at),
        })
    }

    /// Whether all completion queue entries from the first one on say "not yet".
    pub fn is_clear(memory: &Memory, base: u64, entries: u32) -> bool {
        let bytes = memory.at(base, entries as usize * 16);
        bytes.is_some_and(|bytes| bytes.chunks(16).all(|entry| entry[14] & 1 == 0))
    }

    /// Memory that makes the device do things: nobody may write there behind the model's back.
    pub fn protected(&self) -> Vec<Range> {
        let sqs = self.submission.iter().map(Submission::range);
        let cqs = self.completion.iter().map(Completion::range);
        let shadow = self
            .shadow
            .into_iter()
            .flat_map(|(doorbells, events)| [doorbells, events].map(|page| (page, page + 128)));
        sqs.chain(cqs).chain(shadow).collect()
    }
}

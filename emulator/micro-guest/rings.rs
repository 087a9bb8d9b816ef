// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queue pairs: the driver's end.

use core::sync::atomic::Ordering;

use crate::check::{Outcome, equal_in, that};
use crate::command::{Command, Completion, low16};
use crate::doorbell::Bell;
use crate::memory::{Arena, Region};

/// The memory of a queue pair.
#[derive(Clone, Copy)]
pub struct QueueMemory {
    /// Submission queue.
    pub sq: Region,
    /// Completion queue.
    pub cq: Region,
}

impl QueueMemory {
    /// Room for queues of `entries`.
    pub fn new(arena: &mut Arena, entries: u32) -> Self {
        Self {
            sq: arena.bytes(64 * u64::from(entries)),
            cq: arena.bytes(16 * u64::from(entries)),
        }
    }
}

/// A submission queue and its completion queue.
#[derive(Clone, Copy)]
pub struct QueuePair {
    /// Identifier of both.
    pub id: u16,
    /// Entries of both.
    pub entries: u32,
    memory: QueueMemory,
    /// Where the next command goes.
    tail: u32,
    /// The device has fetched the commands up to here, as far as completions tell.
    sq_head: u32,
    /// Where the next completion comes.
    head: u32,
    phase: u32,
    /// The submission queue's doorbell.
    pub sq_bell: Bell,
    /// The completion queue's doorbell.
    pub cq_bell: Bell,
}

impl QueuePair {
    /// A pair that the device knows nothing of yet. All completions in its memory are made to look
    /// old.
    pub fn new(id: u16, entries: u32, memory: QueueMemory, bells: [Bell; 2]) -> Self {
        memory.cq.fill(0);
        Self {
            id,
            entries,
            memory,
            tail: 0,
            sq_head: 0,
            head: 0,
            phase: 1,
            sq_bell: bells[0],
            cq_bell: bells[1],
        }
    }

    /// Its memory.
    pub fn memory(&self) -> QueueMemory {
        self.memory
    }

    /// Commands that fit before a completion frees a place. A full queue has one place unused.
    pub fn room(&self) -> u32 {
        self.entries - 1 - distance(self.sq_head, self.tail, self.entries)
    }

    /// Index of the next command.
    pub fn tail(&self) -> u32 {
        self.tail
    }

    /// Writes a command without ringing. There must be room.
    #[inline]
    pub fn put(&mut self, command: &Command) {
        let at = 64 * u64::from(self.tail);
        for (index, word) in (0..8).zip(command.0) {
            self.memory.sq.store64(at + 8 * index, word);
        }
        self.tail = next(self.tail, self.entries);
    }

    /// Tells the device of the commands put so far.
    #[inline]
    pub fn ring(&mut self) {
        self.sq_bell.ring(self.tail);
    }

    /// Takes the next completion if it is there, without telling the device.
    #[inline]
    pub fn take(&mut self) -> Option<Completion> {
        let at = 16 * u64::from(self.head);
        let last = u32::from_le(self.memory.cq.atomic32(at + 12).load(Ordering::Acquire));
        if last >> 16 & 1 != self.phase {
            return None;
        }
        let dword2 = self.memory.cq.load32(at + 8);
        let completion = Completion {
            result: self.memory.cq.load32(at),
            sq_head: low16(dword2.into()),
            sq_id: low16(u64::from(dword2 >> 16)),
            cid: low16(last.into()),
            status: low16(u64::from(last >> 17)) & 0x7FF,
        };
        self.head = next(self.head, self.entries);
        if self.head == 0 {
            self.phase ^= 1;
        }
        self.sq_head = completion.sq_head.into();
        Some(completion)
    }

    /// Tells the device of the completions taken so far.
    #[inline]
    pub fn release(&mut self) {
        self.cq_bell.ring(self.head);
    }

    /// Takes the next completion and checks what every completion of this pair must hold: its queue,
    /// and a submission queue head that moves on over commands that were there.
    pub fn take_checked(&mut self) -> Outcome<Option<Completion>> {
        let before = self.sq_head;
        let Some(completion) = self.take() else {
            return Ok(None);
        };
        let (id, head) = (u64::from(self.id), u32::from(completion.sq_head));
        equal_in(
            "SQID of a completion (detail: CID)",
            id,
            completion.sq_id.into(),
            completion.cid.into(),
        )?;
        let fetched = distance(before, head, self.entries);
        let there = distance(before, self.tail, self.entries);
        that(
            "SQHD of a completion is an index between the last one and the tail",
            head < self.entries && fetched <= there,
        )?;
        Ok(Some(completion))
    }

    /// Whether the place of the next completion holds one. Nothing is taken.
    pub fn has_completion(&self) -> bool {
        let at = 16 * u64::from(self.head);
        self.memory.cq.load32(at + 12) >> 16 & 1 == self.phase
    }

    /// Registers that both doorbells have written.
    pub fn registers_written(&self) -> u64 {
        self.sq_bell.registers_written + self.cq_bell.registers_written
    }
}

#[inline]
fn next(index: u32, entries: u32) -> u32 {
    if index + 1 == entries { 0 } else { index + 1 }
}

/// How far `to` is ahead of `from`.
fn distance(from: u32, to: u32, entries: u32) -> u32 {
    if to >= from {
        to - from
    } else {
        to + entries - from
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads and writes of random places and sizes, several in flight on one or more queues, each
//! checked when it completes: it was asked for, it completes once, its data are right.

use crate::check::{Failure, Outcome, equal_in};
use crate::clock::{Patience, ticks};
use crate::command::{
    ABORTED_SQ_DELETION, Completion, READ, SUCCESS, WRITE, transfer as transfer_command,
};
use crate::layout::Counts;
use crate::memory::{Arena, PAGE};
use crate::model::Model;
use crate::random::Random;
use crate::rings::QueuePair;
use crate::transfer::{Buffer, Shape, Transfer};

/// Commands in flight, at most, on all queues together.
pub const SLOTS: usize = 32;

/// A command in flight.
#[derive(Clone, Copy)]
struct Flight {
    queue: u16,
    cid: u16,
    /// The generation that it writes; 0 for a read.
    generation: u32,
    lba: u64,
    blocks: u64,
    transfer: Transfer,
}

/// The commands in flight and what the medium must hold.
pub struct Workload {
    /// What the medium must hold.
    pub model: Model,
    /// What was done.
    pub counts: Counts,
    /// Places, sizes and more are drawn from this.
    pub random: Random,
    buffers: [Option<Buffer>; SLOTS],
    flights: [Option<Flight>; SLOTS],
    max_transfer: u64,
    /// The upper half of all identifiers: another one in each life of the controller.
    life: u8,
    /// A queue whose commands may be aborted, since it is being deleted.
    closing: Option<u16>,
}

impl Workload {
    /// A workload of up to `depth` commands (as many as there is memory for, at least one) on a
    /// blank medium.
    pub fn new(
        arena: &mut Arena,
        model: Model,
        depth: u64,
        max_transfer: u64,
        random: Random,
    ) -> Self {
        let mut buffers = [None; SLOTS];
        let max_transfer = max_transfer.min(model.blocks() * model.block_bytes());
        for (number, buffer) in (0..depth).zip(&mut buffers) {
            if number == 0 || arena.left() > Buffer::size(max_transfer) {
                *buffer = Some(Buffer::new(arena, max_transfer));
            }
        }
        Self {
            model,
            counts: Counts::default(),
            random,
            buffers,
            flights: [None; SLOTS],
            max_transfer,
            life: 0,
            closing: None,
        }
    }

    /// Commands in flight on a queue.
    pub fn in_flight(&self, queue: u16) -> u64 {
        let flights = self.flights.iter().flatten();
        flights.filter(|flight| flight.queue == queue).count() as u64
    }

    /// The controller begins a new life: identifiers differ from those of the last one.
    pub fn begin_life(&mut self) {
        self.life = self.life.wrapping_add(1);
    }

    /// From now on commands of this queue may be aborted.
    pub fn close(&mut self, queue: Option<u16>) {
        self.closing = queue;
    }

    /// Commands in flight on this queue, or on all, are lost. Gives their number.
    pub fn forget(&mut self, queue: Option<u16>) -> u64 {
        let mut lost = 0;
        for slot in 0..SLOTS {
            let Some(flight) = self.flights[slot] else {
                continue;
            };
            if queue.is_none_or(|queue| queue == flight.queue) {
                self.lose(&flight);
                self.flights[slot] = None;
                lost += 1;
            }
        }
        lost
    }

    fn lose(&self, flight: &Flight) {
        if flight.generation != 0 {
            self.model
                .lost(flight.lba, flight.blocks, flight.generation);
        }
        self.model.vacate(flight.lba, flight.blocks);
    }

    /// Blocks of a command to be.
    fn draw_blocks(&mut self) -> u64 {
        let block = self.model.block_bytes();
        let most = match self.random.below(8) {
            0 | 1 => block,
            2 | 3 => PAGE,
            4 | 5 => 8 * PAGE,
            6 => 32 * PAGE,
            _ => return self.max_transfer / block,
        };
        1 + self
            .random
            .below((most.min(self.max_transfer) / block).max(1))
    }

    /// Puts a read or write into the queue, without ringing. Returns false when there is no room or
    /// no free place was found.
    pub fn put(&mut self, pair: &mut QueuePair) -> Outcome<bool> {
        let blocks = self.draw_blocks();
        let lba = self.model.first() + self.random.below(self.model.blocks() - blocks + 1);
        let read = self.random.below(2) == 0;
        self.put_at(pair, lba, blocks, read)
    }

    /// As [`Workload::put`], at a given place. A write where the medium is not certain becomes a
    /// read.
    pub fn put_at(
        &mut self,
        pair: &mut QueuePair,
        lba: u64,
        blocks: u64,
        read: bool,
    ) -> Outcome<bool> {
        let free = self.flights.iter().zip(&self.buffers);
        let slot = (0u8..)
            .zip(free)
            .find(|(_, (flight, buffer))| flight.is_none() && buffer.is_some());
        let Some((slot, (_, Some(buffer)))) = slot else {
            return Ok(false);
        };
        let buffer = *buffer;
        if pair.room() == 0 || !self.model.is_free(lba, blocks) {
            return Ok(false);
        }
        let read = read || !self.model.is_certain(lba, blocks);
        let bytes = blocks * self.model.block_bytes();
        let transfer = Transfer::draw(buffer, bytes, &mut self.random);
        let generation = if read {
            transfer.poison()?;
            0
        } else {
            let generation = self.model.next_generation();
            self.model.fill(&transfer, lba, generation)?;
            generation
        };
        let (prp1, prp2, shape) = transfer.prps();
        self.note(&transfer, shape);
        self.model.occupy(lba, blocks);
        let cid = u16::from_le_bytes([slot, self.life]);
        let opcode = if read { READ } else { WRITE };
        pair.put(
            &transfer_command(opcode, lba, blocks)
                .prp(prp1, prp2)
                .cid(cid),
        );
        self.flights[usize::from(slot)] = Some(Flight {
            queue: pair.id,
            cid,
            generation,
            lba,
            blocks,
            transfer,
        });
        Ok(true)
    }

    fn note(&mut self, transfer: &Transfer, shape: Shape) {
        let counts = &mut self.counts;
        match shape {
            Shape::OnePage => counts.one_page += 1,
            Shape::TwoPages => counts.two_pages += 1,
            Shape::List => counts.lists += 1,
            Shape::Chain => counts.chains += 1,
        }
        counts.longest = counts.longest.max(transfer.bytes);
        let flights = self.flights.iter().flatten().count() as u64 + 1;
        counts.deepest = counts.deepest.max(flights);
    }

    /// Takes the completions that are there. Gives their number.
    ///
    /// # Errors
    /// One is not as it must be.
    pub fn reap(&mut self, pair: &mut QueuePair) -> Outcome<u64> {
        let mut count = 0;
        while let Some(completion) = pair.take_checked()? {
            self.complete(pair.id, &completion)?;
            count += 1;
        }
        if count > 0 {
            pair.release();
        }
        Ok(count)
    }

    fn complete(&mut self, queue: u16, completion: &Completion) -> Outcome {
        let cid = completion.cid;
        let slot = usize::from(cid & 0xFF);
        let flight = self.flights.get_mut(slot).and_then(Option::take);
        let flight = flight.filter(|flight| flight.cid == cid && flight.queue == queue);
        let Some(flight) = flight else {
            let message = "a completion belongs to a command in flight (seen: CID, detail: queue)";
            let life = u64::from(self.life) << 8;
            return Err(Failure::new(message, life, cid.into()).with(queue.into()));
        };
        if completion.status == ABORTED_SQ_DELETION && self.closing == Some(queue) {
            self.lose(&flight);
            self.counts.lost_in_deletion += 1;
            return Ok(());
        }
        equal_in(
            "status of a read or write (detail: CID)",
            SUCCESS.into(),
            completion.status.into(),
            cid.into(),
        )?;
        if flight.generation == 0 {
            self.model.check(&flight.transfer, flight.lba)?;
            flight.transfer.check_guards(flight.lba)?;
            self.counts.blocks_checked += flight.blocks;
        } else {
            self.model
                .written(flight.lba, flight.blocks, flight.generation);
            self.counts.blocks_written += flight.blocks;
        }
        self.model.vacate(flight.lba, flight.blocks);
        self.counts.commands += 1;
        Ok(())
    }

    /// Keeps up to `depth` commands in flight until `commands` have completed; some may be left in
    /// flight then.
    ///
    /// # Errors
    /// As [`Workload::reap`]; none completes for longer than the patience.
    pub fn run(
        &mut self,
        pair: &mut QueuePair,
        depth: u64,
        commands: u64,
        patience: Patience,
    ) -> Outcome {
        let (mut completed, mut since) = (0, ticks());
        while completed < commands {
            let mut put = false;
            while self.in_flight(pair.id) < depth && self.put(pair)? {
                put = true;
                if self.random.once_in(4) {
                    break;
                }
            }
            if put {
                pair.ring();
            }
            let count = self.reap(pair)?;
            completed += count;
            since = self.keep_waiting(since, count, patience)?;
        }
        Ok(())
    }

    /// Waits until nothing is in flight on the queue.
    ///
    /// # Errors
    /// As [`Workload::run`].
    pub fn drain(&mut self, pair: &mut QueuePair, patience: Patience) -> Outcome {
        let mut since = ticks();
        while self.in_flight(pair.id) > 0 {
            let count = self.reap(pair)?;
            since = self.keep_waiting(since, count, patience)?;
        }
        Ok(())
    }

    fn keep_waiting(&self, since: u64, count: u64, patience: Patience) -> Outcome<u64> {
        let now = ticks();
        if count > 0 {
            return Ok(now);
        }
        if now.wrapping_sub(since) > patience.0 {
            let flights = self.flights.iter().flatten().count() as u64;
            let message = "an I/O command completes (seen: commands in flight)";
            return Err(Failure::new(message, 0, flights).with(now.wrapping_sub(since)));
        }
        core::hint::spin_loop();
        Ok(since)
    }

    /// Reads and checks every block, with transfers as long as possible.
    ///
    /// # Errors
    /// As [`Workload::run`].
    pub fn sweep(&mut self, pair: &mut QueuePair, patience: Patience) -> Outcome {
        let longest = self.max_transfer / self.model.block_bytes();
        let end = self.model.first() + self.model.blocks();
        let (mut lba, mut since) = (self.model.first(), ticks());
        while lba < end {
            let blocks = longest.min(end - lba);
            if self.put_at(pair, lba, blocks, true)? {
                pair.ring();
                lba += blocks;
            } else {
                let count = self.reap(pair)?;
                since = self.keep_waiting(since, count, patience)?;
            }
        }
        self.drain(pair, patience)
    }
}

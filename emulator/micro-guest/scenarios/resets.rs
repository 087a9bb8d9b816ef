// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Resets of the controller, and queues made and deleted, while commands are in flight: none
//! completes twice, none of an earlier life comes back, the data stay right.

use super::ready;
use crate::check::{Failure, Outcome, at_least};
use crate::clock::pause;
use crate::controller::{Controller, queue_id};
use crate::layout::Parameters;
use crate::memory::Region;
use crate::model::Model;
use crate::random::Random;
use crate::report::Report;
use crate::rings::{QueueMemory, QueuePair};
use crate::workload::{SLOTS, Workload};

/// Blocks that the commands go to: few, so that reads find what was written.
const BLOCKS: u64 = 4096;
/// Longest transfer in bytes, so that a life has many commands.
const LONGEST: u64 = 32 << 10;
/// Queue pairs in use, at most.
const PAIRS: u64 = 3;
/// What a completion queue holds that nobody may write to.
const POISON: u64 = 0x5A5A_5A5A_5A5A_5A5A;
/// Longest wait before a reset in ticks: some commands have begun then, some not.
const LONGEST_WAIT: u64 = 40_000;

/// Memory of the queues, twice: one life's is watched during the next.
struct Memories {
    sets: [[QueueMemory; PAIRS as usize]; 2],
    /// Which of them hold poison.
    poisoned: [bool; 2],
}

impl Memories {
    fn poison(&mut self, set: usize) {
        for memory in &self.sets[set] {
            memory.cq.fill(POISON);
        }
        self.poisoned[set] = true;
    }

    /// Nothing was written to the completion queues of an earlier life.
    fn check(&mut self, set: usize) -> Outcome {
        if core::mem::take(&mut self.poisoned[set]) {
            for memory in &self.sets[set] {
                check_poison(memory.cq)?;
            }
        }
        Ok(())
    }
}

fn check_poison(cq: Region) -> Outcome {
    let message = "a completion queue that is gone is left alone (detail: offset)";
    match cq.differs(POISON) {
        None => Ok(()),
        Some((offset, word)) => Err(Failure::new(message, POISON, word).with(offset)),
    }
}

/// The scenario.
pub fn run(report: Report, parameters: &Parameters) -> Outcome {
    let (mut controller, mut arena) = ready(parameters)?;
    let entries = controller.entries_for(parameters.depth)?;
    let blocks = parameters.blocks.min(BLOCKS);
    let seed = parameters.seed;
    let model = Model::new(&mut arena, 0, blocks, parameters.block_bytes, seed);
    let longest = controller.identity.max_transfer.min(LONGEST);
    let set = || [(); PAIRS as usize].map(|()| ());
    let mut memories = Memories {
        sets: [set(), set()].map(|set| set.map(|()| QueueMemory::new(&mut arena, entries))),
        poisoned: [false; 2],
    };
    let random = Random::new(seed, 4);
    let mut workload = Workload::new(&mut arena, model, SLOTS as u64, longest, random);
    controller.disable()?;
    let mut scenario = Scenario {
        report,
        parameters,
        entries,
        controller,
        memories: &mut memories,
    };
    let outcome = scenario.run(&mut workload);
    report.counts(&workload.counts);
    outcome?;
    if parameters.resets >= 16 {
        at_least(
            "commands in flight at resets",
            1,
            workload.counts.lost_in_reset,
        )?;
    }
    Ok(())
}

struct Scenario<'a> {
    report: Report,
    parameters: &'a Parameters,
    entries: u32,
    controller: Controller,
    memories: &'a mut Memories,
}

impl Scenario<'_> {
    fn run(&mut self, workload: &mut Workload) -> Outcome {
        for life in 0..self.parameters.resets {
            let set = usize::from(life % 2 == 1);
            self.live(workload, set)?;
            self.report.progress();
        }
        self.begin(workload)?;
        for set in 0..2 {
            self.memories.check(set)?;
        }
        self.delete_queues(workload)?;
        self.controller.disable()?;
        for set in 0..2 {
            self.memories.poison(set);
        }
        pause(LONGEST_WAIT);
        self.memories.check(0)?;
        self.memories.check(1)
    }

    fn begin(&mut self, workload: &mut Workload) -> Outcome {
        workload.begin_life();
        self.controller.enable()?;
        self.controller.prepare_queues(self.parameters)
    }

    fn create(&mut self, number: usize, set: usize) -> Outcome<QueuePair> {
        let memory = self.memories.sets[set][number];
        let id = queue_id(number as u64 + 1);
        self.controller.create_queue(id, self.entries, memory, None)
    }

    /// From enable to the reset that ends it.
    fn live(&mut self, workload: &mut Workload, set: usize) -> Outcome {
        let depth = self.parameters.depth.min(SLOTS as u64 / PAIRS).max(1);
        let patience = self.controller.patience;
        self.begin(workload)?;
        self.memories.check(set)?;
        let count = 1 + workload
            .random
            .below(self.parameters.queue_pairs.min(PAIRS));
        let mut pairs = [None; PAIRS as usize];
        for (number, pair) in (0..).zip(pairs.iter_mut()).take(small(count)) {
            *pair = Some(self.create(number, set)?);
        }
        for pair in pairs.iter_mut().flatten() {
            let commands = 1 + workload.random.below(self.parameters.commands);
            let depth = 1 + workload.random.below(depth);
            workload.run(pair, depth, commands, patience)?;
        }
        // Whatever is still in flight, and some more, is there when the reset comes.
        for pair in pairs.iter_mut().flatten() {
            let wanted = workload.random.below(depth + 1);
            fill(workload, pair, wanted)?;
        }
        pause(workload.random.below(LONGEST_WAIT));
        self.controller.disable()?;
        workload.counts.lost_in_reset += workload.forget(None);
        workload.counts.resets += 1;
        for pair in pairs.iter().flatten() {
            workload.counts.doorbell_registers += pair.registers_written();
        }
        self.memories.poison(set);
        Ok(())
    }

    /// One queue works all the time while others come and go.
    fn delete_queues(&mut self, workload: &mut Workload) -> Outcome {
        let depth = self.parameters.depth.min(SLOTS as u64 / 2).max(1);
        let patience = self.controller.patience;
        let mut steady = self.create(0, 0)?;
        for round in 0..self.parameters.queue_rounds {
            let set = usize::from(round % 2 == 1);
            let mut passing = self.create(1, set)?;
            for pair in [&mut steady, &mut passing] {
                let commands = 1 + workload.random.below(self.parameters.commands);
                workload.run(pair, depth, commands, patience)?;
            }
            let wanted = workload.random.below(depth + 1);
            fill(workload, &mut passing, wanted)?;
            fill(workload, &mut steady, depth)?;
            pause(workload.random.below(LONGEST_WAIT));
            workload.close(Some(passing.id));
            self.controller.delete_sq(&passing)?;
            // Every completion that will ever come is there by now.
            workload.reap(&mut passing)?;
            workload.counts.lost_in_deletion += workload.forget(Some(passing.id));
            workload.close(None);
            self.controller.delete_cq(&passing)?;
            let gone = passing.memory().cq;
            gone.fill(POISON);
            workload.run(&mut steady, depth, 1, patience)?;
            check_poison(gone)?;
            workload.counts.queue_rounds += 1;
            self.report.progress();
        }
        workload.drain(&mut steady, patience)?;
        workload.sweep(&mut steady, patience)?;
        self.controller.delete_sq(&steady)?;
        self.controller.delete_cq(&steady)
    }
}

/// Puts commands until `wanted` are in flight on the queue, and rings.
fn fill(workload: &mut Workload, pair: &mut QueuePair, wanted: u64) -> Outcome {
    while workload.in_flight(pair.id) < wanted && workload.put(pair)? {}
    pair.ring();
    Ok(())
}

fn small(number: u64) -> usize {
    usize::from(number.to_le_bytes()[0])
}

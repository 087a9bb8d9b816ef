// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads and writes of all sizes and shapes, several in flight, with data check; on each vCPU a
//! queue of its own.

use super::{polled_pair, ready};
use crate::check::{Outcome, at_least, equal};
use crate::controller::{Controller, queue_id};
use crate::layout::{DOORBELLS_SHADOW, Parameters};
use crate::memory::Arena;
use crate::model::Model;
use crate::random::Random;
use crate::report::Report;
use crate::team::{self, Task};
use crate::workload::{SLOTS, Workload};

/// Commands between two notes of progress.
const STRETCH: u64 = 128;

/// The scenario, on vCPU 0.
pub fn run(report: Report, parameters: &Parameters) -> Outcome {
    let (mut controller, mut arena) = ready(parameters)?;
    let entries = controller.entries_for(parameters.depth)?;
    let own = share_out(&mut controller, &mut arena, parameters, entries)?;
    work(report, 0, parameters, own)?;
    team::wait_for_others(parameters.vcpus, controller.patience)?;
    controller.shut_down()?;
    controller.disable()
}

/// Makes a queue pair for each vCPU and divides memory and namespace among them; gives vCPU 0's.
pub fn share_out(
    controller: &mut Controller,
    arena: &mut Arena,
    parameters: &Parameters,
    entries: u32,
) -> Outcome<Task> {
    let mut pairs = [None; 16];
    for (number, pair) in (0..parameters.vcpus).zip(&mut pairs) {
        *pair = Some(polled_pair(
            controller,
            arena,
            queue_id(number + 1),
            entries,
        )?);
    }
    let blocks = parameters.blocks / parameters.vcpus;
    let memory = arena.left() / parameters.vcpus;
    let task = |number: u64, pair, arena: &mut Arena| Task {
        pair,
        arena: arena.split(memory),
        max_transfer: controller.identity.max_transfer,
        blocks: (number * blocks, blocks),
        patience: controller.patience,
    };
    let mut tasks = (0..).zip(pairs.into_iter().flatten());
    let Some((number, pair)) = tasks.next() else {
        unreachable!("there is at least one vCPU");
    };
    let own = task(number, pair, arena);
    let none = core::iter::once(None);
    team::hand_out(none.chain(tasks.map(|(number, pair)| Some(task(number, pair, arena)))));
    Ok(own)
}

/// One vCPU's part.
pub fn work(report: Report, vcpu: u64, parameters: &Parameters, mut task: Task) -> Outcome {
    let seed = parameters.seed;
    let (first, blocks) = task.blocks;
    let arena = &mut task.arena;
    let model = Model::new(arena, first, blocks, parameters.block_bytes, seed);
    let random = Random::new(seed, vcpu);
    let depth = parameters.depth.min(SLOTS as u64);
    let mut workload = Workload::new(arena, model, depth, task.max_transfer, random);
    let outcome = exercise(report, parameters, &mut task, &mut workload);
    workload.counts.doorbell_registers = task.pair.registers_written();
    report.counts(&workload.counts);
    outcome?;
    check_coverage(parameters, &task, &workload)
}

fn exercise(
    report: Report,
    parameters: &Parameters,
    task: &mut Task,
    workload: &mut Workload,
) -> Outcome {
    let depth = parameters.depth.min(SLOTS as u64);
    while workload.counts.commands < parameters.commands {
        let left = parameters.commands - workload.counts.commands;
        workload.run(&mut task.pair, depth, left.min(STRETCH), task.patience)?;
        report.progress();
    }
    workload.drain(&mut task.pair, task.patience)?;
    let before = workload.counts.blocks_checked;
    workload.sweep(&mut task.pair, task.patience)?;
    equal(
        "blocks that the last look at all of them has compared",
        task.blocks.1,
        workload.counts.blocks_checked - before,
    )
}

/// That the scenario did what it is for.
fn check_coverage(parameters: &Parameters, task: &Task, workload: &Workload) -> Outcome {
    let counts = &workload.counts;
    at_least("transfers with PRP1 alone", 1, counts.one_page)?;
    at_least("transfers with two pages", 1, counts.two_pages)?;
    at_least("transfers with a PRP list", 1, counts.lists)?;
    at_least("transfers with chained PRP lists", 1, counts.chains)?;
    at_least(
        "longest transfer",
        task.max_transfer
            .min(task.blocks.1 * parameters.block_bytes),
        counts.longest,
    )?;
    at_least("commands in flight at once", 2, counts.deepest)?;
    at_least("blocks written", 1, counts.blocks_written)?;
    if parameters.doorbells != DOORBELLS_SHADOW {
        // One for the commands and one for the completions, at least once in a queue's length.
        at_least("doorbell registers written", 2, counts.doorbell_registers)?;
    }
    Ok(())
}

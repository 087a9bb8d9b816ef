// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest can be told to do.

mod bench;
mod bring_up;
mod data;
mod endings;
mod garbage;
mod hostile;
mod msix;
mod resets;

use crate::check::{Failure, Outcome, equal_in};
use crate::clock::Patience;
use crate::command::{Command, Completion, SUCCESS, flush};
use crate::controller::Controller;
use crate::layout::{
    Parameters, SCENARIO_BENCH, SCENARIO_BRING_UP, SCENARIO_DATA, SCENARIO_GARBAGE,
    SCENARIO_HOSTILE, SCENARIO_MSIX, SCENARIO_NOBODY, SCENARIO_RESETS, SCENARIO_SPIN,
    SCENARIO_TRIPLE_FAULT,
};
use crate::memory::Arena;
use crate::report::Report;
use crate::rings::{QueueMemory, QueuePair};
use crate::team;

/// Runs this vCPU's part of the scenario, and ends.
pub fn run(vcpu: u64, parameters: &Parameters) -> ! {
    let report = Report::new(vcpu);
    if vcpu != 0 {
        report.unused();
        let Some(task) = team::wait_for_task(vcpu) else {
            report.park();
        };
        let outcome = match parameters.scenario {
            SCENARIO_BENCH => bench::work(report, vcpu, parameters, task),
            _ => data::work(report, vcpu, parameters, task),
        };
        report.verdict(outcome);
        team::done();
        report.park();
    }
    let outcome = match parameters.scenario {
        SCENARIO_BRING_UP => bring_up::run(report, parameters),
        SCENARIO_DATA => data::run(report, parameters),
        SCENARIO_MSIX => msix::run(report, parameters),
        SCENARIO_RESETS => resets::run(report, parameters),
        SCENARIO_HOSTILE => hostile::run(report, parameters),
        SCENARIO_GARBAGE => garbage::run(report, parameters),
        SCENARIO_SPIN => endings::spin(report),
        SCENARIO_TRIPLE_FAULT => endings::triple_fault(report),
        SCENARIO_NOBODY => endings::nobody(report),
        SCENARIO_BENCH => bench::run(report, parameters),
        other => Err(Failure::new("a scenario that there is", 1, other)),
    };
    team::dismiss();
    report.verdict(outcome);
    report.end()
}

/// The controller, ready, with memory to go on.
fn ready(parameters: &Parameters) -> Outcome<(Controller, Arena)> {
    let mut arena = Arena::new(parameters);
    let mut controller = Controller::find(parameters, &mut arena)?;
    controller.bring_up(parameters)?;
    Ok((controller, arena))
}

/// A queue pair that is polled.
fn polled_pair(
    controller: &mut Controller,
    arena: &mut Arena,
    id: u16,
    entries: u32,
) -> Outcome<QueuePair> {
    let memory = QueueMemory::new(arena, entries);
    controller.create_queue(id, entries, memory, None)
}

/// Executes one command on a queue where none is in flight.
///
/// # Errors
/// It does not complete, or not under its own identifier.
fn execute(pair: &mut QueuePair, command: Command, patience: Patience) -> Outcome<Completion> {
    let cid = 0x5100 | u16::from(pair.tail().to_le_bytes()[0]);
    pair.put(&command.cid(cid));
    pair.ring();
    let completion = patience.wait("an I/O command completes", || {
        pair.take_checked().transpose()
    })??;
    pair.release();
    equal_in(
        "CID of a completion (detail: queue)",
        cid.into(),
        completion.cid.into(),
        pair.id.into(),
    )?;
    Ok(completion)
}

/// That the queue works: a flush succeeds.
#[track_caller]
fn works(pair: &mut QueuePair, patience: Patience) -> Outcome {
    expect(pair, flush(), SUCCESS, patience)
}

/// That `command` completes with `status`.
#[track_caller]
fn expect(pair: &mut QueuePair, command: Command, status: u16, patience: Patience) -> Outcome {
    let completion = execute(pair, command, patience)?;
    equal_in(
        "status of a command (detail: PRP1)",
        status.into(),
        completion.status.into(),
        command.0[3],
    )
}

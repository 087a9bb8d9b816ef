// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The controller comes up, tells who it is, makes queues that work, and goes down.

use super::{execute, polled_pair, ready, works};
use crate::check::{Outcome, equal};
use crate::command::{Command, FLUSH, SUCCESS};
use crate::controller::{CSTS, CSTS_RDY, queue_id};
use crate::layout::{Counts, Parameters};
use crate::report::Report;

/// Entries of the smallest queue made: its indices wrap soon.
const FEW: u32 = 4;

/// The scenario.
pub fn run(report: Report, parameters: &Parameters) -> Outcome {
    let (mut controller, mut arena) = ready(parameters)?;
    let patience = controller.patience;
    let mut counts = Counts::default();
    let largest = controller.entries_for(parameters.depth)?;
    for number in 1..=parameters.queue_pairs {
        // Small and large queues in turn.
        let entries = if number % 2 == 1 { FEW } else { largest };
        let mut pair = polled_pair(&mut controller, &mut arena, queue_id(number), entries)?;
        // Three times round the small one: the phase tag turns.
        for _ in 0..3 * FEW {
            works(&mut pair, patience)?;
            counts.commands += 1;
        }
        let nothing = Command::new(FLUSH).nsid(0xFFFF_FFFF);
        let completion = execute(&mut pair, nothing, patience)?;
        equal(
            "status of a flush of all namespaces",
            SUCCESS.into(),
            completion.status.into(),
        )?;
        controller.delete_sq(&pair)?;
        controller.delete_cq(&pair)?;
        controller.account(&pair);
        counts.queue_rounds += 1;
    }
    counts.doorbell_registers = controller.io_registers_written();
    report.counts(&counts);
    controller.shut_down()?;
    controller.disable()?;
    controller.enable()?;
    controller.prepare_queues(parameters)?;
    let mut pair = polled_pair(&mut controller, &mut arena, 1, largest)?;
    works(&mut pair, patience)?;
    controller.disable()?;
    let status = controller.bar.read32(CSTS);
    equal("CSTS.RDY of a disabled controller", 0, status & CSTS_RDY)
}

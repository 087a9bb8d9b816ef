// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a driver must not do, and what becomes of it: the right event, the right status, nothing
//! touched that is not the command's, and a controller that goes on.

mod accesses;
mod addresses;
mod doorbells;

use super::{polled_pair, ready, works};
use crate::check::Outcome;
use crate::layout::{Counts, Parameters};
use crate::report::Report;

/// The scenario.
pub fn run(report: Report, parameters: &Parameters) -> Outcome {
    let mut counts = Counts::default();
    let outcome = all(report, parameters, &mut counts);
    report.counts(&counts);
    outcome
}

fn all(report: Report, parameters: &Parameters, counts: &mut Counts) -> Outcome {
    let (mut controller, mut arena) = ready(parameters)?;
    let entries = controller.entries_for(parameters.depth)?;
    let mut pair = polled_pair(&mut controller, &mut arena, 1, entries)?;
    let patience = controller.patience;

    doorbells::run(&mut controller, &mut arena, &mut pair, counts)?;
    report.progress();
    addresses::run(&mut controller, &mut arena, &mut pair, parameters, counts)?;
    report.progress();
    accesses::read_bar(controller.bar, parameters.stride, counts)?;
    works(&mut pair, patience)?;
    report.progress();
    accesses::configuration(&controller.function, parameters, counts)?;
    report.progress();

    // The function was reset: all begins anew.
    let (mut controller, mut arena) = ready(parameters)?;
    let mut pair = polled_pair(&mut controller, &mut arena, 1, entries)?;
    works(&mut pair, patience)?;
    controller.disable()
}

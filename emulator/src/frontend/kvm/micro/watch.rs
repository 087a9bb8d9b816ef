// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looks after a guest while it runs: its measurements' beginning and end, its patience's end.

use std::time::{Duration, Instant};

use super::layout::{PHASE_DONE, PHASE_READY, VERDICT_FAIL};
use super::program::{Program, ProgramError};
use crate::frontend::kvm::Vcpus;
use crate::observe::{ExitTotals, VmExits};

/// Time between two looks. Each takes the processor from the guest or the poller for a moment, where
/// there is no third one.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How far a guest has got.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps of the scenario that vCPU 0 has made: commands by the hundred, resets, rounds.
    pub steps: u64,
    /// Since the guest was started.
    pub elapsed: Duration,
}

/// A moment of a measurement.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    exits: ExitTotals,
}

/// Begin and end of a measurement, as the host saw them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    begin: Option<Mark>,
    end: Option<Mark>,
}

impl Marks {
    /// How long it took, and the exits in it; `None` when there was none.
    pub fn span(&self) -> Option<(Duration, ExitTotals)> {
        let (begin, end) = (self.begin?, self.end?);
        Some((end.at - begin.at, end.exits.since(&begin.exits)))
    }
}

/// Watches until the guest has ended or `limit` is over; tells `follow` of its progress.
///
/// # Errors
/// None in practice: the guest's memory is always there.
pub fn watch(
    program: &Program,
    exits: &VmExits,
    vcpus: &Vcpus,
    count: u64,
    limit: Duration,
    mut follow: impl FnMut(Progress),
) -> Result<Marks, ProgramError> {
    let begun = Instant::now();
    let mut marks = Marks::default();
    while vcpus.ending().is_none() && begun.elapsed() < limit {
        for phase in [PHASE_READY, PHASE_DONE] {
            let slot = if phase == PHASE_READY {
                &mut marks.begin
            } else {
                &mut marks.end
            };
            if slot.is_none() && all_reached(program, count, phase)? {
                // The guest waits for the word and does nothing else meanwhile.
                *slot = Some(Mark {
                    exits: exits.totals(),
                    at: Instant::now(),
                });
                program.acknowledge(phase)?;
            }
        }
        if any_failed(program, count)? {
            // The others may be waiting for it.
            program.stop()?;
        }
        follow(Progress {
            steps: program.progress(0)?,
            elapsed: begun.elapsed(),
        });
        vcpus.ended().wait(Some(LOOK_EVERY));
    }
    Ok(marks)
}

fn all_reached(program: &Program, count: u64, phase: u64) -> Result<bool, ProgramError> {
    for vcpu in 0..count {
        if program.phase(vcpu)? < phase {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any_failed(program: &Program, count: u64) -> Result<bool, ProgramError> {
    for vcpu in 0..count {
        if program.verdict(vcpu)? == VERDICT_FAIL {
            return Ok(true);
        }
    }
    Ok(false)
}

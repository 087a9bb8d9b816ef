// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest can be told to do.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::layout::{
    DOORBELLS_EXIT, DOORBELLS_MAPPED, DOORBELLS_SHADOW, Parameters, SCENARIO_BENCH,
    SCENARIO_BRING_UP, SCENARIO_DATA, SCENARIO_GARBAGE, SCENARIO_HOSTILE, SCENARIO_MSIX,
    SCENARIO_NOBODY, SCENARIO_RESETS, SCENARIO_SPIN, SCENARIO_TRIPLE_FAULT,
};

/// How doorbells are rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Doorbells {
    /// Each write of a register traps.
    Exit,
    /// Doorbell Buffer Config.
    Shadow,
    /// The registers are plain memory.
    Mapped,
}

impl Doorbells {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exit, Self::Shadow, Self::Mapped];

    /// As users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Shadow => "shadow",
            Self::Mapped => "mapped",
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Exit => DOORBELLS_EXIT,
            Self::Shadow => DOORBELLS_SHADOW,
            Self::Mapped => DOORBELLS_MAPPED,
        }
    }
}

impl fmt::Display for Doorbells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A measurement: random places of the whole namespace, on each vCPU a queue of its own.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// Commands in flight on a vCPU, 1 to 256.
    pub depth: u16,
    /// Bytes of a command, a multiple of the block and at most 4096.
    pub bytes: u32,
    /// Whether they are writes.
    pub writes: bool,
    /// Commands of a vCPU.
    pub commands: u64,
    /// So many commands are made ready, if there is room, before the doorbell is rung; 1 or more.
    pub batch: u16,
}

/// What the guest is to do.
#[derive(Clone, Copy, Debug)]
pub enum Scenario {
    /// The controller comes up, tells who it is, makes queues that work, goes down.
    BringUp,
    /// Reads and writes of all sizes and shapes with data check; on each vCPU a queue of its own.
    Data {
        /// Commands of a vCPU, before all blocks are read once more.
        commands: u64,
    },
    /// MSI-X: masks, pending bits, table.
    Msix,
    /// Resets, and queues made and deleted, while commands are in flight.
    Resets {
        /// Controller resets.
        resets: u64,
        /// Rounds of making and deleting a queue.
        queue_rounds: u64,
        /// Commands between two of them, at most.
        commands: u64,
    },
    /// Wrong doorbells and addresses, accesses of every width.
    Hostile {
        /// Distance of the offsets at which BAR0 and configuration space are read.
        stride: u64,
    },
    /// Random writes all over BAR0 and configuration space.
    Garbage {
        /// For how long.
        duration: Duration,
    },
    /// A loop without exits and without end.
    Spin,
    /// An exception that nobody handles.
    TripleFault,
    /// Accesses to an address where there is nothing.
    Nobody,
    /// How fast.
    Bench(Measurement),
}

impl Scenario {
    /// As it is called.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BringUp => "bring-up",
            Self::Data { .. } => "data",
            Self::Msix => "msix",
            Self::Resets { .. } => "resets",
            Self::Hostile { .. } => "hostile",
            Self::Garbage { .. } => "garbage",
            Self::Spin => "spin",
            Self::TripleFault => "triple-fault",
            Self::Nobody => "nobody",
            Self::Bench(_) => "bench",
        }
    }

    /// Fills in what the scenario and the doorbells want; `ticks_per_second` is the guest's clock.
    pub(super) fn describe(
        &self,
        doorbells: Doorbells,
        ticks_per_second: u64,
        parameters: &mut Parameters,
    ) {
        parameters.doorbells = doorbells.number();
        parameters.scenario = match *self {
            Self::BringUp => SCENARIO_BRING_UP,
            Self::Data { commands } => {
                parameters.commands = commands;
                SCENARIO_DATA
            }
            Self::Msix => SCENARIO_MSIX,
            Self::Resets {
                resets,
                queue_rounds,
                commands,
            } => {
                parameters.resets = resets;
                parameters.queue_rounds = queue_rounds;
                parameters.commands = commands;
                SCENARIO_RESETS
            }
            Self::Hostile { stride } => {
                parameters.stride = stride;
                SCENARIO_HOSTILE
            }
            Self::Garbage { duration } => {
                parameters.duration_ticks = ticks(duration, ticks_per_second);
                SCENARIO_GARBAGE
            }
            Self::Spin => SCENARIO_SPIN,
            Self::TripleFault => SCENARIO_TRIPLE_FAULT,
            Self::Nobody => SCENARIO_NOBODY,
            Self::Bench(measurement) => {
                parameters.depth = measurement.depth.into();
                parameters.transfer_bytes = measurement.bytes.into();
                parameters.writes = measurement.writes.into();
                parameters.commands = measurement.commands;
                parameters.batch = measurement.batch.into();
                SCENARIO_BENCH
            }
        };
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A duration in ticks.
pub(super) fn ticks(duration: Duration, ticks_per_second: u64) -> u64 {
    let ticks = duration.as_nanos() * u128::from(ticks_per_second) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

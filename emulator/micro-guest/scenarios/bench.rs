// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How fast: random reads or writes of one size at one depth, polled, on each vCPU with a queue of its
//! own.

use super::data::share_out;
use super::ready;
use crate::check::{Failure, Outcome, at_least, that};
use crate::clock::{Patience, ticks};
use crate::command::{Command, READ, WRITE, transfer};
use crate::layout::{
    Counts, LATENCY_BUCKETS, MAX_WINDOWS, PHASE_DONE, PHASE_READY, Parameters, WINDOW_COMMANDS,
    latency_bucket,
};
use crate::memory::{PAGE, Region};
use crate::random::Random;
use crate::report::Report;
use crate::rings::QueuePair;
use crate::team::{self, Task};

/// Deepest measurement.
const MAX_DEPTH: usize = 256;
/// Entries of the queues, as many as Linux's driver takes.
const ENTRIES: u64 = 1024;
/// Commands before the measurement begins.
const WARM_UP: u64 = 4 * WINDOW_COMMANDS;
/// Turns without a completion between two looks at the clock.
const TURNS: u64 = 1 << 20;

/// The scenario, on vCPU 0.
pub fn run(report: Report, parameters: &Parameters) -> Outcome {
    let (mut controller, mut arena) = ready(parameters)?;
    let depth = parameters.depth;
    that(
        "a depth of 1 to 256",
        (1..=MAX_DEPTH as u64).contains(&depth),
    )?;
    that(
        "commands of at most a page",
        parameters.transfer_bytes <= PAGE,
    )?;
    let entries = controller.entries_for(ENTRIES - 1)?;
    let own = share_out(&mut controller, &mut arena, parameters, entries)?;
    work(report, 0, parameters, own)?;
    team::wait_for_others(parameters.vcpus, controller.patience)?;
    controller.disable()
}

/// One vCPU's part.
pub fn work(report: Report, vcpu: u64, parameters: &Parameters, mut task: Task) -> Outcome {
    let blocks = parameters.transfer_bytes / parameters.block_bytes;
    at_least("blocks of a command", 1, blocks)?;
    let mut driver = Driver {
        buffers: task.arena.pages(parameters.depth),
        stamps: [0; MAX_DEPTH],
        free: [0; MAX_DEPTH],
        latencies: Region::latencies(vcpu),
        windows: Region::windows(vcpu),
        windows_noted: 0,
        random: Random::new(parameters.seed, vcpu),
        opcode: if parameters.writes == 0 { READ } else { WRITE },
        first: task.blocks.0,
        places: task.blocks.1 / blocks,
        blocks,
        depth: parameters.depth,
        batch: parameters.batch.clamp(1, parameters.depth),
        patience: task.patience,
        pair: task.pair,
    };
    for cid in 0..driver.free.len() {
        driver.free[cid] = u16::from_le_bytes([cid.to_le_bytes()[0], 0]);
    }
    driver.run(WARM_UP.min(parameters.commands))?;
    driver.windows_noted = 0;
    for bucket in 0..LATENCY_BUCKETS {
        driver.latencies.store64(8 * bucket, 0);
    }
    let written = driver.pair.registers_written();
    report.reach(PHASE_READY);
    let start = ticks();
    driver.run(parameters.commands)?;
    let end = ticks();
    report.reach(PHASE_DONE);
    report.measured(start, end, driver.windows_noted);
    report.counts(&Counts {
        commands: parameters.commands,
        deepest: parameters.depth,
        doorbell_registers: driver.pair.registers_written() - written,
        ..Counts::default()
    });
    Ok(())
}

struct Driver {
    pair: QueuePair,
    buffers: Region,
    /// When the command with this identifier was made.
    stamps: [u64; MAX_DEPTH],
    /// Identifiers not in use, those from the number of commands in flight on.
    free: [u16; MAX_DEPTH],
    latencies: Region,
    windows: Region,
    windows_noted: u64,
    random: Random,
    opcode: u8,
    first: u64,
    places: u64,
    blocks: u64,
    depth: u64,
    batch: u64,
    patience: Patience,
}

impl Driver {
    fn run(&mut self, commands: u64) -> Outcome {
        let (mut submitted, mut completed, mut idle) = (0, 0, 0);
        let (mut window, mut window_start) = (WINDOW_COMMANDS, ticks());
        while completed < commands {
            let in_flight = submitted - completed;
            let room = (self.depth - in_flight).min(commands - submitted);
            if room >= self.batch.min(commands - submitted) && room > 0 {
                self.submit(in_flight, room);
                submitted += room;
            }
            let count = self.reap(submitted - completed)?;
            completed += count;
            if count == 0 {
                idle += 1;
                // No pause: it may be as long as what is measured.
                self.check_idle(idle, window_start)?;
                continue;
            }
            idle = 0;
            if completed >= window {
                let now = ticks();
                self.note_window(now.wrapping_sub(window_start));
                window_start = now;
                window += WINDOW_COMMANDS;
            }
        }
        Ok(())
    }

    /// Makes `count` commands while `in_flight` are under way, and rings once.
    #[inline]
    fn submit(&mut self, in_flight: u64, count: u64) {
        let now = ticks();
        for number in in_flight..in_flight + count {
            let cid = self.free[index(number)];
            self.stamps[index(cid.into())] = now;
            let command = self.command(cid);
            self.pair.put(&command);
        }
        self.pair.ring();
    }

    #[inline]
    fn command(&mut self, cid: u16) -> Command {
        let lba = self.first + self.random.below(self.places) * self.blocks;
        let buffer = self.buffers.address() + u64::from(cid) * PAGE;
        transfer(self.opcode, lba, self.blocks)
            .prp(buffer, 0)
            .cid(cid)
    }

    /// Takes the completions that are there, while `in_flight` commands are under way.
    #[inline]
    fn reap(&mut self, in_flight: u64) -> Outcome<u64> {
        if !self.pair.has_completion() {
            return Ok(0);
        }
        let now = ticks();
        let mut count = 0;
        while let Some(completion) = self.pair.take() {
            if completion.status != 0 || u64::from(completion.cid) >= self.depth {
                return Err(Failure::new(
                    "a measured command succeeds (expected: CIDs, seen: status, detail: CID)",
                    self.depth,
                    completion.status.into(),
                )
                .with(completion.cid.into()));
            }
            if count == in_flight {
                return Err(Failure::new(
                    "as many completions as commands (detail: CID)",
                    in_flight,
                    count + 1,
                )
                .with(completion.cid.into()));
            }
            count += 1;
            self.free[index(in_flight - count)] = completion.cid;
            let latency = now.wrapping_sub(self.stamps[index(completion.cid.into())]);
            let bucket = 8 * latency_bucket(latency);
            self.latencies
                .store64(bucket, self.latencies.load64(bucket) + 1);
        }
        self.pair.release();
        Ok(count)
    }

    fn note_window(&mut self, spent: u64) {
        if self.windows_noted < MAX_WINDOWS {
            let at = 4 * self.windows_noted;
            let spent = u32::try_from(spent).unwrap_or(u32::MAX);
            self.windows.store32(at, spent);
            self.windows_noted += 1;
        }
    }

    /// The device may take long, but not forever.
    #[cold]
    fn check_clock(&self, since: u64) -> Outcome {
        let waited = ticks().wrapping_sub(since);
        if waited > self.patience.0 {
            let message = "a measured command completes (seen: ticks since the window began)";
            return Err(Failure::new(message, 0, waited));
        }
        Ok(())
    }

    #[inline]
    fn check_idle(&self, idle: u64, since: u64) -> Outcome {
        if idle % TURNS == 0 {
            self.check_clock(since)?;
        }
        Ok(())
    }
}

/// A number below 256 as an index.
#[inline]
fn index(number: u64) -> usize {
    usize::from(number.to_le_bytes()[0])
}

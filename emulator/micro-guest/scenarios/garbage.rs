// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random writes of random widths all over BAR0 and configuration space, until the time is over or
//! the host says so. Then a function level reset, and everything must work again.

use super::{polled_pair, ready, works};
use crate::check::{Outcome, at_least};
use crate::clock::ticks;
use crate::command::{Command, low32};
use crate::controller::{ACQ, AQA, ASQ, CC, DOORBELLS};
use crate::layout::{ARENA, BAR0_BYTES, Counts, Parameters};
use crate::memory::{Arena, PAGE, Region, told_to_stop};
use crate::mmio::Mmio;
use crate::pci::{self, CAPABILITY_PM, CONFIG_BYTES, Function};
use crate::random::Random;
use crate::report::Report;

/// Writes between two times that the controller is brought back to where they have an effect.
const STRETCH: u64 = 64;
/// Entries of the admin queues.
const ENTRIES: u64 = 32;
/// No byte of an address made of this is small: it is outside RAM.
const HIGH_BYTES: u64 = 0x8080_8080_8080_8080;
/// Admin opcodes that exist, and one that does not. No Format NVM: the namespace must be as before.
const OPCODES: [u8; 12] = [
    0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0A, 0x0C, 0x7C, 0x55,
];

struct Garbage<'a> {
    parameters: &'a Parameters,
    random: Random,
    function: Function,
    bar: Mmio,
    power: u64,
    sq: Region,
    cq: Region,
}

/// The scenario.
pub fn run(report: Report, parameters: &Parameters) -> Outcome {
    let mut arena = Arena::new(parameters);
    let function = Function::find()?;
    function.enable()?;
    let mut garbage = Garbage {
        parameters,
        random: Random::new(parameters.seed, 6),
        function,
        bar: pci::bar0(),
        power: function.capability(CAPABILITY_PM)? + 4,
        sq: arena.bytes(64 * ENTRIES),
        cq: arena.bytes(16 * ENTRIES),
    };
    let (start, mut writes) = (ticks(), 0);
    while !told_to_stop() && ticks().wrapping_sub(start) < parameters.duration_ticks {
        garbage.revive();
        for _ in 0..STRETCH {
            garbage.write();
        }
        writes += STRETCH;
        report.progress();
    }
    report.counts(&Counts {
        random_writes: writes,
        ..Counts::default()
    });
    at_least("random writes", 1, writes)?;
    function.reset()?;
    let (mut controller, mut arena) = ready(parameters)?;
    let entries = controller.entries_for(parameters.depth)?;
    let mut pair = polled_pair(&mut controller, &mut arena, 1, entries)?;
    works(&mut pair, controller.patience)?;
    controller.disable()
}

impl Garbage<'_> {
    /// The function answers again, and often the controller is on, with an admin queue full of
    /// commands that make little sense.
    fn revive(&mut self) {
        self.function.config.write(self.power, 1, 0);
        self.function.put_bar();
        match self.random.below(8) {
            0 => return,
            // A reset of all that the specification lets a host reset so.
            1 => self.bar.write32(0x20, 0x4E56_4D65),
            _ => {}
        }
        self.bar.write32(CC, 0);
        for entry in 0..ENTRIES {
            self.put_command(entry);
        }
        self.bar.write32(AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
        self.bar.write(ASQ, 8, self.sq.address());
        self.bar.write(ACQ, 8, self.cq.address());
        self.bar.write32(CC, 4 << 20 | 6 << 16 | 1);
        let tail = self.random.below(ENTRIES);
        self.bar.write32(DOORBELLS, tail);
    }

    /// A page that the device may write to, or none at all.
    fn address(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.random.next() | HIGH_BYTES,
            _ => {
                let pages = (self.parameters.ram_bytes - ARENA) / PAGE;
                ARENA + self.random.below(pages) * PAGE
            }
        }
    }

    fn put_command(&mut self, entry: u64) {
        let opcode = OPCODES[usize::from(self.random.below(12).to_le_bytes()[0])];
        let mut command = Command::new(opcode)
            .nsid(low32(self.random.below(3)))
            .cid(entry.to_le_bytes()[0].into())
            .prp(self.address(), self.address());
        for dword in 10..16 {
            let value = match self.random.below(3) {
                0 => self.random.next(),
                1 => self.random.below(8),
                _ => self.random.below(32) << 16 | self.random.below(8),
            };
            command = command.cdw(dword, low32(value));
        }
        for (index, word) in (0..8).zip(command.0) {
            self.sq.store64(64 * entry + 8 * index, word);
        }
    }

    /// One write.
    fn write(&mut self) {
        let width = 1 << self.random.below(4);
        let value = match self.random.below(4) {
            0 => self.random.below(64),
            1 => u64::MAX,
            _ => self.random.next(),
        };
        if self.random.once_in(8) {
            let bytes = if self.random.once_in(2) {
                0x100
            } else {
                CONFIG_BYTES
            };
            let offset = self.random.below(bytes - width + 1);
            self.function.config.write(offset, width, value);
            return;
        }
        let offset = match self.random.below(4) {
            0 => self.random.below(0x80),
            1 => DOORBELLS + self.random.below(0x200),
            _ => self.random.below(BAR0_BYTES - width + 1),
        };
        // The device must not be told to write over this program: the admin queues are elsewhere.
        let address = offset + width > ASQ && offset < ACQ + 8;
        let value = if address { value | HIGH_BYTES } else { value };
        self.bar.write(offset, width, value);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses of every width at every offset.

use crate::check::{Outcome, equal, equal_in};
use crate::layout::{BAR0_BYTES, Counts, Parameters};
use crate::mmio::{Mmio, WIDTHS};
use crate::pci::{COMMAND, CONFIG_BYTES, Function};
use crate::random::Random;

/// Random writes to configuration space.
const WRITES: u64 = 256;

/// At each `stride`-th offset, reads of every width agree: a narrow one is the low part of a wide
/// one. Returns the number of reads.
fn read_all(window: Mmio, bytes: u64, stride: u64, message: &'static str) -> Outcome<u64> {
    let (mut offset, mut reads) = (0, 0);
    while offset < bytes {
        let widest = WIDTHS.iter().rev().find(|&&width| offset + width <= bytes);
        let widest = widest.copied().unwrap_or(1);
        let whole = window.read(offset, widest);
        for width in WIDTHS.into_iter().filter(|&width| width <= widest) {
            let wanted = whole & (u64::MAX >> (64 - 8 * width));
            equal_in(message, wanted, window.read(offset, width), offset)?;
            reads += 1;
        }
        offset += stride.max(1);
    }
    Ok(reads)
}

/// Reads all of BAR0 while nothing happens.
pub fn read_bar(bar: Mmio, stride: u64, counts: &mut Counts) -> Outcome {
    let message = "a narrow read of BAR0 is part of a wide one (detail: offset)";
    counts.register_reads += read_all(bar, BAR0_BYTES, stride, message)?;
    Ok(())
}

/// Reads and writes configuration space, of the function and of what is not there. The function is
/// reset at the end.
pub fn configuration(function: &Function, parameters: &Parameters, counts: &mut Counts) -> Outcome {
    let config = function.config;
    let message = "a narrow read of configuration space is part of a wide one (detail: offset)";
    counts.config_reads += read_all(config, CONFIG_BYTES, parameters.stride, message)?;
    for absent in [function.absent_device()?, function.absent_function()] {
        absent.write32(COMMAND, 0xFFFF_FFFF);
        for width in WIDTHS {
            let ones = u64::MAX >> (64 - 8 * width);
            let message = "configuration space of nothing reads as ones (detail: width)";
            equal_in(message, ones, absent.read(0, width), width)?;
            counts.config_reads += 1;
        }
    }
    // Identifiers, class, header type, capabilities: whatever is written, they stay.
    let fixed = [0x00, 0x08, 0x2C, 0x34];
    let before = fixed.map(|offset| config.read32(offset));
    let mut random = Random::new(parameters.seed, 5);
    for offset in fixed {
        for width in WIDTHS {
            config.write(offset, width, random.next());
        }
    }
    for _ in 0..WRITES {
        let width = 1 << random.below(4);
        let offset = match random.below(2) {
            0 => random.below(0x100 - width),
            _ => random.below(CONFIG_BYTES - width),
        };
        config.write(offset, width, random.next());
        counts.random_writes += 1;
    }
    for (offset, value) in fixed.into_iter().zip(before) {
        let message = "a read-only register of configuration space (detail: offset)";
        equal_in(message, value, config.read32(offset), offset)?;
    }
    function.reset()?;
    equal(
        "memory space and bus master are off after a function level reset",
        0,
        config.read(COMMAND, 2) & 6,
    )
}

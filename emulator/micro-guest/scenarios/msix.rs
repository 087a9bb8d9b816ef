// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MSI-X without taking an interrupt: what is masked becomes a pending bit, what is unmasked clears
//! it (PCI Express Base 4.0, 6.1.4). Messages go where nobody listens.

use super::{ready, works};
use crate::check::{Outcome, equal, equal_in, that};
use crate::clock::Patience;
use crate::controller::{Controller, queue_id};
use crate::layout::{Counts, Parameters};
use crate::memory::Arena;
use crate::mmio::{Mmio, WIDTHS};
use crate::pci::{Function, Msix};
use crate::random::Random;
use crate::report::Report;
use crate::rings::{QueueMemory, QueuePair};

/// Bytes of a table entry.
const ENTRY: u64 = 16;
/// Message address of a local APIC that there is not: physical destination FEh.
const NOBODY: u64 = 0xFEEF_E000;
/// Message control: MSI-X Enable.
const ENABLE: u64 = 1 << 15;
/// Message control: Function Mask.
const FUNCTION_MASK: u64 = 1 << 14;
/// Vector control: Mask.
const MASKED: u64 = 1;

/// The device's MSI-X, as a driver holds it.
struct Vectors {
    function: Function,
    bar: Mmio,
    msix: Msix,
    patience: Patience,
    pending_bits: u64,
}

impl Vectors {
    fn entry(&self, vector: u64) -> u64 {
        self.msix.table + ENTRY * vector
    }

    fn control(&self, value: u64) {
        self.function
            .config
            .write(self.msix.capability + 2, 2, value);
    }

    fn mask(&self, vector: u64, masked: bool) {
        self.bar.write32(self.entry(vector) + 12, u64::from(masked));
    }

    fn is_pending(&self, vector: u64) -> bool {
        let word = self.bar.read(self.msix.pending + vector / 64 * 8, 8);
        word >> (vector % 64) & 1 == 1
    }

    #[track_caller]
    fn wait_pending(&mut self, message: &'static str, vector: u64, pending: bool) -> Outcome {
        self.patience.wait(message, || {
            (self.is_pending(vector) == pending).then_some(())
        })?;
        self.pending_bits += u64::from(!pending);
        Ok(())
    }

    /// No bit is set but those of `vectors`.
    #[track_caller]
    fn only_pending(&self, vectors: &[u64]) -> Outcome {
        for vector in 0..self.msix.vectors {
            equal_in(
                "pending bit (detail: vector)",
                vectors.contains(&vector).into(),
                self.is_pending(vector).into(),
                vector,
            )?;
        }
        Ok(())
    }

    fn set_messages(&self) {
        for vector in 0..self.msix.vectors {
            let entry = self.entry(vector);
            self.bar.write(entry, 8, NOBODY);
            self.bar.write32(entry + 8, 0x40 + vector % 64);
        }
    }
}

/// The scenario.
pub fn run(report: Report, parameters: &Parameters) -> Outcome {
    let (mut controller, mut arena) = ready(parameters)?;
    let mut vectors = Vectors {
        function: controller.function,
        bar: controller.bar,
        msix: controller.function.msix()?,
        patience: controller.patience,
        pending_bits: 0,
    };
    masked_after_reset(&vectors)?;
    let reads = table_in_every_width(&vectors, parameters.seed)?;
    vectors.set_messages();
    let mut pair = interrupting_pair(&mut controller, &mut arena, parameters)?;
    let outcome = masks(&mut vectors, &mut controller, &mut pair);
    report.counts(&Counts {
        pending_bits: vectors.pending_bits,
        register_reads: reads,
        ..Counts::default()
    });
    outcome?;
    controller.disable()
}

/// The queue's vector, which is not the admin queue's.
const VECTOR: u64 = 1;

fn interrupting_pair(
    controller: &mut Controller,
    arena: &mut Arena,
    parameters: &Parameters,
) -> Outcome<QueuePair> {
    let entries = controller.entries_for(parameters.depth)?;
    let memory = QueueMemory::new(arena, entries);
    controller.create_queue(queue_id(1), entries, memory, Some(1))
}

fn masked_after_reset(vectors: &Vectors) -> Outcome {
    for vector in 0..vectors.msix.vectors {
        let control = vectors.bar.read32(vectors.entry(vector) + 12);
        equal_in(
            "vector control after a reset: masked (detail: vector)",
            MASKED,
            control & MASKED,
            vector,
        )?;
    }
    let control = vectors.function.config.read(vectors.msix.capability + 2, 2);
    equal("MSI-X is off after a reset", 0, control & ENABLE)
}

/// Writes entries by 4 and by 8 bytes and reads them back in every width at every place.
fn table_in_every_width(vectors: &Vectors, seed: u64) -> Outcome<u64> {
    let mut random = Random::new(seed, 3);
    let mut reads = 0;
    for vector in 0..vectors.msix.vectors.min(4) {
        let entry = vectors.entry(vector);
        // Bits 1:0 of an address are 0, and of vector control there is bit 0 alone.
        let address = random.next() & !3;
        let data = random.next() & 0xFFFF_FFFF;
        if vector % 2 == 0 {
            vectors.bar.write(entry, 8, address | 3);
            vectors.bar.write(entry + 8, 8, MASKED << 32 | data);
        } else {
            vectors.bar.write32(entry, address & 0xFFFF_FFFF | 3);
            vectors.bar.write32(entry + 4, address >> 32);
            vectors.bar.write32(entry + 8, data);
            vectors.bar.write32(entry + 12, 0xFFFF_FFFF);
        }
        let whole = u128::from(MASKED << 32 | data) << 64 | u128::from(address);
        for width in WIDTHS {
            for offset in (0..ENTRY).step_by(usize::from(width.to_le_bytes()[0])) {
                let seen = vectors.bar.read(entry + offset, width);
                let mask = u64::MAX >> (64 - 8 * width);
                let wanted = u64::try_from(whole >> (8 * offset) & u128::from(mask)).unwrap_or(0);
                let detail = vector << 16 | width << 8 | offset;
                let message = "MSI-X table entry (detail: vector, width, offset in a byte each)";
                equal_in(message, wanted, seen, detail)?;
                reads += 1;
            }
        }
    }
    Ok(reads)
}

fn masks(vectors: &mut Vectors, controller: &mut Controller, pair: &mut QueuePair) -> Outcome {
    let patience = controller.patience;
    // Off: what is raised is lost.
    works(pair, patience)?;
    vectors.only_pending(&[])?;

    // On, each vector masked: a completion makes its vector pending, and no other.
    vectors.control(ENABLE);
    works(pair, patience)?;
    vectors.wait_pending("pending bit of a masked vector", VECTOR, true)?;
    vectors.only_pending(&[VECTOR])?;
    works(pair, patience)?;
    vectors.only_pending(&[VECTOR])?;
    vectors.mask(VECTOR, false);
    vectors.wait_pending("pending bit clear after unmasking", VECTOR, false)?;

    // Unmasked: the message goes out and nothing stays.
    works(pair, patience)?;
    vectors.only_pending(&[])?;

    // The admin queue's vector is 0.
    controller.read_error_log()?;
    vectors.wait_pending("pending bit of the admin queue's masked vector", 0, true)?;
    vectors.only_pending(&[0])?;
    vectors.mask(0, false);
    vectors.wait_pending("pending bit of vector 0 clear after unmasking", 0, false)?;

    // The function mask holds back what the vectors' own masks let through.
    vectors.control(ENABLE | FUNCTION_MASK);
    works(pair, patience)?;
    controller.read_error_log()?;
    vectors.wait_pending("pending bit under the function mask", VECTOR, true)?;
    vectors.wait_pending("pending bit of vector 0 under the function mask", 0, true)?;
    vectors.mask(0, true);
    vectors.control(ENABLE);
    vectors.wait_pending("pending bit clear after the function mask", VECTOR, false)?;
    vectors.only_pending(&[0])?;

    // Pending bits are read-only.
    vectors.bar.write(vectors.msix.pending, 8, 0);
    that(
        "a pending bit stays when it is written",
        vectors.is_pending(0),
    )?;

    // Turned off, the function forgets them.
    vectors.control(0);
    vectors.wait_pending("pending bit clear after MSI-X was turned off", 0, false)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the medium must hold: for each block the write that it shows, or two that it may show.

use crate::check::{Failure, Outcome, equal_in};
use crate::command::low32;
use crate::memory::{Arena, Region};
use crate::transfer::Transfer;

/// Blocks of the medium, from `first` on. A block's data tell its LBA and its generation, the number
/// of the write that made them; generation 0 is a block never written, all zeros.
pub struct Model {
    first: u64,
    blocks: u64,
    block_bytes: u64,
    seed: u64,
    last_generation: u32,
    /// The generation that a block shows.
    settled: Region,
    /// Another one that it may show instead, since a write was lost; else the same.
    other: Region,
    /// Not 0: a command on it is in flight.
    busy: Region,
}

impl Model {
    /// A blank medium's `blocks` blocks from `first` on.
    pub fn new(arena: &mut Arena, first: u64, blocks: u64, block_bytes: u64, seed: u64) -> Self {
        Self {
            first,
            blocks,
            block_bytes,
            seed,
            last_generation: 0,
            settled: arena.bytes(4 * blocks),
            other: arena.bytes(4 * blocks),
            busy: arena.bytes(4 * blocks),
        }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The first block.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    fn each(&self, lba: u64, count: u64) -> impl Iterator<Item = u64> {
        let start = 4 * (lba - self.first);
        (start..start + 4 * count).step_by(4)
    }

    /// Whether no command is in flight on any of the blocks.
    pub fn is_free(&self, lba: u64, count: u64) -> bool {
        self.each(lba, count).all(|at| self.busy.load32(at) == 0)
    }

    /// Whether it is known what each of the blocks shows.
    pub fn is_certain(&self, lba: u64, count: u64) -> bool {
        self.each(lba, count)
            .all(|at| self.settled.load32(at) == self.other.load32(at))
    }

    /// A command on these blocks begins.
    pub fn occupy(&self, lba: u64, count: u64) {
        for at in self.each(lba, count) {
            self.busy.store32(at, 1);
        }
    }

    /// A command on these blocks has ended.
    pub fn vacate(&self, lba: u64, count: u64) {
        for at in self.each(lba, count) {
            self.busy.store32(at, 0);
        }
    }

    /// The number of a new write.
    pub fn next_generation(&mut self) -> u32 {
        self.last_generation += 1;
        self.last_generation
    }

    /// A write has succeeded.
    pub fn written(&self, lba: u64, count: u64, generation: u32) {
        for at in self.each(lba, count) {
            self.settled.store32(at, generation);
            self.other.store32(at, generation);
        }
    }

    /// A write was lost: nobody knows whether it happened. Its blocks were certain.
    pub fn lost(&self, lba: u64, count: u64, generation: u32) {
        for at in self.each(lba, count) {
            self.other.store32(at, generation);
        }
    }

    /// What most of a block's words are made of.
    fn key(&self, lba: u64, generation: u32) -> u32 {
        let mixed = (lba << 32 | u64::from(generation)) ^ self.seed;
        low32(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29)
    }

    #[inline]
    fn word(lba: u64, generation: u32, key: u32, index: u64) -> u32 {
        match (generation, index) {
            (0, _) => 0,
            (_, 0) => low32(lba),
            (_, 1) => generation,
            _ => key.wrapping_add(low32(index).wrapping_mul(0x9E37_79B1)),
        }
    }

    /// Puts the data of a write into its buffer.
    pub fn fill(&self, transfer: &Transfer, lba: u64, generation: u32) -> Outcome {
        for block in 0..transfer.bytes / self.block_bytes {
            let lba = lba + block;
            let key = self.key(lba, generation);
            transfer.for_words(
                block * self.block_bytes,
                self.block_bytes,
                |index, page, place| {
                    page.store32(place, Self::word(lba, generation, key, index));
                    Ok(())
                },
            )?;
        }
        Ok(())
    }

    /// Compares what a read brought with what it must be. A block that could show two writes is
    /// certain from now on.
    ///
    /// # Errors
    /// Other data.
    pub fn check(&self, transfer: &Transfer, lba: u64) -> Outcome {
        for block in 0..transfer.bytes / self.block_bytes {
            self.check_block(transfer, block, lba + block)?;
        }
        Ok(())
    }

    fn check_block(&self, transfer: &Transfer, block: u64, lba: u64) -> Outcome {
        let (start, bytes) = (block * self.block_bytes, self.block_bytes);
        let mut generation = 0;
        transfer.for_words(start, 8, |index, page, place| {
            if index == 1 {
                generation = page.load32(place);
            }
            Ok(())
        })?;
        let at = 4 * (lba - self.first);
        let (settled, other) = (self.settled.load32(at), self.other.load32(at));
        if generation != settled && generation != other {
            let message = "generation of a block's data (detail: LBA)";
            return Err(Failure::new(message, settled.into(), generation.into()).with(lba));
        }
        let key = self.key(lba, generation);
        transfer.for_words(start, bytes, |index, page, place| {
            equal_in(
                "a word of a block's data (detail: LBA)",
                Self::word(lba, generation, key, index).into(),
                page.load32(place).into(),
                lba,
            )
        })?;
        self.written(lba, 1, generation);
        Ok(())
    }
}

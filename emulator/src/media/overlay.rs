// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the volatile write cache holds: a bounded queue of atomic write units, oldest first, that
//! can be asked for each of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;

use vm_memory::VolatileSlice;

use crate::dma::AnonymousMemory;

/// Where a unit stands in the queue; counts up for ever, so that a position is also a point in
/// time.
pub(super) type Position = u64;

/// A unit in the queue.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    /// Which unit of the medium it is: its offset divided by the unit's size.
    pub(super) unit: u64,
    /// The write that changed it last.
    pub(super) write: u64,
}

/// Units that are newer than the medium. All memory is taken when it is made.
pub(super) struct Overlay {
    unit_size: usize,
    /// Slot of a position: its remainder by the number of slots, a power of two.
    entries: Box<[Entry]>,
    data: AnonymousMemory,
    positions: HashMap<u64, Position, UnitHash>,
    head: Position,
    tail: Position,
}

impl Overlay {
    /// An empty one for `slots` units of `unit_size` bytes; `slots` is a power of two.
    pub(super) fn new(unit_size: usize, slots: usize) -> io::Result<Self> {
        debug_assert!(slots.is_power_of_two());
        Ok(Self {
            unit_size,
            entries: vec![Entry::default(); slots].into_boxed_slice(),
            data: AnonymousMemory::new(unit_size * slots)?,
            positions: HashMap::with_capacity_and_hasher(slots, UnitHash::new()),
            head: 0,
            tail: 0,
        })
    }

    pub(super) fn unit_size(&self) -> usize {
        self.unit_size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == self.entries.len() as u64
    }

    /// Number of units held.
    pub(super) fn len(&self) -> u64 {
        self.tail - self.head
    }

    /// The oldest position held; equal to [`Overlay::tail`] when there is none.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// The position that the next new unit gets.
    pub(super) fn tail(&self) -> Position {
        self.tail
    }

    pub(super) fn find(&self, unit: u64) -> Option<Position> {
        self.positions.get(&unit).copied()
    }

    /// Adds a unit that is not held; its data is whatever was in the slot.
    ///
    /// # Panics
    /// When the overlay is full.
    pub(super) fn push(&mut self, unit: u64) -> Position {
        assert!(!self.is_full(), "no slot for another unit");
        let position = self.tail;
        self.entries[self.slot(position)] = Entry { unit, write: 0 };
        self.positions.insert(unit, position);
        self.tail += 1;
        position
    }

    /// Drops the oldest unit.
    pub(super) fn pop(&mut self) {
        if !self.is_empty() {
            let unit = self.entry(self.head).unit;
            self.positions.remove(&unit);
            self.head += 1;
        }
    }

    /// Takes the last [`Overlay::push`] back.
    pub(super) fn unpush(&mut self) {
        if !self.is_empty() {
            self.tail -= 1;
            let unit = self.entry(self.tail).unit;
            self.positions.remove(&unit);
        }
    }

    pub(super) fn entry(&self, position: Position) -> Entry {
        self.entries[self.slot(position)]
    }

    pub(super) fn set_write(&mut self, position: Position, write: u64) {
        let slot = self.slot(position);
        self.entries[slot].write = write;
    }

    /// The bytes `[start, start + length)` of the unit at `position`.
    ///
    /// # Panics
    /// When they are not all in the unit.
    pub(super) fn data(
        &self,
        position: Position,
        start: usize,
        length: usize,
    ) -> VolatileSlice<'_> {
        assert!(start <= self.unit_size && length <= self.unit_size - start);
        let first = self.slot(position) * self.unit_size + start;
        let slice = self.data.slice(first, length);
        slice.expect("the slot's bytes were mapped when the overlay was made")
    }

    #[inline]
    fn slot(&self, position: Position) -> usize {
        // The remainder is below a usize, so what the cast drops is masked away anyhow.
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let slot = position as usize & (self.entries.len() - 1);
        slot
    }
}

/// Hashes a unit's number by one multiplication with secret numbers: the guest chooses the units,
/// and must not be able to choose them so that they collide.
#[derive(Clone)]
struct UnitHash {
    key: u64,
    multiplier: u64,
}

impl UnitHash {
    fn new() -> Self {
        let secret = RandomState::new();
        Self {
            key: secret.hash_one(1_u8),
            multiplier: secret.hash_one(2_u8) | 1,
        }
    }
}

impl BuildHasher for UnitHash {
    type Hasher = UnitHasher;

    fn build_hasher(&self) -> UnitHasher {
        UnitHasher {
            state: self.key,
            multiplier: self.multiplier,
        }
    }
}

struct UnitHasher {
    state: u64,
    multiplier: u64,
}

impl Hasher for UnitHasher {
    #[inline]
    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.state ^ value) * u128::from(self.multiplier);
        let folded = product ^ (product >> 64);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "both halves are in the low one"
        )]
        let folded = folded as u64;
        self.state = folded;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The volatile write cache, in front of any medium.
//!
//! A write stays in the process until a flush, or until the cache is full: then each new unit
//! pushes the oldest out to the medium. A flush takes the units that were there when it was asked
//! for to the medium, a few at each poll so that nobody else waits long, and then flushes the
//! medium itself. A write meanwhile to a unit that still waits goes with it: it may become stable
//! earlier than it must, never later.

use std::collections::VecDeque;
use std::io;

use rand_core::Rng as _;
use rand_pcg::Pcg64Mcg;
use vm_memory::VolatileSlice;

use super::overlay::{Overlay, Position};
use super::{FlushStart, FlushTicket, Media, MediaError, PowerCut};
use crate::dma::fill_zero;

/// How much the cache holds at most, in bytes.
const CAPACITY: usize = 32 << 20;
/// How many units go to the medium at one poll of a flush.
const STEP: u64 = 16;

/// A medium behind a volatile write cache.
pub(super) struct Cached<M> {
    pub(super) medium: M,
    overlay: Overlay,
    on: bool,
    /// Counts write commands, to know which units belong together.
    writes: u64,
    /// Flushes that still take units to the medium: all below the position.
    flushes: VecDeque<(FlushTicket, Position)>,
    /// Flushes that the medium has in hand.
    handed_on: usize,
}

/// The part of one unit that an access touches.
struct Part {
    unit: u64,
    /// First byte, counted from the unit's start.
    start: usize,
    length: usize,
    /// Where it is in the caller's buffer.
    at: usize,
}

impl<M: Media> Cached<M> {
    pub(super) fn new(medium: M, unit_size: usize) -> io::Result<Self> {
        let units = medium.size().div_ceil(unit_size as u64);
        let slots = usize::try_from(units)
            .unwrap_or(usize::MAX)
            .min(CAPACITY / unit_size)
            .next_power_of_two();
        Self::with_slots(medium, unit_size, slots)
    }

    /// With room for `slots` units, a power of two.
    pub(super) fn with_slots(medium: M, unit_size: usize, slots: usize) -> io::Result<Self> {
        Ok(Self {
            medium,
            overlay: Overlay::new(unit_size, slots)?,
            on: true,
            writes: 0,
            flushes: VecDeque::new(),
            handed_on: 0,
        })
    }

    /// The units that `[offset, offset + length)` touches.
    fn parts(&self, offset: u64, length: usize) -> impl Iterator<Item = Part> + use<M> {
        let unit_size = self.overlay.unit_size();
        let mask = unit_size as u64 - 1;
        let mut at = 0;
        std::iter::from_fn(move || {
            let here = offset + at as u64;
            // Below the unit's size, which is a usize.
            #[expect(clippy::cast_possible_truncation, reason = "masked")]
            let start = (here & mask) as usize;
            let part = Part {
                unit: here >> unit_size.trailing_zeros(),
                start,
                length: (unit_size - start).min(length - at),
                at,
            };
            at += part.length;
            (part.length > 0).then_some(part)
        })
    }

    fn offset_of(&self, unit: u64) -> u64 {
        unit << self.overlay.unit_size().trailing_zeros()
    }

    /// Bytes of `unit`: fewer for the last one of a medium that does not end with it.
    fn length_of(&self, unit: u64) -> usize {
        let left = self.medium.size() - self.offset_of(unit);
        usize::try_from(left).map_or(self.overlay.unit_size(), |left| {
            left.min(self.overlay.unit_size())
        })
    }

    /// Takes the oldest unit to the medium.
    fn write_back_oldest(&mut self) -> Result<(), MediaError> {
        self.store(self.overlay.head())?;
        self.overlay.pop();
        Ok(())
    }

    fn store(&mut self, position: Position) -> Result<(), MediaError> {
        let unit = self.overlay.entry(position).unit;
        let data = self.overlay.data(position, 0, self.length_of(unit));
        let offset = self.offset_of(unit);
        self.medium.write(offset, &data)
    }

    /// Where `part`'s unit is held; puts it there if it was not.
    fn hold(&mut self, part: &Part) -> Result<Position, MediaError> {
        if let Some(position) = self.overlay.find(part.unit) {
            return Ok(position);
        }
        if self.overlay.is_full() {
            self.write_back_oldest()?;
        }
        let position = self.overlay.push(part.unit);
        let length = self.length_of(part.unit);
        if part.length < length {
            let offset = self.offset_of(part.unit);
            let data = self.overlay.data(position, 0, length);
            if let Err(error) = self.medium.read(offset, &data) {
                self.overlay.unpush();
                return Err(match error {
                    MediaError::Read(source) => MediaError::Write(source),
                    other => other,
                });
            }
        }
        Ok(position)
    }

    fn write_through(&mut self, offset: u64, from: &VolatileSlice<'_>) -> Result<(), MediaError> {
        self.medium.write(offset, from)?;
        if self.overlay.is_empty() {
            return Ok(());
        }
        for part in self.parts(offset, from.len()) {
            if let Some(position) = self.overlay.find(part.unit) {
                let data = self.overlay.data(position, part.start, part.length);
                copy(from, part.at, &data, 0, part.length);
            }
        }
        Ok(())
    }

    /// Zeroes what is held of `[start, end)`, by way of the units held.
    fn zero_held(&mut self, start: u64, end: u64) {
        for position in self.overlay.head()..self.overlay.tail() {
            let first = self.offset_of(self.overlay.entry(position).unit);
            let last = first + self.overlay.unit_size() as u64;
            let (from, to) = (first.max(start), last.min(end));
            if from < to {
                // Both are offsets within a unit.
                #[expect(clippy::cast_possible_truncation, reason = "within a unit")]
                let (from, length) = ((from - first) as usize, (to - from) as usize);
                fill_zero(&self.overlay.data(position, from, length));
            }
        }
    }

    /// Goes on with the oldest flush that still takes units to the medium. Gives it back when it
    /// has ended.
    fn advance_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)> {
        let &(ticket, target) = self.flushes.front()?;
        let mut left = STEP;
        while self.overlay.head() < target && left > 0 {
            if let Err(error) = self.write_back_oldest() {
                // The unit stays, so that the next flush tries again.
                self.flushes.pop_front();
                return Some((ticket, Err(error)));
            }
            left -= 1;
        }
        if self.overlay.head() < target {
            return None;
        }
        self.flushes.pop_front();
        match self.medium.start_flush(ticket) {
            Ok(FlushStart::Done) => Some((ticket, Ok(()))),
            Ok(FlushStart::Pending) => {
                self.handed_on += 1;
                None
            }
            Err(error) => Some((ticket, Err(error))),
        }
    }
}

/// Copies `length` bytes from one place to another; both have been checked.
fn copy(
    from: &VolatileSlice<'_>,
    from_start: usize,
    to: &VolatileSlice<'_>,
    to_start: usize,
    length: usize,
) {
    if let (Ok(from), Ok(to)) = (
        from.subslice(from_start, length),
        to.subslice(to_start, length),
    ) {
        from.copy_to_volatile_slice(to);
    } else {
        debug_assert!(false, "a part outside its buffer");
    }
}

impl<M: Media> Media for Cached<M> {
    fn size(&self) -> u64 {
        self.medium.size()
    }

    fn read(&mut self, offset: u64, into: &VolatileSlice<'_>) -> Result<(), MediaError> {
        if self.overlay.is_empty() {
            return self.medium.read(offset, into);
        }
        // What the cache has wholly need not come from the medium.
        let held = |part: &Part| self.overlay.find(part.unit).is_some();
        if !self.parts(offset, into.len()).all(|part| held(&part)) {
            self.medium.read(offset, into)?;
        }
        for part in self.parts(offset, into.len()) {
            if let Some(position) = self.overlay.find(part.unit) {
                let data = self.overlay.data(position, part.start, part.length);
                copy(&data, 0, into, part.at, part.length);
            }
        }
        Ok(())
    }

    fn prefetch(&self, offset: u64, length: usize) {
        self.medium.prefetch(offset, length);
    }

    fn write(&mut self, offset: u64, from: &VolatileSlice<'_>) -> Result<(), MediaError> {
        if !self.on {
            return self.write_through(offset, from);
        }
        self.writes += 1;
        for part in self.parts(offset, from.len()) {
            let position = self.hold(&part)?;
            let data = self.overlay.data(position, part.start, part.length);
            copy(from, part.at, &data, 0, part.length);
            self.overlay.set_write(position, self.writes);
        }
        Ok(())
    }

    /// Takes effect on the medium at once; a power cut does not undo it.
    fn write_zeroes(
        &mut self,
        offset: u64,
        length: u64,
        deallocate: bool,
    ) -> Result<(), MediaError> {
        self.medium.write_zeroes(offset, length, deallocate)?;
        let units = length >> self.overlay.unit_size().trailing_zeros();
        match usize::try_from(length) {
            Ok(length) if units < self.overlay.len() => {
                for part in self.parts(offset, length) {
                    if let Some(position) = self.overlay.find(part.unit) {
                        fill_zero(&self.overlay.data(position, part.start, part.length));
                    }
                }
            }
            _ => self.zero_held(offset, offset + length),
        }
        Ok(())
    }

    fn start_flush(&mut self, ticket: FlushTicket) -> Result<FlushStart, MediaError> {
        self.flushes.push_back((ticket, self.overlay.tail()));
        if self.flushes.len() > 1 {
            return Ok(FlushStart::Pending);
        }
        match self.advance_flush() {
            Some((_, result)) => result.map(|()| FlushStart::Done),
            None => Ok(FlushStart::Pending),
        }
    }

    fn poll_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)> {
        if self.handed_on > 0
            && let Some(ended) = self.medium.poll_flush()
        {
            self.handed_on -= 1;
            return Some(ended);
        }
        self.advance_flush()
    }

    fn set_volatile_cache(&mut self, on: bool) {
        self.on = on;
    }

    fn power_cut(&mut self, seed: u64) -> PowerCut {
        self.flushes.clear();
        self.handed_on = 0;
        self.medium.power_cut(seed);
        let mut outcome = PowerCut::default();
        while !self.overlay.is_empty() {
            let position = self.overlay.head();
            let entry = self.overlay.entry(position);
            match Fate::of(seed, entry.write, entry.unit) {
                // A medium that fails at such a moment has lost the unit.
                Fate::Kept if self.store(position).is_ok() => outcome.kept += 1,
                Fate::Kept | Fate::Lost => outcome.lost += 1,
                Fate::Torn => outcome.torn += 1,
            }
            self.overlay.pop();
        }
        outcome
    }
}

/// What a power cut does to one unit.
enum Fate {
    Kept,
    Lost,
    Torn,
}

impl Fate {
    /// Decided by the seed, the write command and the unit, and by nothing else: one third of the
    /// commands is kept, one third lost, and of one third each unit goes its own way.
    fn of(seed: u64, write: u64, unit: u64) -> Self {
        let draw = |salt: u64| {
            let state = u128::from(seed) << 64 | u128::from(salt);
            let mut generator = Pcg64Mcg::new(state);
            // The first outputs of near states are alike.
            generator.next_u64();
            generator.next_u64()
        };
        let command = draw(write);
        match command % 3 {
            0 => Self::Kept,
            1 => Self::Lost,
            _ if draw(command ^ unit) & 1 == 0 => Self::Kept,
            _ => Self::Torn,
        }
    }
}

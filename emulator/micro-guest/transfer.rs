// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The data buffer of a command: scattered pages, an offset in the first, PRPs that name them
//! (NVMe Base 2.0c, 4.1.1), and what lies around it.

use crate::check::{Outcome, equal_in};
use crate::memory::{Arena, PAGE, Region};
use crate::random::Random;

/// Bytes of a PRP entry.
const ENTRY: u64 = 8;
/// Entries of a page of a PRP list.
const ENTRIES: u64 = PAGE / ENTRY;
/// What a buffer and its surroundings hold before a read.
const POISON: u32 = 0xEEEE_EEEE;
/// Bytes around a buffer that are looked at.
const GUARD: u64 = 64;

/// How a transfer's PRPs look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// PRP1 alone.
    OnePage,
    /// PRP2 is the second page.
    TwoPages,
    /// PRP2 is a list within a page.
    List,
    /// PRP2 is a list that goes on in another page.
    Chain,
}

/// Memory for the data and the PRP lists of one command at a time.
#[derive(Clone, Copy)]
pub struct Buffer {
    data: Region,
    lists: Region,
    /// Pages of `data`: a prime, so that steps of any length visit them all.
    pages: u64,
}

impl Buffer {
    /// Pages of data for transfers of up to `bytes` at any offset, and one that stays unused.
    fn pages_for(bytes: u64) -> u64 {
        let mut pages = bytes.div_ceil(PAGE) + 2;
        while (2..pages).any(|divisor| pages.is_multiple_of(divisor)) {
            pages += 1;
        }
        pages
    }

    /// Pages of lists for so many pages of data, wherever the first list begins.
    fn list_pages_for(pages: u64) -> u64 {
        pages.div_ceil(ENTRIES - 1) + 1
    }

    /// Bytes of memory that [`Buffer::new`] takes.
    pub fn size(bytes: u64) -> u64 {
        let pages = Self::pages_for(bytes);
        (pages + Self::list_pages_for(pages)) * PAGE
    }

    /// Memory for transfers of up to `bytes`.
    pub fn new(arena: &mut Arena, bytes: u64) -> Self {
        let pages = Self::pages_for(bytes);
        Self {
            data: arena.pages(pages),
            lists: arena.pages(Self::list_pages_for(pages)),
            pages,
        }
    }
}

/// One transfer's place in its buffer.
#[derive(Clone, Copy)]
pub struct Transfer {
    buffer: Buffer,
    /// Bytes, more than 0.
    pub bytes: u64,
    /// Where the first byte is in the first page, a multiple of 4.
    offset: u64,
    /// The first page, and the way to each next one.
    first: u64,
    step: u64,
    /// Entry of the first list page at which the list begins.
    list_start: u64,
}

impl Transfer {
    /// A transfer of `bytes` at a random place.
    pub fn draw(buffer: Buffer, bytes: u64, random: &mut Random) -> Self {
        let offset = match random.below(4) {
            0 => 4 * random.below(PAGE / 4),
            1 => 512 * random.below(PAGE / 512),
            _ => 0,
        };
        let list_start = match random.below(4) {
            0 => 0,
            // Near the end of the page: the list goes on in another one.
            1 => ENTRIES - 1 - random.below(8),
            _ => random.below(ENTRIES),
        };
        Self {
            buffer,
            bytes,
            offset,
            first: random.below(buffer.pages),
            step: 1 + random.below(buffer.pages - 1),
            list_start,
        }
    }

    /// Pages that it touches.
    fn pages(&self) -> u64 {
        (self.offset + self.bytes).div_ceil(PAGE)
    }

    /// Page `number` of the transfer, in the buffer.
    fn page(&self, number: u64) -> Region {
        let page = (self.first + number * self.step) % self.buffer.pages;
        self.buffer.data.part(page * PAGE, PAGE)
    }

    /// The word at byte `at` of the transfer, a multiple of 4: its page and its place there.
    #[inline]
    fn place(&self, at: u64) -> (Region, u64) {
        let at = self.offset + at;
        (self.page(at / PAGE), at % PAGE)
    }

    /// Visits the words of `bytes` bytes from `at` on, page by page: the index of the word, its page
    /// and its place there.
    #[inline]
    pub fn for_words(
        &self,
        at: u64,
        bytes: u64,
        mut visit: impl FnMut(u64, Region, u64) -> Outcome,
    ) -> Outcome {
        let mut done = 0;
        while done < bytes {
            let (page, place) = self.place(at + done);
            let here = (PAGE - place).min(bytes - done);
            for word in (0..here).step_by(4) {
                visit((done + word) / 4, page, place + word)?;
            }
            done += here;
        }
        Ok(())
    }

    /// Writes the lists, if there are any, and gives PRP1, PRP2 and what they are.
    pub fn prps(&self) -> (u64, u64, Shape) {
        let first = self.page(0).address() + self.offset;
        match self.pages() {
            1 => (first, 0, Shape::OnePage),
            2 => (first, self.page(1).address(), Shape::TwoPages),
            pages => {
                let chained = self.write_lists(pages);
                let list = self.buffer.lists.address() + self.list_start * ENTRY;
                let shape = if chained { Shape::Chain } else { Shape::List };
                (first, list, shape)
            }
        }
    }

    /// Writes the pages from the second on. Returns whether the list needed more than one page.
    fn write_lists(&self, pages: u64) -> bool {
        let lists = self.buffer.lists;
        let mut entry = self.list_start;
        let mut chained = false;
        for number in 1..pages {
            // The last entry of a page points to the next page, unless it is the last of all.
            if entry % ENTRIES == ENTRIES - 1 && number + 1 < pages {
                lists.store64(entry * ENTRY, lists.address() + (entry + 1) * ENTRY);
                entry += 1;
                chained = true;
            }
            lists.store64(entry * ENTRY, self.page(number).address());
            entry += 1;
        }
        chained
    }

    /// Visits what must not change around the transfer: up to 64 bytes before and after it in its
    /// pages, and as much of a page that it does not touch.
    fn for_guards(&self, mut visit: impl FnMut(Region, u64) -> Outcome) -> Outcome {
        let pages = self.pages();
        let end = (self.offset + self.bytes - 1) % PAGE + 1;
        let before = self.offset.saturating_sub(GUARD) / 4 * 4;
        for at in (before..self.offset).step_by(4) {
            visit(self.page(0), at)?;
        }
        for at in (end..PAGE.min(end + GUARD)).step_by(4) {
            visit(self.page(pages - 1), at)?;
        }
        for at in (0..GUARD).step_by(4) {
            visit(self.page(pages), at)?;
        }
        Ok(())
    }

    /// Makes the buffer and its surroundings look like no data at all.
    pub fn poison(&self) -> Outcome {
        self.for_words(0, self.bytes, |_, page, place| {
            page.store32(place, POISON);
            Ok(())
        })?;
        self.for_guards(|page, place| {
            page.store32(place, POISON);
            Ok(())
        })
    }

    /// That the surroundings are as [`Transfer::poison`] left them.
    pub fn check_guards(&self, lba: u64) -> Outcome {
        self.for_guards(|page, place| {
            equal_in(
                "memory beside a read's buffer is untouched (detail: LBA)",
                POISON.into(),
                page.load32(place).into(),
                lba,
            )
        })
    }
}

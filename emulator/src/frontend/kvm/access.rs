// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How an access that left the guest reaches the function on the poller's thread.
//!
//! Each vCPU has one cell. It fills the cell, sets its bit, and waits for the answer: accesses of a
//! vCPU are answered in order, and each is complete, with everything that follows from it, before
//! the vCPU runs on. The poller looks at one word a turn, which hardly ever changes. A poller that
//! has said that it sleeps is woken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::drive::Event;
use crate::pci::Region;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::sync::thread;

/// Cells are this far apart, so that two vCPUs share no cache line, nor the one fetched with it.
const CELL_ALIGNMENT: usize = 128;
/// The most vCPUs: one bit of a word each.
pub const MOST_VCPUS: usize = 32;
/// So many looks at a cell before the vCPU lets others run: the poller may want its core.
const SPINS: u32 = 4096;
/// A poller that has not answered for so long has lost its core, or waits for a disk.
const SLOW: Duration = Duration::from_secs(1);
/// Where BAR0 is while it does not answer.
const NOWHERE: u64 = u64::MAX;

const REGION_BAR0: u32 = 0;
const REGION_CONFIG: u32 = 1;
const WRITE: u32 = 2;

const EMPTY: u32 = 0;
const WAITING: u32 = 1;

/// An access, and its answer.
#[repr(align(128))]
#[derive(Default)]
struct Cell {
    state: AtomicU32,
    /// [`REGION_BAR0`] or [`REGION_CONFIG`], and perhaps [`WRITE`].
    kind: AtomicU32,
    offset: AtomicU64,
    /// Bytes, 1 to 8.
    size: AtomicU32,
    data: AtomicU64,
}

const _: () = assert!(align_of::<Cell>() == CELL_ALIGNMENT);

/// One access as the poller sees it.
pub(super) struct Access {
    pub(super) region: Region,
    pub(super) offset: u64,
    pub(super) size: usize,
    /// What is written; `None` for a read.
    pub(super) data: Option<u64>,
}

struct Shared {
    cells: Box<[Cell]>,
    /// A bit for each cell that waits.
    waiting: AtomicU32,
    asleep: AtomicBool,
    /// Nobody answers any more.
    closed: AtomicBool,
    wake: Event,
    /// Where BAR0 is, or [`NOWHERE`].
    bar0: AtomicU64,
}

/// The vCPUs' side.
#[derive(Clone)]
pub struct AccessPort {
    shared: Arc<Shared>,
}

/// The poller's side. Dropping it answers every read with ones, as a bus without a device.
pub(super) struct AccessQueue {
    shared: Arc<Shared>,
}

/// Both sides, for `vcpus` vCPUs, at most [`MOST_VCPUS`].
///
/// # Errors
/// When the host gives no eventfd.
pub(super) fn channel(vcpus: usize) -> std::io::Result<(AccessPort, AccessQueue)> {
    assert!(vcpus <= MOST_VCPUS, "{vcpus} vCPUs have no cells");
    let shared = Arc::new(Shared {
        cells: (0..vcpus).map(|_| Cell::default()).collect(),
        waiting: AtomicU32::new(0),
        asleep: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        wake: Event::new()?,
        bar0: AtomicU64::new(NOWHERE),
    });
    Ok((
        AccessPort {
            shared: Arc::clone(&shared),
        },
        AccessQueue { shared },
    ))
}

impl AccessPort {
    /// Reads up to 8 bytes of a region for a vCPU. Ones where nothing answers.
    pub fn read(&self, vcpu: usize, region: Region, offset: u64, data: &mut [u8]) {
        let answer = self.exchange(vcpu, kind(region), offset, data.len(), 0);
        let bytes = answer.unwrap_or(u64::MAX).to_le_bytes();
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    /// Writes up to 8 bytes of a region for a vCPU.
    pub fn write(&self, vcpu: usize, region: Region, offset: u64, data: &[u8]) {
        let mut value = [0; 8];
        for (to, from) in value.iter_mut().zip(data) {
            *to = *from;
        }
        let kind = kind(region) | WRITE;
        // Nobody there to write to is as on a bus.
        let _ = self.exchange(vcpu, kind, offset, data.len(), u64::from_le_bytes(value));
    }

    /// Where in BAR0 the guest address lies, if the function answers there now.
    #[inline]
    pub fn bar0_offset(&self, address: u64, bar0_size: u64) -> Option<u64> {
        let bar0 = self.shared.bar0.load(Ordering::Acquire);
        let offset = address.checked_sub(bar0)?;
        (offset < bar0_size).then_some(offset)
    }

    fn exchange(&self, vcpu: usize, kind: u32, offset: u64, size: usize, data: u64) -> Option<u64> {
        let shared = &*self.shared;
        let cell = shared.cells.get(vcpu)?;
        cell.kind.store(kind, Ordering::Relaxed);
        cell.offset.store(offset, Ordering::Relaxed);
        let size = u32::try_from(size.min(8)).unwrap_or(8);
        cell.size.store(size, Ordering::Relaxed);
        cell.data.store(data, Ordering::Relaxed);
        cell.state.store(WAITING, Ordering::Release);
        // The poller does the reverse: says that it sleeps, then looks at the word once more. At
        // least one of the two sees the other.
        shared.waiting.fetch_or(1 << vcpu, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) {
            shared.wake.set();
        }
        self.wait(cell)?;
        Some(cell.data.load(Ordering::Relaxed))
    }

    /// Waits for the answer. `None`: there is nobody any more.
    fn wait(&self, cell: &Cell) -> Option<()> {
        let mut spins = 0;
        let mut begun = None;
        while cell.state.load(Ordering::Acquire) == WAITING {
            spins += 1;
            if spins < SPINS {
                thread::spin_loop();
                continue;
            }
            if self.shared.closed.load(Ordering::Acquire) {
                return None;
            }
            let begun = begun.get_or_insert_with(Instant::now);
            if begun.elapsed() > SLOW {
                thread::sleep(Duration::from_micros(100));
            } else {
                thread::yield_now();
            }
        }
        Some(())
    }
}

impl AccessQueue {
    /// Whether anything waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) == 0
    }

    /// Answers everything that waits: `answer` carries an access out and returns what was read.
    pub(super) fn serve(&self, mut answer: impl FnMut(&Self, &Access) -> u64) {
        let mut waiting = self.shared.waiting.swap(0, Ordering::AcqRel);
        while waiting != 0 {
            let vcpu = waiting.trailing_zeros() as usize;
            waiting &= waiting - 1;
            let Some(cell) = self.shared.cells.get(vcpu) else {
                continue;
            };
            if cell.state.load(Ordering::Acquire) != WAITING {
                continue;
            }
            let kind = cell.kind.load(Ordering::Relaxed);
            let access = Access {
                region: if kind & REGION_CONFIG == 0 {
                    Region::Bar0
                } else {
                    Region::Config
                },
                offset: cell.offset.load(Ordering::Relaxed),
                size: cell.size.load(Ordering::Relaxed).clamp(1, 8) as usize,
                data: (kind & WRITE != 0).then(|| cell.data.load(Ordering::Relaxed)),
            };
            let answered = answer(self, &access);
            cell.data.store(answered, Ordering::Relaxed);
            cell.state.store(EMPTY, Ordering::Release);
        }
    }

    /// Says where BAR0 answers from now on, if it does.
    pub(super) fn publish_bar0(&self, bar0: Option<u64>) {
        let bar0 = bar0.unwrap_or(NOWHERE);
        if self.shared.bar0.load(Ordering::Relaxed) != bar0 {
            self.shared.bar0.store(bar0, Ordering::Release);
        }
    }

    /// Says that the poller is about to sleep, and looks once more. Returns whether it may.
    pub(super) fn prepare_sleep(&self) -> bool {
        self.shared.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.shared.waiting.load(Ordering::SeqCst) == 0
    }

    /// Says that the poller looks by itself.
    pub(super) fn resume_polling(&self) {
        self.shared.asleep.store(false, Ordering::Release);
    }

    /// What wakes the poller.
    pub(super) fn wake(&self) -> &Event {
        &self.shared.wake
    }
}

impl Drop for AccessQueue {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

fn kind(region: Region) -> u32 {
    match region {
        Region::Bar0 => REGION_BAR0,
        Region::Config => REGION_CONFIG,
    }
}

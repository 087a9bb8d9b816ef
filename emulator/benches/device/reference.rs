// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this machine can do at best: the yardsticks of the figures.

use std::fmt;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use emulator::dma::AnonymousMemory;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How often each reference is taken; the best counts, because it is what the machine can do.
const ROUNDS: usize = 7;

/// Figures that need no device.
pub struct Reference {
    /// A cache line from one core to the other and back, in nanoseconds.
    pub round_trip_nanos: f64,
    /// One copy of 4 KiB from a random page of a large area to a hot buffer, in nanoseconds.
    pub copy_nanos: f64,
}

impl Reference {
    /// Measures both; copies are out of `area` bytes.
    pub fn measure(cores: (usize, usize), area: u64) -> Self {
        pin(cores.1);
        let copy_nanos = best(|| copies(area));
        let round_trip_nanos = best(|| round_trips(cores));
        Self {
            round_trip_nanos,
            copy_nanos,
        }
    }

    pub fn copies_per_second(&self) -> f64 {
        1e9 / self.copy_nanos
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reference: core-to-core round trip {:.0} ns; 4 KiB copy {:.0} ns ({:.2} M/s)",
            self.round_trip_nanos,
            self.copy_nanos,
            self.copies_per_second() / 1e6
        )
    }
}

fn best(mut measure: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| measure()).fold(f64::MAX, f64::min)
}

/// Two cores that this process may use: the driver's and the poller's.
pub fn two_cores() -> (usize, usize) {
    let allowed = sched_getaffinity(None).expect("the process has an affinity");
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let first = cores.next().expect("the process runs somewhere");
    let second = cores.next().unwrap_or_else(|| {
        eprintln!("one core only: driver and poller share it, the figures mean nothing");
        first
    });
    (first, second)
}

/// Keeps the calling thread on `core`.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("cannot stay on core {core}: {error}");
    }
}

#[repr(align(128))]
struct Line(AtomicU64);

fn round_trips(cores: (usize, usize)) -> f64 {
    const TRIPS: u64 = 200_000;
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let wait = |line: &Line, value| {
        while line.0.load(Ordering::Acquire) != value {
            spin_loop();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores.1);
            for trip in 1..=TRIPS {
                wait(&there, trip);
                back.0.store(trip, Ordering::Release);
            }
        });
        pin(cores.0);
        let mut start = Instant::now();
        for trip in 1..=TRIPS {
            if trip == TRIPS / 2 {
                start = Instant::now();
            }
            there.0.store(trip, Ordering::Release);
            wait(&back, trip);
        }
        nanos_each(start, TRIPS / 2)
    })
}

fn copies(area: u64) -> f64 {
    const COPIES: u64 = 300_000;
    const PAGE: usize = 4096;
    let bytes = usize::try_from(area).expect("the area fits the address space");
    let large = AnonymousMemory::new(bytes).expect("room for the area");
    let hot = AnonymousMemory::new(PAGE).expect("room for a page");
    for at in (0..bytes).step_by(PAGE) {
        let page = large.slice(at, PAGE).expect("inside");
        page.copy_from(&[1_u8; 8]);
    }
    let mut random = Random::new(1);
    let start = Instant::now();
    for _ in 0..COPIES {
        let page = random.below(area / PAGE as u64) * PAGE as u64;
        let page = usize::try_from(page).expect("inside");
        let from = large.slice(page, PAGE).expect("inside");
        let to = hot.slice(0, PAGE).expect("inside");
        black_box(&from).copy_to_volatile_slice(to);
    }
    nanos_each(start, COPIES)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn nanos_each(start: Instant, count: u64) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// A cheap generator (xorshift), so that choosing a place costs next to nothing.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let scaled = (u128::from(self.0) * u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }
}

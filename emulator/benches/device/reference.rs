// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this machine can do at best: the yardsticks of the figures.

use std::fmt;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use emulator::dma::AnonymousMemory;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Events in a window: shorter than a scheduler's time slice.
pub const WINDOW: u64 = 1024;

/// How long many windows of [`WINDOW`] events took.
#[derive(Default)]
pub struct Windows(Vec<Duration>);

impl Windows {
    /// Ends a window that began at `start`.
    #[inline]
    pub fn end(&mut self, start: Instant) {
        self.0.push(start.elapsed());
    }

    /// Nanoseconds for each event in the quietest tenth of the windows.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn nanos_each(&mut self) -> Option<f64> {
        self.0.sort_unstable();
        let window = self.0.get(self.0.len() / 10)?;
        Some(window.as_secs_f64() * 1e9 / WINDOW as f64)
    }
}

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
        let copy_nanos = copies(area).nanos_each();
        let round_trip_nanos = round_trips(cores).nanos_each();
        Self {
            round_trip_nanos: round_trip_nanos.expect("windows"),
            copy_nanos: copy_nanos.expect("windows"),
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

fn round_trips(cores: (usize, usize)) -> Windows {
    const WINDOWS: u64 = 500;
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let wait = |line: &Line, value| {
        while line.0.load(Ordering::Acquire) != value {
            spin_loop();
        }
    };
    let mut windows = Windows::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores.1);
            for trip in 1..=WINDOWS * WINDOW {
                wait(&there, trip);
                back.0.store(trip, Ordering::Release);
            }
        });
        pin(cores.0);
        let mut start = Instant::now();
        for trip in 1..=WINDOWS * WINDOW {
            there.0.store(trip, Ordering::Release);
            wait(&back, trip);
            if trip % WINDOW == 0 {
                windows.end(start);
                start = Instant::now();
            }
        }
    });
    windows
}

fn copies(area: u64) -> Windows {
    const WINDOWS: u64 = 1000;
    const PAGE: usize = 4096;
    let bytes = usize::try_from(area).expect("the area fits the address space");
    let large = AnonymousMemory::new(bytes).expect("room for the area");
    let hot = AnonymousMemory::new(PAGE).expect("room for a page");
    for at in (0..bytes).step_by(PAGE) {
        let page = large.slice(at, PAGE).expect("inside");
        page.copy_from(&[1_u8; 8]);
    }
    let mut random = Random::new(1);
    let mut windows = Windows::default();
    for _ in 0..WINDOWS {
        let start = Instant::now();
        for _ in 0..WINDOW {
            let page = random.below(area / PAGE as u64) * PAGE as u64;
            let page = usize::try_from(page).expect("inside");
            let from = large.slice(page, PAGE).expect("inside");
            let to = hot.slice(0, PAGE).expect("inside");
            black_box(&from).copy_to_volatile_slice(to);
        }
        windows.end(start);
    }
    windows
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

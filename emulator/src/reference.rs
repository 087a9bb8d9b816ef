// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this machine can do at best: the yardsticks that measured figures are held against.
//!
//! All of them are of the quietest tenth of many short windows, so that whatever else runs on the
//! machine disturbs them as little as it can. Figures beside them have to be taken the same way.

use std::fmt;
use std::hint::{black_box, spin_loop};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::dma::AnonymousMemory;
use crate::drive::pin_thread;

/// Events in a window: shorter than a scheduler's time slice.
pub const WINDOW: u64 = 1024;

/// How long many windows of [`WINDOW`] events took.
#[derive(Clone, Debug, Default)]
pub struct Windows(Vec<Duration>);

impl Windows {
    /// Ends a window that began at `start`.
    #[inline]
    pub fn end(&mut self, start: Instant) {
        self.0.push(start.elapsed());
    }

    /// Nanoseconds for each event in the quietest tenth of the windows; `None` without windows.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn nanos_each(&mut self) -> Option<f64> {
        self.0.sort_unstable();
        let window = self.0.get(self.0.len() / 10)?;
        Some(window.as_secs_f64() * 1e9 / WINDOW as f64)
    }
}

impl FromIterator<Duration> for Windows {
    fn from_iter<T: IntoIterator<Item = Duration>>(windows: T) -> Self {
        Self(windows.into_iter().collect())
    }
}

/// Figures that need no device.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// A cache line from one core to the other and back, in nanoseconds.
    pub round_trip_nanos: f64,
    /// One copy of 4 KiB from a random page of a large area to a hot buffer, in nanoseconds.
    pub copy_nanos: f64,
}

impl Reference {
    /// Measures both between two cores; copies are out of `area` bytes, by the second one. Takes
    /// about a second for an area of 1 GiB.
    ///
    /// # Errors
    /// When a core cannot be used, or the host has no room for the area.
    pub fn measure(cores: (usize, usize), area: u64) -> io::Result<Self> {
        let copies = on_core(cores.1, || copies(area))?;
        Ok(Self {
            round_trip_nanos: round_trip_nanos(cores)?,
            copy_nanos: nanos_each(copies)?,
        })
    }

    /// 4 KiB copies a second.
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

/// A cache line from one core to the other and back, in nanoseconds. Takes about a tenth of a
/// second. A virtual machine's cores may be moved: then it changes by a factor of five from one
/// second to the next, so a figure that is held against it needs one taken close by.
///
/// # Errors
/// When a core cannot be used.
pub fn round_trip_nanos(cores: (usize, usize)) -> io::Result<f64> {
    nanos_each(round_trips(cores)?)
}

fn nanos_each(mut windows: Windows) -> io::Result<f64> {
    let none = || io::Error::other("nothing was measured");
    windows.nanos_each().ok_or_else(none)
}

/// Two cores that this process may use: the driver's and the poller's. The same one twice when there
/// is no other: then what is measured between them means nothing.
///
/// # Errors
/// When the host does not tell.
pub fn two_cores() -> io::Result<(usize, usize)> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let none = || io::Error::other("this process may run on no core");
    let first = cores.next().ok_or_else(none)?;
    Ok((first, cores.next().unwrap_or(first)))
}

/// Runs `work` in a thread that stays on `core`.
fn on_core<T: Send>(core: usize, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| pin_thread(core).and_then(|()| work()));
        let panicked = |_| Err(io::Error::other("a measuring thread panicked"));
        thread.join().unwrap_or_else(panicked)
    })
}

#[repr(align(128))]
struct Line(AtomicU64);

fn round_trips(cores: (usize, usize)) -> io::Result<Windows> {
    const WINDOWS: u64 = 250;
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let relax = if cores.0 == cores.1 {
        std::thread::yield_now
    } else {
        spin_loop
    };
    let wait = |line: &Line, value| {
        while line.0.load(Ordering::Acquire) != value {
            relax();
        }
    };
    let answer = || {
        for trip in 1..=WINDOWS * WINDOW {
            wait(&there, trip);
            back.0.store(trip, Ordering::Release);
        }
    };
    let ask = || {
        let mut windows = Windows::default();
        let mut start = Instant::now();
        for trip in 1..=WINDOWS * WINDOW {
            there.0.store(trip, Ordering::Release);
            wait(&back, trip);
            if trip % WINDOW == 0 {
                windows.end(start);
                start = Instant::now();
            }
        }
        windows
    };
    // Both cores can be used, or neither thread begins: one would wait for the other.
    for core in [cores.0, cores.1] {
        on_core(core, || Ok(()))?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(error) = pin_thread(cores.1) {
                log::warn!("core {}: {error}", cores.1);
            }
            answer();
        });
        on_core(cores.0, || Ok(ask()))
    })
}

fn copies(area: u64) -> io::Result<Windows> {
    const WINDOWS: u64 = 1000;
    const PAGE: usize = 4096;
    let beyond = || io::Error::from(io::ErrorKind::OutOfMemory);
    let bytes = usize::try_from(area).map_err(|_| beyond())?;
    let large = AnonymousMemory::new(bytes)?;
    let hot = AnonymousMemory::new(PAGE)?;
    for at in (0..bytes).step_by(PAGE) {
        let page = large.slice(at, PAGE).ok_or_else(beyond)?;
        page.copy_from(&[1_u8; 8]);
    }
    let mut random = Random::new(1);
    let mut windows = Windows::default();
    for _ in 0..WINDOWS {
        let start = Instant::now();
        for _ in 0..WINDOW {
            let page = random.below(area / PAGE as u64) * PAGE as u64;
            let page = usize::try_from(page).map_err(|_| beyond())?;
            let from = large.slice(page, PAGE).ok_or_else(beyond)?;
            let to = hot.slice(0, PAGE).ok_or_else(beyond)?;
            black_box(&from).copy_to_volatile_slice(to);
        }
        windows.end(start);
    }
    Ok(windows)
}

/// A cheap generator (xorshift), so that choosing a place costs next to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; the same seed gives the same numbers.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanos_each_is_of_the_quietest_tenth() {
        let slow = Duration::from_micros(500);
        let quick = Duration::from_nanos(100 * WINDOW);
        let mut windows: Windows = (0..20)
            .map(|at| if at < 3 { quick } else { slow })
            .collect();
        assert_eq!(windows.nanos_each(), Some(100.0));
    }

    #[test]
    fn nanos_each_without_windows_is_none() {
        assert_eq!(Windows::default().nanos_each(), None);
    }

    #[test]
    fn below_stays_below() {
        let mut random = Random::new(3);
        assert!((0..1000).all(|_| random.below(10) < 10));
        assert_eq!(random.below(1), 0);
    }
}

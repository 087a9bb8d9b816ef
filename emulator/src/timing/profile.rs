// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Profiles: how fast the device pretends to be.

use std::sync::Arc;

use super::file::Source;
use super::{Nanos, Service, Work};

/// A speed profile, checked. `docs/profiles.md` says what each value means.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub(super) name: String,
    pub(super) front_end: Nanos,
    pub(super) bandwidth: Option<PerByte>,
    pub(super) units: u16,
    pub(super) stripe: u32,
    pub(super) read: Service,
    pub(super) write: Service,
    pub(super) other: Service,
    pub(super) write_cache: Option<WriteCache>,
    pub(super) interference: Option<Interference>,
    /// What it was made from, so that single values can be changed.
    pub(super) source: Arc<Source>,
}

/// A cost for each byte, in 2^-20 ns: exact to a thousandth up to 1 TB/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerByte(u64);

/// Memory of the device that takes writes in, and gives them to the medium meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteCache {
    /// How long it takes to empty when it is full.
    pub full: Nanos,
    /// What a byte takes to leave it.
    pub drain: PerByte,
}

/// What the device does on its own account from time to time, such as moving data: some units are
/// busy with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interference {
    /// From one begin to the next; the first is at this time.
    pub every: Nanos,
    /// How long each unit is busy; shorter than `every`.
    pub busy: Nanos,
    /// How many units.
    pub units: u16,
}

impl PerByte {
    /// From bytes a second, 1 MB/s to 1 TB/s.
    pub fn of_bandwidth(bytes_per_second: u64) -> Self {
        let bandwidth = bytes_per_second.clamp(1_000_000, 1_000_000_000_000);
        Self(((1_000_000_000 << 20) + bandwidth / 2) / bandwidth)
    }

    /// What so many bytes take.
    #[inline]
    pub fn time(self, bytes: u64) -> Nanos {
        let time = (u128::from(bytes) * u128::from(self.0)) >> 20;
        Nanos::try_from(time).unwrap_or(Nanos::MAX)
    }
}

impl Profile {
    /// A profile that serves every kind of work alike, in stripes of 4 KiB, and knows nothing else.
    /// `units` is at least 1.
    pub fn uniform(name: &str, units: u16, front_end: Nanos, service: &Service) -> Self {
        Self {
            name: name.to_owned(),
            front_end,
            bandwidth: None,
            units: units.max(1),
            stripe: 4096,
            read: service.clone(),
            write: service.clone(),
            other: service.clone(),
            write_cache: None,
            interference: None,
            source: Arc::default(),
        }
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What each command costs the device before a unit takes it, one command after another.
    pub fn front_end(&self) -> Nanos {
        self.front_end
    }

    /// What a byte takes between host and device, one command's after another's.
    pub fn bandwidth(&self) -> Option<PerByte> {
        self.bandwidth
    }

    /// Units that serve in parallel.
    pub fn units(&self) -> u16 {
        self.units
    }

    /// Bytes that one unit serves at a time.
    pub fn stripe(&self) -> u32 {
        self.stripe
    }

    /// What takes writes in, if there is something.
    pub fn write_cache(&self) -> Option<WriteCache> {
        self.write_cache
    }

    /// What keeps units busy besides commands.
    pub fn interference(&self) -> Option<Interference> {
        self.interference
    }

    /// Service time of a stripe.
    #[inline]
    pub fn service(&self, work: Work) -> &Service {
        match work {
            Work::Read => &self.read,
            Work::Write | Work::WriteThrough => &self.write,
            Work::Flush | Work::Other => &self.other,
        }
    }

    /// Whether nothing takes any time.
    pub fn is_instant(&self) -> bool {
        self.front_end == 0
            && self.bandwidth.is_none()
            && self.write_cache.is_none()
            && self.interference.is_none()
            && self.read.is_instant()
            && self.write.is_instant()
            && self.other.is_instant()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_byte_is_exact_over_its_range() {
        assert_eq!(PerByte::of_bandwidth(1_000_000).time(4096), 4_096_000);
        assert_eq!(PerByte::of_bandwidth(4_096_000_000).time(4096), 1000);
        let fastest = PerByte::of_bandwidth(1_000_000_000_000).time(1 << 30);
        assert!(fastest.abs_diff(1_073_742) < 1074, "{fastest}");
        assert_eq!(PerByte::of_bandwidth(1_000_000).time(u64::MAX), u64::MAX);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The medium as a queueing system: one front end that takes commands one after another, then
//! parallel units that serve them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::profile::{Interference, WriteCache};
use super::{Nanos, Profile, Request, Work};

/// The medium's state: which of its parts are busy until when.
///
/// A command spends the front-end cost in the front end, behind those that arrived before it, and its
/// data pass the link likewise. Then it is cut into stripes; each takes the unit that is free first and
/// keeps it for the service time. The command is due when its last stripe is. With a write cache,
/// writes take no unit, and wait for room in it.
///
/// The data of reads pass the link before the units too, though they come from there: with units that
/// work in parallel a command waits as long in all, and no slow read holds up what was read meanwhile.
#[derive(Debug)]
pub struct Model {
    profile: Profile,
    instant: bool,
    seed: u64,
    /// What the way of a command to the device and back takes besides.
    floor: Nanos,
    front_end_free: Nanos,
    link_free: Nanos,
    /// When the write cache is empty, if nothing more is written.
    cache_empty: Nanos,
    next_interference: Nanos,
    /// When the medium began to serve the last command.
    last_start: Nanos,
    /// When each unit is free; units are alike.
    units: BinaryHeap<Reverse<Nanos>>,
}

impl Model {
    /// An idle medium of the given speed. Draws depend on `seed`.
    pub fn new(profile: Profile, seed: u64) -> Self {
        let mut model = Self {
            instant: profile.is_instant(),
            seed,
            floor: 0,
            front_end_free: 0,
            link_free: 0,
            cache_empty: 0,
            next_interference: 0,
            last_start: 0,
            units: BinaryHeap::new(),
            profile,
        };
        model.resize_units();
        model
    }

    /// With so much of each command's time already spent, or still to be spent, on the way to the
    /// device and back ([`Floor::way`](super::Floor)): a command counts as arrived as long
    /// before it is seen, so that its host sees it take what the profile says.
    #[must_use]
    pub fn with_floor(mut self, floor: Nanos) -> Self {
        self.floor = floor;
        self
    }

    /// What is subtracted: see [`Model::with_floor`].
    pub fn floor(&self) -> Nanos {
        self.floor
    }

    /// The speed that new commands get.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Changes the speed of commands admitted from now on. Units that are busy stay busy until the
    /// time that was set for them.
    pub fn set_profile(&mut self, profile: Profile) {
        self.instant = profile.is_instant();
        self.profile = profile;
        self.next_interference = 0;
        self.resize_units();
    }

    /// When a command that arrives at `arrival` completes: `arrival` or later, less the floor.
    /// Arrivals of successive calls do not go backwards. Never panics; times saturate.
    #[inline]
    pub fn admit(&mut self, arrival: Nanos, request: &Request) -> Nanos {
        if self.instant {
            self.last_start = arrival;
            return arrival;
        }
        let start = self.take_in(arrival.saturating_sub(self.floor));
        let start = self.transfer(start, request);
        if let Some(interference) = self.profile.interference() {
            self.interfere(start, interference);
        }
        self.last_start = start;
        let service = self.profile.service(request.work).draw(self.seed, request);
        match (self.profile.write_cache(), request.work) {
            (Some(cache), Work::Write) => self.room(cache, start, request).saturating_add(service),
            (Some(cache), Work::WriteThrough) => {
                self.room(cache, start, request);
                self.cache_empty.saturating_add(service)
            }
            (Some(_), Work::Flush) => self.cache_empty.max(start).saturating_add(service),
            (_, Work::Read | Work::Write | Work::WriteThrough) => {
                let stripes = request.bytes.div_ceil(self.profile.stripe()).max(1);
                self.occupy(stripes, start, service)
            }
            (_, Work::Flush | Work::Other) => self.occupy(1, start, service),
        }
    }

    /// When the medium began to serve the command that was admitted last: when it had passed front
    /// end and link, and a unit was free.
    pub fn last_start(&self) -> Nanos {
        self.last_start
    }

    /// The front end's part: when the command leaves it.
    fn take_in(&mut self, arrival: Nanos) -> Nanos {
        let begin = arrival.max(self.front_end_free);
        self.front_end_free = begin.saturating_add(self.profile.front_end());
        self.front_end_free
    }

    /// The link's part: when the data have passed it.
    fn transfer(&mut self, start: Nanos, request: &Request) -> Nanos {
        let Some(cost) = self.profile.bandwidth() else {
            return start;
        };
        let begin = start.max(self.link_free);
        self.link_free = begin.saturating_add(cost.time(u64::from(request.bytes)));
        self.link_free
    }

    /// The units' part: when the last of the stripes is done.
    fn occupy(&mut self, stripes: u32, start: Nanos, service: Nanos) -> Nanos {
        let mut due = start;
        for stripe in 0..stripes {
            if let Some(mut unit) = self.units.peek_mut() {
                let begin = unit.0.max(start);
                if stripe == 0 {
                    self.last_start = begin;
                }
                unit.0 = begin.saturating_add(service);
                due = due.max(unit.0);
            }
        }
        due
    }

    /// Puts a write into the cache: when there is room for all of it.
    fn room(&mut self, cache: WriteCache, start: Nanos, request: &Request) -> Nanos {
        let drain = cache.drain.time(u64::from(request.bytes));
        self.cache_empty = self.cache_empty.max(start).saturating_add(drain);
        start.max(self.cache_empty.saturating_sub(cache.full))
    }

    /// Whatever has disturbed the units up to `now`. What was over long ago, while no command came,
    /// is passed over: it disturbed none.
    fn interfere(&mut self, now: Nanos, interference: Interference) {
        let Interference { every, busy, units } = interference;
        let last = now - now % every;
        self.next_interference = self.next_interference.max(last).max(every);
        // At the end of time there is no next one.
        while self.next_interference <= now && self.next_interference < Nanos::MAX {
            let begin = self.next_interference;
            self.occupy(u32::from(units), begin, busy);
            self.next_interference = begin.saturating_add(every);
        }
    }

    /// As many units as the profile has. When there are fewer, those that are busy longest stay.
    fn resize_units(&mut self) {
        let wanted = usize::from(self.profile.units());
        while self.units.len() > wanted {
            self.units.pop();
        }
        self.units
            .extend((self.units.len()..wanted).map(|_| Reverse(0)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Service, read_of};
    use super::*;

    const US: Nanos = 1000;

    fn fixed(units: u16, front_end: Nanos, time: Nanos, jitter: Nanos) -> Profile {
        Profile::uniform("test", units, front_end, &Service::uniform(time, jitter))
    }

    #[test]
    fn admit_to_an_idle_medium_takes_front_end_and_service() {
        let mut model = Model::new(fixed(4, 400, 6 * US, 0), 0);
        assert_eq!(model.admit(1000, &read_of(1, 0)), 1000 + 400 + 6 * US);
    }

    #[test]
    fn admit_more_than_units_queues_behind_the_first_free() {
        let mut model = Model::new(fixed(2, 0, 10 * US, 0), 0);
        let due: Vec<Nanos> = (0..5).map(|n| model.admit(0, &read_of(1, n))).collect();
        assert_eq!(due, [10 * US, 10 * US, 20 * US, 20 * US, 30 * US]);
    }

    #[test]
    fn admit_of_a_large_command_occupies_a_unit_for_each_stripe() {
        let mut model = Model::new(fixed(4, 0, 10 * US, 0), 0);
        let large = Request {
            bytes: 6 * 4096,
            ..read_of(1, 0)
        };
        assert_eq!(model.admit(0, &large), 20 * US);
        assert_eq!(model.admit(0, &read_of(1, 1)), 20 * US);
        assert_eq!(model.admit(0, &read_of(1, 2)), 20 * US);
        assert_eq!(model.admit(0, &read_of(1, 3)), 30 * US);
    }

    /// Work is conserved: no unit idles while a command waits, and none serves two at once.
    #[test]
    fn admit_under_saturation_conserves_work() {
        let (units, service, count) = (8, 5 * US, 4000u64);
        let mut model = Model::new(fixed(units, 100, service, 0), 0);
        let last = (0..count)
            .map(|n| model.admit(0, &read_of(1, n)))
            .max()
            .unwrap();
        let busy = count * service / u64::from(units);
        assert!(last >= busy);
        assert!(last <= busy + service + u64::from(units) * 100, "{last}");
    }

    #[test]
    fn admit_saturates_at_the_front_end_when_it_is_slowest() {
        let mut model = Model::new(fixed(64, 800, 5 * US, 0), 0);
        let last = (0..1000).map(|n| model.admit(0, &read_of(1, n))).max();
        assert_eq!(last, Some(1000 * 800 + 5 * US));
    }

    /// A command's own draw must not depend on what else runs: with units to spare, its latency is
    /// the same alone and among others, in whatever order they come.
    #[test]
    fn admit_in_another_order_gives_each_command_the_same_service() {
        let profile = fixed(1024, 0, 6 * US, 2 * US);
        let places: Vec<(u16, u64)> = (1..=4).flat_map(|q| (0..50).map(move |s| (q, s))).collect();
        let latencies = |order: &[(u16, u64)]| {
            let mut model = Model::new(profile.clone(), 42);
            let mut all: Vec<_> = order
                .iter()
                .map(|(q, s)| ((*q, *s), model.admit(0, &read_of(*q, *s))))
                .collect();
            all.sort_unstable();
            all
        };
        let mut reversed = places.clone();
        reversed.reverse();
        let mut interleaved = places.clone();
        interleaved.sort_by_key(|(q, s)| (*s, *q));
        assert_eq!(latencies(&places), latencies(&reversed));
        assert_eq!(latencies(&places), latencies(&interleaved));
    }

    #[test]
    fn admit_with_jitter_stays_within_it() {
        let mut model = Model::new(fixed(1024, 0, 6 * US, 2 * US), 1);
        let mut seen = (Nanos::MAX, 0);
        for sequence in 0..1000 {
            let arrival = sequence * 100 * US;
            let latency = model.admit(arrival, &read_of(1, sequence)) - arrival;
            assert!((4 * US..=8 * US).contains(&latency));
            seen = (seen.0.min(latency), seen.1.max(latency));
        }
        assert!(seen.0 < 4 * US + 100 && seen.1 > 8 * US - 100, "{seen:?}");
    }

    #[test]
    fn admit_at_the_end_of_time_saturates() {
        let mut model = Model::new(fixed(1, Nanos::MAX / 2, Nanos::MAX / 2, 0), 0);
        for sequence in 0..4 {
            assert_eq!(
                model.admit(Nanos::MAX - 1, &read_of(1, sequence)),
                Nanos::MAX
            );
        }
    }

    #[test]
    fn admit_by_an_instant_profile_is_due_on_arrival() {
        let mut model = Model::new(fixed(1, 0, 0, 0), 0);
        assert_eq!(model.admit(77, &read_of(1, 0)), 77);
    }

    #[test]
    fn set_profile_keeps_busy_units_busy() {
        let mut model = Model::new(fixed(2, 0, 100 * US, 0), 0);
        model.admit(0, &read_of(1, 0));
        model.set_profile(fixed(1, 0, US, 0));
        assert_eq!(model.admit(0, &read_of(1, 1)), 101 * US);
        model.set_profile(fixed(2, 0, US, 0));
        assert_eq!(model.admit(0, &read_of(1, 2)), US);
    }
}

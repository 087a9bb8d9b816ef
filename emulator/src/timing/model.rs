// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The medium as a queueing system: one front end that takes commands one after another, then
//! parallel units that serve them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::draw::jitter_offset;
use super::{Nanos, Profile, Request, Work};

/// The medium's state: which of its parts are busy until when.
///
/// A command spends the front-end cost in the front end, behind those that arrived before it. Then
/// it is cut into stripes; each takes the unit that is free first and keeps it for the service
/// time. The command is due when its last stripe is.
#[derive(Debug)]
pub struct Model {
    profile: Profile,
    seed: u64,
    front_end_free: Nanos,
    /// When each unit is free; units are alike.
    units: BinaryHeap<Reverse<Nanos>>,
}

impl Model {
    /// An idle medium of the given speed. Draws depend on `seed`.
    pub fn new(profile: Profile, seed: u64) -> Self {
        let mut model = Self {
            seed,
            front_end_free: 0,
            units: BinaryHeap::new(),
            profile,
        };
        model.resize_units();
        model
    }

    /// The speed that new commands get.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Changes the speed of commands admitted from now on. Units that are busy stay busy until the
    /// time that was set for them.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
        self.resize_units();
    }

    /// When a command that arrives at `arrival` completes: `arrival` or later. Arrivals of
    /// successive calls do not go backwards. Never panics; times saturate.
    pub fn admit(&mut self, arrival: Nanos, request: &Request) -> Nanos {
        if self.profile.is_instant() {
            return arrival;
        }
        let start = arrival
            .max(self.front_end_free)
            .saturating_add(self.profile.front_end());
        self.front_end_free = start;
        let service = self.service(request);
        let stripes = match request.work {
            Work::Read | Work::Write => request.bytes.div_ceil(self.profile.stripe()).max(1),
            Work::Other => 1,
        };
        let mut due = start;
        for _ in 0..stripes {
            if let Some(mut unit) = self.units.peek_mut() {
                unit.0 = unit.0.max(start).saturating_add(service);
                due = due.max(unit.0);
            }
        }
        due
    }

    /// The service time of a stripe of this command, jitter included.
    fn service(&self, request: &Request) -> Nanos {
        let service = self.profile.service(request.work);
        if service.jitter == 0 {
            return service.time;
        }
        let offset = jitter_offset(self.seed, request, service.jitter);
        service
            .time
            .saturating_sub(service.jitter)
            .saturating_add(offset)
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
        Profile::uniform("test", units, front_end, Service { time, jitter })
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold for every profile and every stream of commands.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const US: Nanos = 1000;

/// A stream of commands: how long after the one before each arrives, and what it is.
fn streams() -> impl Strategy<Value = Vec<(Nanos, Request)>> {
    let works = select(vec![
        Work::Read,
        Work::Write,
        Work::WriteThrough,
        Work::Flush,
        Work::Other,
    ]);
    let command = (0..20 * US, works, 1u32..20, 1u16..4);
    prop::collection::vec(command, 1..200).prop_map(|commands| {
        let mut arrival = 0;
        let mut sequences = [0; 4];
        let place = |(gap, work, blocks, queue): (Nanos, Work, u32, u16)| {
            arrival += gap;
            let sequence = &mut sequences[usize::from(queue)];
            *sequence += 1;
            let request = Request {
                work,
                bytes: match work {
                    Work::Flush | Work::Other => 0,
                    _ => blocks * 4096,
                },
                ..read_of(queue, *sequence)
            };
            (arrival, request)
        };
        commands.into_iter().map(place).collect()
    })
}

fn services() -> impl Strategy<Value = Service> {
    let time = 0..50 * US;
    let spread = prop_oneof![
        time.clone().prop_map(Spread::Constant),
        (time.clone(), 0..=100u64).prop_map(|(time, share)| Spread::Uniform {
            time,
            jitter: time * share / 100,
        }),
        (time, 0.0..2.0f64).prop_map(|(median, sigma)| Spread::LogNormal { median, sigma }),
    ];
    let tail = prop::option::of((0.0..1.0f64, 0..500 * US));
    (spread, tail).prop_map(|(spread, tail)| Service {
        spread,
        tail: tail.map(|(probability, time)| Tail::new(probability, time)),
    })
}

prop_compose! {
    fn profiles()(
        front_end in 0..US,
        bandwidth in prop::option::of(1_000_000..20_000_000_000u64),
        units in 1u16..20,
        stripe in select(vec![4096, 16_384]),
        (read, write, other) in (services(), services(), services()),
        cache in prop::option::of((4096u64..1 << 20, 1_000_000..10_000_000_000u64)),
        interference in prop::option::of((2u64..200 * US, 1u16..20)),
    ) -> Profile {
        Profile {
            bandwidth: bandwidth.map(PerByte::of_bandwidth),
            stripe,
            read,
            write,
            other,
            write_cache: cache.map(|(size, drain)| {
                let drain = PerByte::of_bandwidth(drain);
                WriteCache { full: drain.time(size), drain }
            }),
            interference: interference.map(|(every, disturbed)| Interference {
                every,
                busy: every / 2,
                units: disturbed.min(units),
            }),
            ..Profile::uniform("any", units, front_end, &Service::default())
        }
    }
}

fn due(profile: &Profile, stream: &[(Nanos, Request)]) -> Vec<Nanos> {
    let mut model = Model::new(profile.clone(), 7);
    let admit = |(arrival, request): &(Nanos, Request)| model.admit(*arrival, request);
    stream.iter().map(admit).collect()
}

/// The same service, longer by a factor; what is drawn stays where it was.
fn slower(service: &Service, percent: u64) -> Service {
    let longer = |time: Nanos| time * (100 + percent) / 100;
    let spread = match service.spread.clone() {
        Spread::Constant(time) => Spread::Constant(longer(time)),
        Spread::Uniform { time, jitter } => Spread::Uniform {
            time: time + longer(jitter) - jitter,
            jitter,
        },
        Spread::LogNormal { median, sigma } => Spread::LogNormal {
            median: longer(median),
            sigma,
        },
        Spread::Empirical(_) => unreachable!("none is made"),
    };
    Service {
        spread,
        tail: service.tail,
    }
}

proptest! {
    /// Nothing is due before it has spent its own time in the front end, on the link and in service.
    #[test]
    fn due_is_never_before_the_commands_own_time(profile in profiles(), stream in streams()) {
        for ((arrival, request), due) in stream.iter().zip(due(&profile, &stream)) {
            let link = profile.bandwidth().map_or(0, |link| link.time(u64::from(request.bytes)));
            let service = profile.service(request.work).draw(7, request);
            prop_assert!(due >= arrival + profile.front_end() + link + service);
        }
    }

    /// What is subtracted makes every command due earlier by just that, but for what the device
    /// does at times of its own.
    #[test]
    fn floor_is_subtracted_from_every_command(
        profile in profiles(),
        stream in streams(),
        floor in 0..2 * US,
    ) {
        let profile = Profile { interference: None, ..profile };
        let later: Vec<_> = stream.iter().map(|(arrival, request)| (arrival + floor, *request)).collect();
        let mut model = Model::new(profile.clone(), 7).with_floor(floor);
        let instant = profile.is_instant();
        for ((arrival, request), due) in later.iter().zip(due(&profile, &later)) {
            let subtracted = model.admit(*arrival, request);
            prop_assert_eq!(subtracted, if instant { due } else { due - floor });
        }
    }

    /// At no time are more stripes in service than there are units: what is served up to any moment
    /// fits into the time that the units had.
    #[test]
    fn units_serve_one_stripe_at_a_time(profile in profiles(), stream in streams()) {
        let profile = Profile { write_cache: None, ..profile };
        let mut all: Vec<_> = stream
            .iter()
            .zip(due(&profile, &stream))
            .map(|((arrival, request), due)| {
                let stripes = match request.work {
                    Work::Flush | Work::Other => 1,
                    _ => request.bytes.div_ceil(profile.stripe()).max(1),
                };
                let service = profile.service(request.work).draw(7, request);
                (due, *arrival, u64::from(stripes) * service)
            })
            .collect();
        all.sort_unstable();
        let begin = all.iter().map(|(_, arrival, _)| *arrival).min().unwrap_or(0);
        let mut served = 0;
        for (due, _, work) in all {
            served += work;
            prop_assert!(served <= (due - begin) * u64::from(profile.units()));
        }
    }

    /// A slower device is never faster, whatever it is that is slower.
    #[test]
    fn slower_profile_is_never_faster(
        profile in profiles(),
        stream in streams(),
        percent in 1u64..100,
        what in 0..7,
    ) {
        let mut slow = profile.clone();
        match what {
            0 => slow.front_end += percent,
            1 => slow.read = slower(&profile.read, percent),
            2 => slow.write = slower(&profile.write, percent),
            3 => slow.other = slower(&profile.other, percent),
            4 => slow.bandwidth = Some(PerByte::of_bandwidth(1_000_000)),
            5 if profile.interference.is_none() => slow.units = (slow.units / 2).max(1),
            _ => {
                if let Some(cache) = &mut slow.write_cache {
                    cache.full /= 2;
                }
            }
        }
        // Interference takes part in the race for units at times of its own.
        let calm = |profile: Profile| Profile { interference: None, ..profile };
        let (fast, slow) = (due(&calm(profile), &stream), due(&calm(slow), &stream));
        for (fast, slow) in fast.iter().zip(&slow) {
            prop_assert!(fast <= slow, "{fast} {slow}");
        }
    }

    /// With room for all, what one command takes depends on no other.
    #[test]
    fn draws_do_not_depend_on_the_order(profile in profiles(), stream in streams()) {
        let alone = Profile {
            front_end: 0,
            bandwidth: None,
            write_cache: None,
            interference: None,
            units: 1024,
            stripe: 1 << 24,
            ..profile
        };
        let latencies = |stream: &[(Nanos, Request)]| -> Vec<Nanos> {
            let mut model = Model::new(alone.clone(), 7);
            stream.iter().map(|(_, request)| model.admit(0, request)).collect()
        };
        let mut reversed = stream.clone();
        reversed.reverse();
        let mut backwards = latencies(&reversed);
        backwards.reverse();
        prop_assert_eq!(latencies(&stream), backwards);
    }

    /// Neither late arrivals nor extreme profiles overflow.
    #[test]
    fn extreme_times_saturate(mut profile in profiles(), stream in streams(), huge in any::<u64>()) {
        profile.front_end = huge;
        profile.read.spread = Spread::Constant(huge);
        let mut model = Model::new(profile, 7);
        for (gap, request) in stream {
            let arrival = u64::MAX - 1_000_000 + gap.min(1_000_000);
            prop_assert!(model.admit(arrival, &request) >= arrival);
        }
    }
}

/// Data pass the link one after another: the device's bandwidth, and not more.
#[test]
fn bandwidth_bounds_large_commands() {
    let profile = Profile {
        bandwidth: Some(PerByte::of_bandwidth(4_096_000_000)),
        ..Profile::uniform("wide", 64, 0, &Service::uniform(10 * US, 0))
    };
    let mut model = Model::new(profile, 0);
    let due: Vec<_> = (0..3).map(|n| model.admit(0, &read_of(1, n))).collect();
    assert_eq!(due, [11 * US, 12 * US, 13 * US]);
}

/// A full cache takes writes as fast as it drains; a flush waits for all of it; reads do not.
#[test]
fn write_cache_absorbs_until_it_is_full() {
    let drain = PerByte::of_bandwidth(409_600_000);
    let profile = Profile {
        write_cache: Some(WriteCache {
            full: drain.time(3 * 4096),
            drain,
        }),
        write: Service::uniform(2 * US, 0),
        ..Profile::uniform("cached", 1, 0, &Service::uniform(US, 0))
    };
    let mut model = Model::new(profile, 0);
    let mut admit = |arrival, work| {
        let request = Request {
            work,
            ..read_of(1, 0)
        };
        model.admit(arrival, &request)
    };
    let writes: Vec<_> = (0..5).map(|_| admit(0, Work::Write)).collect();
    assert_eq!(writes, [2 * US, 2 * US, 2 * US, 12 * US, 22 * US]);
    assert_eq!(admit(0, Work::Read), US);
    assert_eq!(admit(20 * US, Work::Flush), 51 * US);
    assert_eq!(admit(20 * US, Work::WriteThrough), 62 * US);
    assert_eq!(admit(100 * US, Work::Write), 102 * US);
}

/// Of two units one is busy for 40 us in every 100.
#[test]
fn interference_keeps_units_busy_for_a_while() {
    let profile = Profile {
        interference: Some(Interference {
            every: 100 * US,
            busy: 40 * US,
            units: 1,
        }),
        ..Profile::uniform("busy", 2, 0, &Service::uniform(10 * US, 0))
    };
    let mut model = Model::new(profile, 0);
    let mut admit = |arrival| model.admit(arrival, &read_of(1, 0)) - arrival;
    assert_eq!((admit(0), admit(0)), (10 * US, 10 * US));
    assert_eq!((admit(101 * US), admit(101 * US)), (10 * US, 20 * US));
    assert_eq!((admit(190 * US), admit(190 * US)), (10 * US, 10 * US));
    // Ten million intervals later, at once.
    let late = 1_000_000_000 * US;
    assert_eq!((admit(late), admit(late)), (10 * US, 20 * US));
}

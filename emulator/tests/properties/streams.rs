// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random streams of host actions: no panic, no access outside guest RAM or to memory that no command
//! named, every completion for an outstanding command and once, data as they were written, nothing
//! that grows, and a reset that makes all well again.
//!
//! `HIPRI_FUZZ_COMMANDS` says how many commands the device is to execute, `HIPRI_FUZZ_SEED` which
//! streams they come from.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use emulator::controller::DoorbellMode;
use proptest::prelude::*;
use proptest::test_runner::{
    Config, FailurePersistence, FileFailurePersistence, RngSeed, TestRunner,
};

use crate::acts::{Act, act, make_queues, perform};
use crate::dice::Dice;
use crate::heap;
use crate::host::{Host, Kind, MediaKind};

/// Commands of the short mode.
const SHORT: u64 = 15_000;
/// Streams between two looks at how many commands there were.
const STREAMS_AT_ONCE: u32 = 16;
/// Long runs tell how far they are after so many commands.
const REPORT: u64 = 500_000;
/// How often each stream is played on the same device, each time with other details.
const ROUNDS: u64 = 3;
/// By how much a device may grow after its first round: what the write cache holds.
const MOST_GROWTH: isize = 1 << 20;

#[derive(Clone, Debug)]
struct Stream {
    kind: Kind,
    wild: bool,
    seed: u64,
    acts: Vec<Act>,
}

fn kind() -> impl Strategy<Value = Kind> {
    let doorbells = prop::sample::select(vec![
        DoorbellMode::Exit,
        DoorbellMode::Shadow,
        DoorbellMode::Shadow,
        DoorbellMode::Mapped,
    ]);
    let media = prop::sample::select(vec![
        MediaKind::Ram,
        MediaKind::Ram,
        MediaKind::Cached,
        MediaKind::Null,
    ]);
    (doorbells, media, any::<bool>(), any::<bool>()).prop_map(|(doorbells, media, slow, lane)| {
        Kind {
            doorbells,
            media,
            slow,
            lane,
        }
    })
}

fn stream() -> impl Strategy<Value = Stream> {
    let acts = prop::collection::vec(act(), 1..250);
    (kind(), any::<bool>(), any::<u64>().no_shrink(), acts).prop_map(|(kind, wild, seed, acts)| {
        Stream {
            kind,
            wild,
            seed,
            acts,
        }
    })
}

/// Plays a stream and returns how many commands the device has executed.
fn play(stream: &Stream) -> u64 {
    let mut host = Host::new(stream.kind);
    let mut held = None;
    for round in 0..ROUNDS {
        let mut dice = Dice::new(stream.seed ^ round);
        host.bring_up(2 + dice.small(62));
        make_queues(&mut host, &mut dice);
        for act in &stream.acts {
            perform(&mut host, act, stream.wild, stream.seed.wrapping_add(round));
        }
        if !stream.wild {
            assert!(!host.queues.spoiled, "the model has lost its way");
            host.drain();
            assert!(host.becomes_idle(), "it has something to do for ever");
        }
        come_back(&mut host);
        let now = heap::held();
        let before = *held.get_or_insert(now);
        assert!(
            now - before < MOST_GROWTH,
            "grew from {before} to {now} bytes"
        );
    }
    host.executed()
}

/// Whatever happened: a reset, and the device is as good as new.
fn come_back(host: &mut Host) {
    host.bring_up(16);
    assert!(!host.queues.spoiled);
    make_queues(host, &mut Dice::new(1));
    host.sane();
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        let plain = text.replace('_', "");
        plain
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is not a number"))
    })
}

/// Where the seeds of failures are kept.
pub fn kept(file: &str) -> Option<Box<dyn FailurePersistence>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/properties/regressions");
    let path: &'static str = format!("{directory}/{file}").leak();
    Some(Box::new(FileFailurePersistence::Direct(path)))
}

fn config(seed: u64) -> Config {
    Config {
        cases: STREAMS_AT_ONCE,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: kept("streams.txt"),
        max_shrink_iters: 4000,
        ..Config::default()
    }
}

/// What all threads have done.
#[derive(Default)]
struct Done {
    commands: AtomicU64,
    streams: AtomicU64,
}

/// Plays the streams of one seed.
fn play_seed(seed: u64, done: &Done) {
    let mut runner = TestRunner::new(config(seed));
    let result = runner.run(&stream(), |stream| {
        let commands = play(&stream);
        let before = done.commands.fetch_add(commands, Relaxed);
        done.streams.fetch_add(1, Relaxed);
        if before / REPORT != (before + commands) / REPORT {
            println!("{} commands ...", before + commands);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("seed {seed}: {error}");
    }
}

#[test]
fn streams_of_host_actions_keep_every_promise() {
    let wanted = number("HIPRI_FUZZ_COMMANDS", SHORT);
    let next_seed = AtomicU64::new(number("HIPRI_FUZZ_SEED", 0));
    let begun = Instant::now();
    let done = Done::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while done.commands.load(Relaxed) < wanted {
                    play_seed(next_seed.fetch_add(1, Relaxed), &done);
                }
            });
        }
    });
    println!(
        "{} commands of {} streams executed in {:.1} s",
        done.commands.load(Relaxed),
        done.streams.load(Relaxed),
        begun.elapsed().as_secs_f64()
    );
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device itself costs, without a guest: its poller on one core, a driver with shadow
//! doorbells ([`emulator::bench::Driver`]) on another. Every figure is printed beside what the
//! same machine does at best in the same run: a cache line's round trip between the two cores, and
//! 4 KiB copies out of a large area.
//!
//! criterion's figures are over all of the time. Those beside the references, and the references
//! themselves, are of the quietest tenth of many short windows, so that whatever else runs on the
//! machine disturbs both as little as it can.
//!
//! `cargo bench -p emulator` (two cores or more).

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use emulator::bench::{Access, Driver};
use emulator::controller::BlockSize;
use emulator::frontend::kvm::micro::{DeviceSetup, Doorbells};
use emulator::media::Backing;
use emulator::reference::{Reference, WINDOW, Windows, two_cores};
use emulator::timing::Profile;

/// Size of the namespaces and of the area that the reference copies from, in bytes: far more than
/// any cache.
const AREA: u64 = 1 << 30;
/// Commands in flight when the number of commands is measured.
const DEPTH: u16 = 64;

/// One benchmark of commands a second.
struct Case {
    name: &'static str,
    backing: Backing,
    access: Access,
    /// What the figure is held against, if anything.
    beside: Beside,
}

/// What a figure is held against.
#[derive(Clone, Copy)]
enum Beside {
    /// A number of commands a second.
    Commands(f64),
    /// The rate of 4 KiB copies.
    Copies,
    /// Nothing: printed for the record.
    Nothing,
}

fn cases() -> Vec<Case> {
    let null = Backing::Null { zero_fill: true };
    let ram = || Backing::Ram;
    vec![
        Case {
            name: "null/read 512 B",
            backing: null.clone(),
            access: Access::read(512),
            beside: Beside::Commands(3e6),
        },
        Case {
            name: "null/read 4 KiB",
            backing: null,
            access: Access::read(4096),
            beside: Beside::Nothing,
        },
        Case {
            name: "ram/read 512 B",
            backing: ram(),
            access: Access::read(512),
            beside: Beside::Nothing,
        },
        Case {
            name: "ram/read 4 KiB",
            backing: ram(),
            access: Access::read(4096),
            beside: Beside::Copies,
        },
        Case {
            name: "ram/write 4 KiB",
            backing: ram(),
            access: Access::write(4096),
            beside: Beside::Copies,
        },
    ]
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(20)
        .configure_from_args();
    let cores = two_cores().expect("the process has an affinity");
    if cores.0 == cores.1 {
        eprintln!("one core only: driver and poller share it, the figures mean nothing");
    }
    let reference = Reference::measure(cores, AREA).expect("cores and memory to measure with");
    let mut lines = vec![reference.to_string()];
    for case in cases() {
        lines.extend(commands(&mut criterion, cores, &reference, &case));
    }
    for (name, backing) in [
        ("null", Backing::Null { zero_fill: true }),
        ("ram", Backing::Ram),
    ] {
        lines.extend(latency(&mut criterion, cores, &reference, name, &backing));
    }
    criterion.final_summary();
    println!("\nbeside this run's own references:");
    for line in lines {
        println!("  {line}");
    }
}

/// A device without delays, served on `core`, and its driver. All of a medium in memory is written:
/// the host gives memory only to what was, and that takes its time.
fn driver(backing: &Backing, core: usize) -> Driver {
    let setup = DeviceSetup {
        doorbells: Doorbells::Shadow,
        media: backing.clone(),
        bytes: AREA,
        block: BlockSize::B512,
        queue_pairs: 4,
        profile: Profile::load("floor").expect("the floor profile"),
        seed: 1,
        floor: 0,
        filled: matches!(backing, Backing::Ram),
    };
    let function = setup.build().expect("a device");
    Driver::start(function, AREA, BlockSize::B512, core).expect("a device that comes up")
}

fn run(
    driver: &mut Driver,
    core: usize,
    access: Access,
    depth: u16,
    commands: u64,
    windows: &mut Windows,
) -> Duration {
    let spent = driver.run(core, access, depth, commands, windows, &mut ());
    spent.expect("a device that serves")
}

/// Commands a second of one poller. Gives the line to print, unless the benchmark was filtered out.
fn commands(
    criterion: &mut Criterion,
    cores: (usize, usize),
    reference: &Reference,
    case: &Case,
) -> Option<String> {
    let mut windows = Windows::default();
    let mut group = criterion.benchmark_group("commands");
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::from_parameter(case.name), |bencher| {
        let mut driver = driver(&case.backing, cores.1);
        bencher.iter_custom(|commands| {
            at_least_some_windows(commands, |commands| {
                run(
                    &mut driver,
                    cores.0,
                    case.access,
                    DEPTH,
                    commands,
                    &mut windows,
                )
            })
        });
    });
    group.finish();
    let nanos = windows.nanos_each()?;
    let rate = 1e9 / nanos;
    let beside = match case.beside {
        Beside::Commands(wanted) => format!("{:.2} of {:.1} M/s", rate / wanted, wanted / 1e6),
        Beside::Copies => format!(
            "{:.2} of the rate of 4 KiB copies",
            rate / reference.copies_per_second()
        ),
        Beside::Nothing => "for the record".to_owned(),
    };
    let name = case.name;
    Some(format!(
        "{name:<16} depth {DEPTH}: {:.2} M commands/s ({nanos:.0} ns), {beside}",
        rate / 1e6
    ))
}

/// From the doorbell's store to the completion's load, one 512-byte read in flight.
fn latency(
    criterion: &mut Criterion,
    cores: (usize, usize),
    reference: &Reference,
    name: &str,
    backing: &Backing,
) -> Option<String> {
    let mut windows = Windows::default();
    let access = Access::read(512);
    let mut group = criterion.benchmark_group("doorbell to completion");
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        let mut driver = driver(backing, cores.1);
        bencher.iter_custom(|commands| {
            at_least_some_windows(commands, |commands| {
                run(&mut driver, cores.0, access, 1, commands, &mut windows)
            })
        });
    });
    group.finish();
    let nanos = windows.nanos_each()?;
    Some(format!(
        "{name:<16} depth 1: {nanos:.0} ns from doorbell to completion, {:.2} round trips",
        nanos / reference.round_trip_nanos
    ))
}

/// Runs `commands` commands or more, so that there are windows even where criterion asks for few,
/// and gives the time that `commands` of them took.
#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn at_least_some_windows(commands: u64, run: impl FnOnce(u64) -> Duration) -> Duration {
    let enough = commands.max(4 * WINDOW);
    run(enough).mul_f64(commands as f64 / enough as f64)
}

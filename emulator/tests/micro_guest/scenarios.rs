// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Each scenario in each doorbell mode.

use std::time::Duration;

use emulator::controller::BlockSize;
use emulator::drive::PollerOptions;
use emulator::frontend::kvm::micro::{
    DeviceSetup, Doorbells, Measurement, MicroGuest, Report, Scenario,
};
use emulator::media::Backing;
use emulator::pci::NvmeFunction;
use emulator::timing::Profile;
use libtest_mimic::{Completion, Trial};

/// Commands of a count of exits: the promise is for at least so many.
const COUNTED: u64 = 100_000;
/// What the resident memory of the process may grow by in a thousand resets, in bytes: far less than
/// one queue for each would take.
const GROWTH: u64 = 1 << 20;

type Test = fn(Doorbells);

/// Every test, skipped with the reason where there is no KVM.
pub fn trials() -> Vec<Trial> {
    let missing = emulator::frontend::kvm::probe()
        .error
        .map(|error| format!("this host has no KVM: {error}"));
    let mut trials = Vec::new();
    let mut add = |name: String, doorbells: Doorbells, test: Test| {
        let missing = missing.clone();
        trials.push(Trial::ignorable_test(name, move || match missing {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                test(doorbells);
                Ok(Completion::Completed)
            }
        }));
    };
    let each: &[(&str, Test)] = &[
        ("bring_up", bring_up),
        ("data_of_two_vcpus_is_right", data_of_two_vcpus_is_right),
        ("msix_masks_and_pending_bits", msix_masks_and_pending_bits),
        (
            "resets_lose_and_repeat_nothing",
            resets_lose_and_repeat_nothing,
        ),
        (
            "hostile_values_get_their_errors",
            hostile_values_get_their_errors,
        ),
        (
            "garbage_leaves_a_device_that_works",
            garbage_leaves_a_device_that_works,
        ),
        (
            "sleeping_poller_loses_no_command",
            sleeping_poller_loses_no_command,
        ),
    ];
    let with_two_pollers: &[(&str, Test)] = &[
        ("two_pollers_data_of_two_vcpus", two_pollers_data),
        ("two_pollers_timed_data", two_pollers_timed_data),
        ("two_pollers_resets", two_pollers_resets),
        ("two_pollers_hostile_values", two_pollers_hostile_values),
        ("two_pollers_that_sleep", two_pollers_that_sleep),
        ("two_pollers_garbage", two_pollers_garbage),
    ];
    for (name, test) in each.iter().chain(with_two_pollers) {
        for doorbells in Doorbells::ALL {
            add(format!("{name}::{doorbells}"), doorbells, *test);
        }
    }
    add(
        "polled_path_has_no_exits::shadow".into(),
        Doorbells::Shadow,
        polled_path_has_no_exits,
    );
    add(
        "polled_path_has_no_exits::mapped".into(),
        Doorbells::Mapped,
        polled_path_has_no_exits,
    );
    add(
        "trapping_doorbells_are_counted::exit".into(),
        Doorbells::Exit,
        trapping_doorbells_are_counted,
    );
    add(
        "garbage_for_ten_seconds::exit".into(),
        Doorbells::Exit,
        garbage_for_ten_seconds,
    );
    add(
        "spin_is_stopped::exit".into(),
        Doorbells::Exit,
        spin_is_stopped,
    );
    add(
        "triple_fault_is_told::exit".into(),
        Doorbells::Exit,
        triple_fault_is_told,
    );
    add(
        "address_of_nobody_reads_as_ones::exit".into(),
        Doorbells::Exit,
        address_of_nobody_reads_as_ones,
    );
    trials
}

fn device(doorbells: Doorbells) -> NvmeFunction {
    device_with("floor", doorbells)
}

fn device_with(profile: &str, doorbells: Doorbells) -> NvmeFunction {
    DeviceSetup {
        doorbells,
        media: Backing::Ram,
        bytes: 32 << 20,
        block: BlockSize::B512,
        queue_pairs: 4,
        profile: Profile::load(profile).expect("a profile that is built in"),
        seed: 1,
        floor: 0,
        filled: false,
    }
    .build()
    .expect("a device")
}

fn guest(scenario: Scenario, doorbells: Doorbells) -> MicroGuest {
    MicroGuest::new(scenario, doorbells, 512, (32 << 20) / 512)
}

/// Runs a guest, which must go as its scenario must, and gives its report and the device.
#[track_caller]
fn run_on(function: NvmeFunction, guest: &MicroGuest) -> (Report, NvmeFunction) {
    let (report, function) = guest.run(function, |_| {}).expect("the guest runs");
    if let Some(failure) = report.failure() {
        panic!("{failure}");
    }
    (report, function)
}

#[track_caller]
fn run(guest: &MicroGuest, doorbells: Doorbells) -> Report {
    run_on(device(doorbells), guest).0
}

fn bring_up(doorbells: Doorbells) {
    run(&guest(Scenario::BringUp, doorbells), doorbells);
}

fn data_of_two_vcpus_is_right(doorbells: Doorbells) {
    let guest = MicroGuest {
        vcpus: 2,
        ..guest(Scenario::Data { commands: 1000 }, doorbells)
    };
    let report = run(&guest, doorbells);
    let summary = report.device.summary();
    assert!(summary.bytes_read > 0 && summary.bytes_written > 0);
    assert_eq!(summary.errors, 0);
}

fn msix_masks_and_pending_bits(doorbells: Doorbells) {
    run(&guest(Scenario::Msix, doorbells), doorbells);
}

/// Each command of each life completes once, with its own identifier and the right data: the guest
/// checks. The host looks at what is left behind.
fn resets_lose_and_repeat_nothing(doorbells: Doorbells) {
    let scenario = Scenario::Resets {
        resets: 1000,
        queue_rounds: 200,
        commands: 24,
    };
    let guest = MicroGuest {
        limit: Duration::from_secs(300),
        ..guest(scenario, doorbells)
    };
    // The first run fills what stays: the allocator's pools, the threads' stacks.
    run(&guest, doorbells);
    let before = resident_bytes();
    let report = run(&guest, doorbells);
    let growth = resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH, "{growth} bytes more are resident");
    assert_eq!(report.counts().resets, 1000);
    assert_eq!(report.counts().queue_rounds, 200);
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("proc");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}

fn hostile_values_get_their_errors(doorbells: Doorbells) {
    run(
        &guest(Scenario::Hostile { stride: 61 }, doorbells),
        doorbells,
    );
}

fn garbage_leaves_a_device_that_works(doorbells: Doorbells) {
    garbage(doorbells, Duration::from_secs(2));
}

fn garbage_for_ten_seconds(doorbells: Doorbells) {
    garbage(doorbells, Duration::from_secs(10));
}

fn garbage(doorbells: Doorbells, duration: Duration) {
    let scenario = Scenario::Garbage { duration };
    let (report, function) = run_on(device(doorbells), &guest(scenario, doorbells));
    assert!(report.exits.totals.guest_exits > 100, "{:?}", report.exits);
    run_on(function, &guest(Scenario::BringUp, doorbells));
}

/// A poller that sleeps as soon as it can is woken by every doorbell that it needs.
fn sleeping_poller_loses_no_command(doorbells: Doorbells) {
    let guest = MicroGuest {
        poller: PollerOptions {
            cpu: None,
            lanes: Vec::new(),
            idle_sleep: Some(Duration::ZERO),
        },
        ..guest(Scenario::Data { commands: 500 }, doorbells)
    };
    let report = run(&guest, doorbells);
    if doorbells != Doorbells::Mapped {
        assert!(report.poller.sleeps > 0, "{:?}", report.poller);
    }
}

/// A guest whose second queue pair has a poller of its own. On a host with few cores all of them
/// wait for each other, so there are fewer commands.
fn with_two_pollers(scenario: Scenario, doorbells: Doorbells) -> MicroGuest {
    MicroGuest {
        poller: PollerOptions {
            cpu: None,
            lanes: vec![None],
            idle_sleep: Some(Duration::from_millis(2)),
        },
        patience: Duration::from_secs(120),
        limit: Duration::from_secs(300),
        ..guest(scenario, doorbells)
    }
}

#[track_caller]
fn run_with_two_pollers(guest: &MicroGuest, function: NvmeFunction) -> Report {
    let report = run_on(function, guest).0;
    assert!(report.poller.lends > 0, "nothing was lent");
    report
}

fn two_pollers_data(doorbells: Doorbells) {
    let guest = MicroGuest {
        vcpus: 2,
        ..with_two_pollers(Scenario::Data { commands: 300 }, doorbells)
    };
    let report = run_with_two_pollers(&guest, device(doorbells));
    let queues = report.device.queues();
    for queue in &queues[1..3] {
        assert!(queue.polled + queue.interrupted >= 300, "{queue:?}");
        assert_eq!(queue.errors, 0);
    }
}

/// Both pollers ask one timing model, and nothing completes early.
fn two_pollers_timed_data(doorbells: Doorbells) {
    let guest = MicroGuest {
        vcpus: 2,
        ..with_two_pollers(Scenario::Data { commands: 100 }, doorbells)
    };
    let report = run_with_two_pollers(&guest, device_with("low-latency", doorbells));
    assert_eq!(report.device.summary().early, 0);
}

fn two_pollers_resets(doorbells: Doorbells) {
    let scenario = Scenario::Resets {
        resets: 100,
        queue_rounds: 50,
        commands: 24,
    };
    let guest = with_two_pollers(scenario, doorbells);
    let report = run_with_two_pollers(&guest, device(doorbells));
    assert_eq!(report.counts().resets, 100);
    assert_eq!(report.counts().queue_rounds, 50);
}

fn two_pollers_hostile_values(doorbells: Doorbells) {
    let guest = with_two_pollers(Scenario::Hostile { stride: 61 }, doorbells);
    run_with_two_pollers(&guest, device(doorbells));
}

fn two_pollers_that_sleep(doorbells: Doorbells) {
    let mut guest = with_two_pollers(Scenario::Data { commands: 200 }, doorbells);
    guest.poller.idle_sleep = Some(Duration::ZERO);
    guest.vcpus = 2;
    run_with_two_pollers(&guest, device(doorbells));
}

fn two_pollers_garbage(doorbells: Doorbells) {
    let scenario = Scenario::Garbage {
        duration: Duration::from_secs(1),
    };
    let guest = with_two_pollers(scenario, doorbells);
    let (_, function) = run_on(device(doorbells), &guest);
    let guest = with_two_pollers(Scenario::BringUp, doorbells);
    run_on(function, &guest);
}

fn bench(depth: u16, commands: u64, doorbells: Doorbells) -> (f64, Report) {
    let scenario = Scenario::Bench(Measurement {
        depth,
        bytes: 512,
        writes: false,
        commands,
        batch: 1,
    });
    let report = run(&guest(scenario, doorbells), doorbells);
    let exits = report.measured_exits.expect("exits are counted");
    let each = exits.per_command(commands).expect("commands");
    (each, report)
}

fn polled_path_has_no_exits(doorbells: Doorbells) {
    for depth in [1, 32] {
        let (each, report) = bench(depth, COUNTED, doorbells);
        assert!(
            each.abs() < f64::EPSILON,
            "depth {depth}: {each} a command: {}",
            report.exits
        );
        assert!(report.device.summary().polled_commands >= COUNTED);
    }
}

/// The same counter shows what there is to see.
fn trapping_doorbells_are_counted(doorbells: Doorbells) {
    let (each, report) = bench(1, 1000, doorbells);
    assert!(each >= 1.0, "{each} a command: {}", report.exits);
}

fn spin_is_stopped(doorbells: Doorbells) {
    let guest = MicroGuest {
        limit: Duration::from_millis(300),
        ..guest(Scenario::Spin, doorbells)
    };
    let report = run(&guest, doorbells);
    assert!(
        report.elapsed < Duration::from_secs(30),
        "{:?}",
        report.elapsed
    );
}

fn triple_fault_is_told(doorbells: Doorbells) {
    run(&guest(Scenario::TripleFault, doorbells), doorbells);
}

fn address_of_nobody_reads_as_ones(doorbells: Doorbells) {
    run(&guest(Scenario::Nobody, doorbells), doorbells);
}

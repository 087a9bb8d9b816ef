// SPDX-License-Identifier: Apache-2.0 OR MIT
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::observe::bar0::PLACES;

fn machine() -> VmExits {
    let exits = VmExits::new(2);
    exits.vcpu(0).count(ExitReason::PortIo);
    exits.vcpu(0).count_bar0(0x14, true);
    exits.vcpu(1).count_bar0(0x1C, false);
    exits.vcpu(1).count_bar0(0x1C, false);
    exits.vcpu(1).count_bar0(0x1008, true);
    exits.vcpu(1).count_interruption();
    exits.count_ioeventfd_signals(7);
    exits
}

fn accesses(counts: &ExitCounts, place: Bar0Place) -> (u64, u64) {
    let found = counts.bar0.iter().find(|access| access.place == place);
    found.map_or((0, 0), |access| (access.reads, access.writes))
}

#[test]
fn snapshot_sums_all_processors_up() {
    let counts = machine().snapshot();

    assert_eq!(counts.guest_exits(), 5);
    assert_eq!(counts.exits(ExitReason::PortIo), 1);
    assert_eq!(counts.exits(ExitReason::Bar0Write), 2);
    assert_eq!(counts.exits(ExitReason::Bar0Read), 2);
    assert_eq!(counts.exits(ExitReason::Halt), 0);
    assert_eq!(accesses(&counts, Bar0Place::Register(0x14)), (0, 1));
    assert_eq!(accesses(&counts, Bar0Place::Register(0x1C)), (2, 0));
    assert_eq!(accesses(&counts, Bar0Place::SqTail(1)), (0, 1));
    assert_eq!(counts.bar0.len(), 3, "places without accesses are left out");
}

#[test]
fn interruptions_and_signals_are_no_guest_exits() {
    let totals = machine().totals();

    assert_eq!(totals.guest_exits, 5);
    assert_eq!(totals.ioeventfd_signals, 7);
    assert_eq!(totals.host_interruptions, 1);
    assert_eq!(totals.kernel_exits, None);
}

#[test]
fn totals_are_those_of_the_snapshot() {
    let exits = machine();

    assert_eq!(exits.totals(), exits.snapshot().totals);
}

#[test]
fn kernel_count_stands_beside_ours() {
    let exits = machine();
    let kernel = Arc::new(AtomicU64::new(40));
    let shared = Arc::clone(&kernel);
    exits.set_kernel_exits(move || Some(shared.load(Ordering::Relaxed)));
    let before = exits.snapshot();
    kernel.store(45, Ordering::Relaxed);

    let difference = exits.snapshot().since(&before);

    assert_eq!(before.totals.kernel_exits, Some(40));
    assert_eq!(difference.totals.kernel_exits, Some(5));
    assert_eq!(difference.guest_exits(), 0);
}

#[test]
fn snapshot_since_an_earlier_one_has_only_what_came_after() {
    let exits = machine();
    let before = exits.snapshot();
    exits.vcpu(0).count_bar0(0x1C, false);
    exits.vcpu(0).count(ExitReason::Halt);
    exits.count_ioeventfd_signals(1);

    let difference = exits.snapshot().since(&before);

    assert_eq!(difference.guest_exits(), 2);
    assert_eq!(difference.exits(ExitReason::Halt), 1);
    assert_eq!(difference.exits(ExitReason::PortIo), 0);
    assert_eq!(difference.totals.ioeventfd_signals, 1);
    assert_eq!(difference.bar0.len(), 1);
    assert_eq!(accesses(&difference, Bar0Place::Register(0x1C)), (1, 0));
}

#[test]
fn exits_for_each_command_count_signals_and_leave_interruptions_out() {
    let totals = machine().totals();

    assert_eq!(totals.per_command(6), Some(2.0));
    assert_eq!(totals.per_command(0), None);
}

#[test]
fn each_place_has_its_own_number() {
    for index in 0..PLACES {
        assert_eq!(Bar0Place::from_index(index).index(), index);
    }
}

#[test]
fn offset_belongs_to_the_place_that_the_specification_puts_there() {
    for (offset, place, name) in [
        (0x00, Bar0Place::Register(0x00), "CAP"),
        (0x07, Bar0Place::Register(0x04), "CAP (high)"),
        (0x14, Bar0Place::Register(0x14), "CC"),
        (0x18, Bar0Place::Register(0x18), "register 18h"),
        (0x2C, Bar0Place::Register(0x2C), "ASQ (high)"),
        (0x6F, Bar0Place::Register(0x6C), "register 6Ch"),
        (0x70, Bar0Place::Elsewhere, "elsewhere"),
        (0xFFF, Bar0Place::Elsewhere, "elsewhere"),
        (0x1000, Bar0Place::SqTail(0), "SQ 0 tail"),
        (0x1004, Bar0Place::CqHead(0), "CQ 0 head"),
        (0x1204, Bar0Place::CqHead(64), "CQ 64 head"),
        (0x1208, Bar0Place::OtherDoorbell, "other doorbells"),
        (0x1FFF, Bar0Place::OtherDoorbell, "other doorbells"),
        (0x2000, Bar0Place::MsixTable, "MSI-X table"),
        (0x3000, Bar0Place::MsixPba, "MSI-X PBA"),
        (0x4000, Bar0Place::Elsewhere, "elsewhere"),
        (u64::MAX, Bar0Place::Elsewhere, "elsewhere"),
    ] {
        assert_eq!(Bar0Place::of(offset), place, "{offset:#x}");
        assert_eq!(place.to_string(), name);
    }
}

#[test]
fn threads_count_without_losing_anything() {
    const EACH: u64 = 10_000;
    let exits = VmExits::new(4);
    std::thread::scope(|scope| {
        for vcpu in 0..4 {
            let block = exits.vcpu(vcpu);
            scope.spawn(move || (0..EACH).for_each(|_| block.count_bar0(0x1000, true)));
        }
    });

    let counts = exits.snapshot();

    assert_eq!(counts.guest_exits(), 4 * EACH);
    assert_eq!(accesses(&counts, Bar0Place::SqTail(0)), (0, 4 * EACH));
}

#[test]
fn table_shows_what_happened_and_nothing_else() {
    let text = machine().snapshot().to_string();

    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["guest", "exits", "5"]);
    assert!(lines.contains(&vec!["BAR0", "write", "2"]), "{text}");
    assert!(lines.contains(&vec!["CSTS", "2", "0"]), "{text}");
    assert!(lines.contains(&vec!["ioeventfd", "signals", "7"]), "{text}");
    assert!(!text.contains("halt"), "{text}");
}

#[test]
fn json_names_reasons_and_places() {
    let json = serde_json::to_value(machine().snapshot()).unwrap();

    assert_eq!(json["guest_exits"], 5);
    assert_eq!(json["host_interruptions"], 1);
    assert_eq!(json["reasons"]["bar0_write"], 2);
    assert_eq!(json["reasons"]["halt"], 0);
    assert_eq!(json["bar0"][0]["place"], "CC");
    assert_eq!(json["bar0"][0]["writes"], 1);
    assert!(json.get("kernel_exits").is_none());
}

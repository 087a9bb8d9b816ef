// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Event indices (docs/doorbells.md): whether a host's step passes what the device has announced,
//! for every value of 16 bits and every small step.

use std::sync::Arc;

use emulator::controller::DoorbellMemory;
use emulator::dma::{GuestRam, ShadowDoorbells};

const PAGE: u64 = 4096;
/// Steps are of up to this many entries.
const STEPS: u32 = 40;
const SLOT: u32 = 2;

/// What hosts compute: all three 16 bits wide, wrapping.
fn is_passed(event: u32, new: u32, old: u32) -> bool {
    (new.wrapping_sub(event).wrapping_sub(1) & 0xFFFF) < (new.wrapping_sub(old) & 0xFFFF)
}

/// The same without arithmetic: one of the values left behind is the event index.
fn is_left_behind(event: u32, new: u32, old: u32) -> bool {
    let mut at = old;
    while at & 0xFFFF != new & 0xFFFF {
        if at & 0xFFFF == event & 0xFFFF {
            return true;
        }
        at = at.wrapping_add(1);
    }
    false
}

struct Announced {
    ram: GuestRam,
    doorbells: DoorbellMemory,
}

impl Announced {
    fn new() -> Self {
        let ram = GuestRam::anonymous(&[(PAGE, 8192)]).unwrap();
        let shadow = ShadowDoorbells::new(&ram, PAGE, 2 * PAGE, 4).unwrap();
        let doorbells = DoorbellMemory::Shadow(Arc::new(shadow));
        Self { ram, doorbells }
    }

    /// The index that the host finds.
    fn event(&self, seen: u32, polling: bool) -> u32 {
        self.doorbells.announce(SLOT, seen, polling);
        let mut event = [0; 4];
        self.ram
            .read(2 * PAGE + 4 * u64::from(SLOT), &mut event)
            .unwrap();
        u32::from_le_bytes(event)
    }
}

#[test]
fn passed_is_the_same_as_left_behind() {
    for event in [0, 1, 5, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF] {
        for old in
            (0..=0xFFFF_u32).filter(|old| old.wrapping_sub(event).wrapping_add(50) & 0xFFFF < 100)
        {
            for step in 0..STEPS {
                let new = (old + step) & 0xFFFF;
                assert_eq!(
                    is_passed(event, new, old),
                    is_left_behind(event, new, old),
                    "event {event:#x}, {old:#x} -> {new:#x}"
                );
            }
        }
    }
}

#[test]
fn sleeping_device_is_told_of_every_step_and_polling_one_of_none() {
    let announced = Announced::new();
    for seen in 0..=0xFFFF {
        let asleep = announced.event(seen, false);
        let awake = announced.event(seen, true);
        for step in 1..STEPS {
            let new = (seen + step) & 0xFFFF;
            assert!(
                is_passed(asleep, new, seen),
                "asleep, {seen:#x} -> {new:#x}"
            );
            assert!(!is_passed(awake, new, seen), "awake, {seen:#x} -> {new:#x}");
        }
    }
}

/// A queue's indices wrap at its size, long before 16 bits do.
#[test]
fn steps_over_the_end_of_a_queue_trap_while_the_device_sleeps() {
    let announced = Announced::new();
    for size in 2..=64 {
        for seen in 0..size {
            let event = announced.event(seen, false);
            for step in 1..size {
                let new = (seen + step) % size;
                assert!(is_passed(event, new, seen), "size {size}, {seen} -> {new}");
            }
        }
    }
}

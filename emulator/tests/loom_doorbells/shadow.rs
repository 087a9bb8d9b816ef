// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shadow doorbells and a device that may sleep (docs/doorbells.md, "Sleep and wake").
//!
//! The words and their ordering are `ShadowDoorbells`, what is announced is `DoorbellMemory`, both
//! the device's own code. The engine around them is too large for a model: [`Device`] does what
//! `engine/doorbells.rs` and `Engine::prepare_sleep` do for one queue, each step named beside it.

use std::sync::Arc;

use crate::controller::{DoorbellMemory, sq_slot};
use crate::dma::{GuestRam, ShadowDoorbells};
use crate::drive::Event;
use crate::sync::atomic::{AtomicU32, Ordering, without_fences};
use crate::sync::model;

/// Commands that the host submits, one by one.
const COMMANDS: u32 = 2;
/// The tail of submission queue 1.
const SLOT: u32 = sq_slot(1);
/// Guest memory: doorbells, event indices, entries.
const DOORBELLS: u64 = 0;
const EVENTS: u64 = 16;
const ENTRIES: u64 = 32;

struct Device {
    doorbells: DoorbellMemory,
    ram: GuestRam,
    head: u32,
    tail: u32,
    polling: bool,
}

impl Device {
    fn new(ram: &GuestRam) -> Self {
        let shadow = ShadowDoorbells::new(ram, DOORBELLS, EVENTS, 4);
        let shadow = shadow.unwrap_or_else(|_| unreachable!("these words are there"));
        let doorbells = DoorbellMemory::Shadow(Arc::new(shadow));
        doorbells.begin_queue(SLOT);
        Self {
            doorbells,
            ram: ram.clone(),
            head: 0,
            tail: 0,
            polling: true,
        }
    }

    /// `Engine::poll_tail`, with a queue so small that each new tail is announced.
    fn poll_tail(&mut self) {
        let tail = self.doorbells.doorbell(SLOT); // acquire
        let before = self.tail;
        if tail == before {
            return;
        }
        self.tail = tail;
        let rest = if self.polling { before } else { tail };
        self.doorbells.announce(SLOT, rest, self.polling); // release
    }

    /// `SubmissionQueue::fetch` of all that is pending.
    fn fetch(&mut self) {
        while self.head != self.tail {
            let entry = entry(&self.ram, self.head).load(Ordering::Relaxed);
            self.head += 1;
            assert_eq!(entry, self.head, "an entry is older than its doorbell");
        }
    }

    /// `Engine::announce_all`.
    fn announce(&self) {
        self.doorbells.announce(SLOT, self.tail, self.polling);
    }

    /// `Engine::prepare_sleep`.
    fn prepare_sleep(&mut self) -> bool {
        self.polling = false;
        self.announce();
        ShadowDoorbells::barrier();
        self.poll_tail(); // `Engine::work_arrived`
        if self.head != self.tail {
            self.resume_polling();
            return false;
        }
        true
    }

    /// `Engine::resume_polling`.
    fn resume_polling(&mut self) {
        self.polling = true;
        self.announce();
    }

    /// The poller's loop, with no idle time at all (`Loop::turn`, `Loop::sleep`).
    fn run(&mut self, trapped: &Event) {
        loop {
            self.poll_tail();
            self.fetch();
            if self.head == COMMANDS {
                break;
            }
            if self.prepare_sleep() {
                trapped.wait();
                trapped.clear();
                self.resume_polling();
            }
        }
    }
}

fn entry(ram: &GuestRam, index: u32) -> &AtomicU32 {
    ram.word(ENTRIES + 4 * u64::from(index))
}

/// What Linux does (drivers/nvme/host/pci.c, `nvme_dbbuf_update_and_check_event`).
fn submit(ram: &GuestRam, trapped: &Event, barrier: bool) {
    let doorbell = ram.word(DOORBELLS + 4 * u64::from(SLOT));
    let event = ram.word(EVENTS + 4 * u64::from(SLOT));
    for old in 0..COMMANDS {
        let new = old + 1;
        entry(ram, old).store(new, Ordering::Relaxed);
        doorbell.store(new, Ordering::Release); // wmb() before it
        if barrier {
            loom::sync::atomic::fence(Ordering::SeqCst); // mb()
        }
        if is_passed(event.load(Ordering::Relaxed), new, old) {
            trapped.set(); // writel()
        }
    }
}

fn is_passed(event: u32, new: u32, old: u32) -> bool {
    (new.wrapping_sub(event).wrapping_sub(1) & 0xFFFF) < (new.wrapping_sub(old) & 0xFFFF)
}

fn host_and_device(host_barrier: bool) {
    let ram = GuestRam::new(8 + COMMANDS as usize);
    let trapped = Arc::new(Event::new().unwrap());
    // The queue is there before the host uses it.
    let mut device = Device::new(&ram);
    let host = {
        let (ram, trapped) = (ram.clone(), Arc::clone(&trapped));
        loom::thread::spawn(move || submit(&ram, &trapped, host_barrier))
    };
    device.run(&trapped);
    host.join().unwrap();
}

#[test]
fn doorbell_while_the_device_falls_asleep_is_seen_or_traps() {
    model(|| host_and_device(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn doorbell_without_the_devices_barrier_may_be_lost() {
    without_fences();
    model(|| host_and_device(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn doorbell_without_the_hosts_barrier_may_be_lost() {
    model(|| host_and_device(false));
}

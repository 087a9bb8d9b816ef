// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The doorbell registers as memory. See docs/doorbells.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use emulator::dma::DoorbellPage;

use crate::doorbells::{INVALID_REGISTER, INVALID_VALUE, flush};
use crate::host::*;

const EVENT_REQUEST: u8 = 0x0C;

fn page(host: &mut Host) -> Arc<DoorbellPage> {
    Arc::clone(host.device.engine().doorbell_page().unwrap())
}

fn tail(queue: u16) -> u32 {
    2 * u32::from(queue)
}

fn head(queue: u16) -> u32 {
    2 * u32::from(queue) + 1
}

/// Doorbell writes that trapped, of all queues.
fn traps(host: &mut Host) -> u64 {
    let queues = host.device.engine().counters().queues();
    let each = |queue: &emulator::observe::QueueCounters| {
        queue.sq_doorbell_traps + queue.cq_doorbell_traps
    };
    queues.iter().map(each).sum()
}

/// A host that waits for two events, with I/O queue pair 1 of 8 entries.
fn expecting_events() -> Host {
    let mut host = Host::new();
    host.create_queue(1, 8, None);
    host.submit_admin(Command::new(EVENT_REQUEST));
    host.submit_admin(Command::new(EVENT_REQUEST));
    host.settle();
    host
}

/// Dword 0 of the next event, if there is one; its type is unmasked.
fn next_event(host: &mut Host) -> Option<u32> {
    host.notice();
    let event = host.reap_admin()?;
    let buffer = host.page();
    host.submit_admin(get_log(0x01, 64, 0, buffer));
    host.settle();
    let mut others = std::iter::from_fn(|| host.reap_admin());
    let log = others.next().expect("the error log");
    assert_eq!(log.status(), SUCCESS);
    assert_eq!(others.next(), None, "one event at a time");
    Some(event.dw0)
}

#[test]
fn all_queues_work_through_the_page_without_a_trap() {
    let mut host = Host::new();
    for id in 1..=QUEUE_PAIRS {
        let mut queue = host.create_queue(id, 8, Some(id));
        for _ in 0..20 {
            assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
        }
    }

    for _ in 0..3 * ADMIN_ENTRIES {
        host.admin_ok(get_feature(0x07, 0));
    }

    assert_eq!(traps(&mut host), 0);
    let admin_tail = host.admin.tail;
    assert_eq!(page(&mut host).doorbell(tail(0)), admin_tail);
}

#[test]
fn doorbell_buffer_config_is_neither_offered_nor_taken() {
    let mut host = Host::new();
    let (doorbells, events) = (host.page(), host.page());

    let refused = host.admin(Command::new(0x7C).prp(doorbells, events));

    assert_eq!(refused.status(), INVALID_OPCODE);
    let data = host.page();
    host.admin_ok(identify(0x01, 0, data));
    assert_eq!(host.get(data + 257, 1)[0] & 1, 0, "OACS bit 8");
    host.admin_ok(get_log(0x05, 4096, 0, data));
    assert_eq!(host.get32(data + 0x7C * 4), 0, "commands supported");
}

#[test]
fn wrong_tail_in_the_page_is_one_event() {
    let mut host = expecting_events();

    page(&mut host).set_doorbell(tail(1), 8);

    assert_eq!(next_event(&mut host), INVALID_VALUE);
    assert_eq!(next_event(&mut host), None, "told once");
}

#[test]
fn wrong_tail_of_the_admin_queue_is_one_event() {
    let mut host = expecting_events();
    let (page, right) = (page(&mut host), host.admin.tail);

    page.set_doorbell(tail(0), ADMIN_ENTRIES);
    host.notice();
    page.set_doorbell(tail(0), right);

    assert_eq!(next_event(&mut host), INVALID_VALUE);
    assert_eq!(next_event(&mut host), None, "told once");
}

#[test]
fn wrong_head_in_the_page_of_an_idle_queue_is_one_event() {
    for wrong in [8, 3, u32::MAX] {
        let mut host = expecting_events();

        page(&mut host).set_doorbell(head(1), wrong);

        assert_eq!(next_event(&mut host), INVALID_VALUE, "{wrong}");
        assert_eq!(next_event(&mut host), None, "told once");
    }
}

#[test]
fn head_that_goes_back_to_zero_is_an_event() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    for _ in 0..3 {
        assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    }
    host.submit_admin(Command::new(EVENT_REQUEST));
    host.notice();

    page(&mut host).set_doorbell(head(1), 0);

    assert_eq!(next_event(&mut host), INVALID_VALUE);
}

#[test]
fn queue_goes_on_after_a_wrong_value() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    let page = page(&mut host);
    page.set_doorbell(tail(1), 0xFFFF_FFFF);
    page.set_doorbell(head(1), 7);
    host.notice();
    page.set_doorbell(head(1), 0);
    assert_eq!(host.peek(&queue), None, "nothing was executed");

    for _ in 0..20 {
        assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    }
}

#[test]
fn slot_of_a_queue_that_does_not_exist_is_one_event_for_each_write() {
    for slot in [
        tail(2),
        head(2),
        tail(QUEUE_PAIRS),
        tail(QUEUE_PAIRS + 1),
        head(300),
        DoorbellPage::SLOTS - 1,
    ] {
        let mut host = expecting_events();
        let page = page(&mut host);

        page.set_doorbell(slot, 1);
        assert_eq!(next_event(&mut host), INVALID_REGISTER, "slot {slot}");
        assert_eq!(page.doorbell(slot), 0, "taken back");
        assert_eq!(next_event(&mut host), None, "told once");
        page.set_doorbell(slot, 1);
        assert_eq!(next_event(&mut host), INVALID_REGISTER, "again");
    }
}

#[test]
fn doorbell_rung_before_its_queue_was_made_is_an_event_and_no_command() {
    let mut host = expecting_events();
    let (sq, cq) = (host.page(), host.page());
    host.admin_ok(create_cq(2, 8, cq, None));
    // The scan has no time between this and the creation.
    page(&mut host).set_doorbell(tail(2), 3);
    let create = host.submit_admin(create_sq(2, 8, sq, 2));

    host.device.work();
    host.settle();

    let seen: Vec<_> = std::iter::from_fn(|| host.reap_admin()).collect();
    let created = seen.iter().find(|completion| completion.cid == create);
    assert_eq!(created.expect("the queue").status(), SUCCESS);
    let event = seen.iter().find(|completion| completion.cid != create);
    assert_eq!(event.map(|event| event.dw0), INVALID_REGISTER);
    assert_eq!(host.get(cq, 128), [0; 128], "nothing was executed");
}

#[test]
fn deleted_queue_leaves_nothing_in_its_slots() {
    let mut host = expecting_events();
    let mut queue = host.create_queue(2, 8, None);
    assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    let page = page(&mut host);
    assert_eq!((page.doorbell(tail(2)), page.doorbell(head(2))), (1, 1));

    host.admin_ok(delete_sq(2));
    host.admin_ok(delete_cq(2));

    assert_eq!((page.doorbell(tail(2)), page.doorbell(head(2))), (0, 0));
    assert_eq!(next_event(&mut host), None);
}

#[test]
fn queue_made_again_starts_at_zero() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    for _ in 0..5 {
        assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    }
    host.admin_ok(delete_sq(1));
    host.admin_ok(delete_cq(1));

    let mut queue = host.create_queue(1, 8, None);

    let page = page(&mut host);
    assert_eq!((page.doorbell(tail(1)), page.doorbell(head(1))), (0, 0));
    host.notice();
    assert_eq!(host.peek(&queue), None, "nothing is executed unasked");
    for _ in 0..20 {
        assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    }
}

#[test]
fn disabled_controller_has_a_clear_page_and_traps_again() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);

    host.disable();

    let page = page(&mut host);
    let clear = || (0..DoorbellPage::LINES).all(|line| page.line_is_clear(line));
    assert!(clear());
    // This write reaches the device, which ignores it, and not the page.
    host.write32(Host::doorbell(0, false), 5);
    assert!(clear());
    host.enable();
    host.admin_ok(get_feature(0x07, 0));
    assert_eq!(traps(&mut host), 0);
}

#[test]
fn shutdown_lets_doorbells_trap() {
    let mut host = Host::new();
    host.create_queue(1, 8, None);
    let before = page(&mut host).doorbell(tail(1));

    host.write32(CC, CC_ENABLE | 1 << 14);
    host.settle();
    host.write32(Host::doorbell(1, false), 1);

    assert_eq!(page(&mut host).doorbell(tail(1)), before);
}

#[test]
fn writes_to_the_page_after_disable_have_no_effect() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    let mut admin = host.admin;
    for _ in 0..3 {
        host.stage(&mut queue, flush());
        host.stage(&mut admin, get_feature(0x07, 0));
    }
    host.write32(CC, CC_ENABLE & !1);

    // Another processor still has the page: as if the staged commands were meant.
    let page = page(&mut host);
    for slot in 0..DoorbellPage::SLOTS {
        page.set_doorbell(slot, 3);
    }
    host.notice();
    host.enable();
    host.notice();

    assert_eq!(host.peek(&host.admin), None);
    assert_eq!(host.get(queue.cq, 128), [0; 128]);
    host.submit_admin(Command::new(EVENT_REQUEST));
    assert_eq!(next_event(&mut host), None, "not even an event");
    let mut queue = host.create_queue(1, 8, None);
    assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
}

#[test]
fn doorbell_that_trapped_before_the_page_was_laid_counts() {
    let mut host = Host::new();
    let mut admin = host.admin;
    host.stage(&mut admin, get_feature(0x07, 0));
    let (offset, value) = (Host::doorbell(0, false), u64::from(admin.tail));

    host.device.engine().write_register(0, offset, 4, value);
    host.settle();

    assert_eq!(page(&mut host).doorbell(tail(0)), admin.tail);
    host.admin = admin;
    let completion = host.reap_admin().expect("executed");
    assert_eq!(completion.status(), SUCCESS);
    assert_eq!(traps(&mut host), 1);
    host.admin_ok(get_feature(0x07, 0));
}

#[test]
fn wrong_doorbell_that_trapped_before_the_page_was_laid_is_one_event() {
    let mut host = expecting_events();
    let engine = host.device.engine();

    engine.write_register(0, Host::doorbell(1, false), 4, 8);

    assert_eq!(next_event(&mut host), INVALID_VALUE);
    assert_eq!(next_event(&mut host), None, "told once");
}

#[test]
fn device_sleeps_only_while_the_page_is_not_mapped() {
    let mut host = Host::disabled();
    host.settle();
    assert!(host.device.engine().prepare_sleep());
    host.device.engine().resume_polling();

    host.enable();
    host.settle();
    assert!(host.device.engine().is_idle());
    assert!(
        !host.device.engine().prepare_sleep(),
        "nothing would wake it"
    );

    host.disable();
    assert!(host.device.engine().is_idle());
    assert!(host.device.engine().prepare_sleep());
}

/// A guest that never stops writing to the page, whatever happens.
#[test]
fn scribbling_on_another_processor_does_no_harm_after_a_reset() {
    let mut host = Host::new();
    let page = page(&mut host);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let scribbler = std::thread::spawn(move || {
        let mut value = 0x2545_F491_u32;
        while !stopped.load(Ordering::Relaxed) {
            value ^= value << 13;
            value ^= value >> 17;
            value ^= value << 5;
            page.set_doorbell(value % DoorbellPage::SLOTS, value >> (value & 31));
        }
    });
    for _ in 0..50 {
        host.submit_admin(Command::new(EVENT_REQUEST));
        host.settle();
        host.write32(CC, 0);
        host.settle();
        host.write32(CC, CC_ENABLE);
        host.settle();
        assert_eq!(host.read32(CSTS), 1, "it always comes up");
    }
    stop.store(true, Ordering::Relaxed);
    scribbler.join().unwrap();

    host.disable();
    host.enable();

    let mut queue = host.create_queue(1, 8, None);
    for _ in 0..20 {
        assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    }
}

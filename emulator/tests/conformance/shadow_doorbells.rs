// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shadow doorbells (5.8, B.5). See docs/doorbells.md.

use crate::doorbells::{INVALID_VALUE, event_after, flush};
use crate::host::*;

/// The pages of Doorbell Buffer Config.
struct Shadow {
    doorbells: u64,
    events: u64,
}

impl Shadow {
    fn configure(host: &mut Host) -> Self {
        let (doorbells, events) = (host.page(), host.page());
        let command = Command::new(0x7C).prp(doorbells, events);
        host.admin_ok(command);
        host.device.engine().resume_polling();
        Self { doorbells, events }
    }

    fn slot(queue: u16, completion: bool) -> u64 {
        u64::from(queue) * 8 + if completion { 4 } else { 0 }
    }

    /// Writes the doorbell as Linux does and says whether it would also write the register.
    fn ring(&self, host: &Host, queue: &Queue, completion: bool) -> bool {
        let slot = Self::slot(queue.id, completion);
        let old = host.get32(self.doorbells + slot);
        let new = if completion { queue.head } else { queue.tail };
        host.put32(self.doorbells + slot, new);
        let event = host.get32(self.events + slot);
        // All three are 16 bits wide and wrap.
        let low = |value: u32| value & 0xFFFF;
        low(new.wrapping_sub(event).wrapping_sub(1)) < low(new.wrapping_sub(old))
    }
}

#[test]
fn polling_needs_no_trap_however_often_the_queue_goes_round() {
    let mut host = Host::new();
    let shadow = Shadow::configure(&mut host);
    let mut queue = host.create_queue(1, 8, None);
    for round in 0..100 {
        let batch = round % 5 + 1;
        for _ in 0..batch {
            host.stage(&mut queue, flush());
        }
        assert!(!shadow.ring(&host, &queue, false), "round {round}: tail");
        host.settle();
        for _ in 0..batch {
            let completion = host.peek(&queue).expect("the poller saw it");
            assert_eq!(completion.status(), SUCCESS);
            queue.head += 1;
            if queue.head == queue.entries {
                (queue.head, queue.phase) = (0, queue.phase ^ 1);
            }
            assert!(!shadow.ring(&host, &queue, true), "round {round}: head");
        }
    }
}

#[test]
fn sleeping_device_asks_for_the_next_doorbell() {
    let mut host = Host::new();
    let shadow = Shadow::configure(&mut host);
    let mut queue = host.create_queue(1, 8, None);
    for round in 0..30 {
        host.settle();
        assert!(host.device.engine().is_idle());
        assert!(host.device.engine().prepare_sleep(), "nothing is there");
        host.stage(&mut queue, flush());
        assert!(
            shadow.ring(&host, &queue, false),
            "round {round}: must trap"
        );
        // The trap wakes the device.
        host.ring(&queue);
        host.device.engine().resume_polling();
        host.settle();
        let completion = host.peek(&queue).expect("woken");
        assert_eq!(completion.status(), SUCCESS);
        queue.head += 1;
        if queue.head == queue.entries {
            (queue.head, queue.phase) = (0, queue.phase ^ 1);
        }
        shadow.ring(&host, &queue, true);
    }
}

#[test]
fn work_before_sleep_keeps_the_device_awake() {
    let mut host = Host::new();
    let shadow = Shadow::configure(&mut host);
    let mut queue = host.create_queue(1, 8, None);
    host.settle();
    host.stage(&mut queue, flush());
    shadow.ring(&host, &queue, false);
    assert!(!host.device.engine().prepare_sleep(), "work has arrived");
    host.settle();
    assert!(host.peek(&queue).is_some());
    // And it polls again: no trap is wanted.
    host.stage(&mut queue, flush());
    assert!(!shadow.ring(&host, &queue, false));
}

#[test]
fn full_completion_queue_goes_on_when_the_shadow_head_moves() {
    let mut host = Host::new();
    let shadow = Shadow::configure(&mut host);
    let mut queue = host.create_queue(1, 4, None);
    for _ in 0..3 {
        host.stage(&mut queue, flush());
    }
    shadow.ring(&host, &queue, false);
    host.settle();
    // Three more: the completion queue is full with the first three.
    for _ in 0..3 {
        host.stage(&mut queue, flush());
    }
    shadow.ring(&host, &queue, false);
    host.settle();
    assert_eq!(host.get(queue.cq + 3 * 16 + 14, 1)[0] & 1, 0, "no room yet");
    queue.head = 3;
    shadow.ring(&host, &queue, true);
    host.settle();
    assert_eq!(host.get(queue.cq + 3 * 16 + 14, 1)[0] & 1, 1);
}

#[test]
fn admin_queue_traps_and_is_mirrored() {
    let mut host = Host::new();
    let shadow = Shadow::configure(&mut host);
    host.admin_ok(get_feature(0x07, 0));
    assert_eq!(host.get32(shadow.doorbells), host.admin.tail);
}

#[test]
fn queues_made_before_the_configuration_are_shadowed_too() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    let (doorbells, events) = (host.page(), host.page());
    // The driver writes what the doorbells hold before it hands the pages over.
    host.put32(doorbells + 8, queue.tail);
    host.put32(doorbells + 12, queue.head);
    host.admin_ok(Command::new(0x7C).prp(doorbells, events));
    host.device.engine().resume_polling();
    let shadow = Shadow { doorbells, events };
    host.stage(&mut queue, flush());
    shadow.ring(&host, &queue, false);
    host.settle();
    assert!(host.peek(&queue).is_some());
}

#[test]
fn configuration_with_bad_pages_refused() {
    let mut host = Host::new();
    let page = host.page();
    for (doorbells, events) in [
        (page + 4, page),
        (page, page + 512),
        (0, page),
        (page, RAM + RAM_BYTES as u64),
        (!0xFFF, page),
    ] {
        let command = Command::new(0x7C).prp(doorbells, events);
        assert_ne!(
            host.admin(command).status(),
            SUCCESS,
            "{doorbells:#x} {events:#x}"
        );
    }
}

#[test]
fn reset_drops_the_pages() {
    let mut host = Host::new();
    let shadow = Shadow::configure(&mut host);
    host.create_queue(1, 8, None);
    host.disable();
    host.put(shadow.doorbells, &[0xEE; 4096]);
    host.put(shadow.events, &[0xEE; 4096]);
    host.enable();
    let mut queue = host.create_queue(1, 8, None);
    for _ in 0..20 {
        assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
    }
    assert_eq!(host.get(shadow.doorbells, 4096), [0xEE; 4096]);
    assert_eq!(host.get(shadow.events, 4096), [0xEE; 4096]);
}

#[test]
fn wrong_shadow_tail_is_an_event_and_harmless() {
    let event = event_after(|host| {
        let shadow = Shadow::configure(host);
        host.put32(shadow.doorbells + 8, 0xFFFF_FFFF);
    });
    assert_eq!(event, INVALID_VALUE);
}

#[test]
fn sleep_after_shutdown_writes_nothing() {
    let mut host = Host::new();
    let shadow = Shadow::configure(&mut host);
    host.create_queue(1, 8, None);
    host.write32(CC, CC_ENABLE | 1 << 14);
    host.settle();
    assert_eq!(host.read32(CSTS) >> 2 & 3, 2, "SHST: complete");
    host.put(shadow.doorbells, &[0xEE; 4096]);
    host.put(shadow.events, &[0xEE; 4096]);
    assert!(host.device.engine().prepare_sleep());
    host.device.engine().resume_polling();
    assert_eq!(host.get(shadow.doorbells, 4096), [0xEE; 4096]);
    assert_eq!(host.get(shadow.events, 4096), [0xEE; 4096]);
}

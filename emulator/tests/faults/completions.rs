// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Acts on a command's completion.

use crate::host::{
    ABORTED_BY_REQUEST, ABORTED_SQ_DELETION, Command, READ, SUCCESS, delete_sq, identify, transfer,
};
use crate::rig::{ENTRIES, Rig};

#[test]
fn status_is_posted_as_it_is_and_the_command_not_executed() {
    let mut rig = Rig::new(
        r#"
        [[rule]]
        opcode = "write"
        act = "status"
        status-type = 2
        status-code = 0x80
        do-not-retry = true
        "#,
    );
    rig.host.put(rig.page, &[7; 512]);

    let refused = rig.run(rig.write_of(3, 1));

    assert_eq!(refused.field, 1 << 14 | 2 << 8 | 0x80);
    assert_eq!(rig.hits(), [1]);
    assert_eq!(rig.run(rig.read_of(3)).status(), SUCCESS);
    assert_eq!(rig.host.get(rig.page, 512), [0; 512]);
    assert_eq!(rig.run(rig.write_of(3, 1)).status(), SUCCESS, "once only");
}

#[test]
fn status_in_one_number_may_be_success_of_a_write_that_was_lost() {
    let mut rig = Rig::new("[[rule]]\nopcode = \"write\"\nact = \"status\"\nstatus = 0");
    rig.host.put(rig.page, &[7; 512]);

    assert_eq!(rig.run(rig.write_of(3, 1)).field, 0);
    rig.run(rig.read_of(3));
    assert_eq!(rig.host.get(rig.page, 512), [0; 512]);
}

#[test]
fn status_of_an_admin_command_leaves_io_alone() {
    let mut rig = Rig::new(
        r#"
        [[rule]]
        queue = "admin"
        opcode = "identify"
        act = "status"
        status = 0x006
        "#,
    );

    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
    let page = rig.page;
    assert_eq!(rig.host.admin(identify(1, 0, page)).status(), (0, 6));
    assert_eq!(rig.host.admin(identify(1, 0, page)).status(), SUCCESS);
}

#[test]
fn delay_completes_so_much_later() {
    let mut rig = Rig::new("[[rule]]\nact = \"delay\"\nnanoseconds = 1_000_000");

    let late = rig.send(rig.read_of(0));
    let next = rig.send(rig.read_of(1));

    assert_eq!(rig.reap_all(), [next]);
    rig.wait(1);
    assert_eq!(rig.reap_all(), [late]);
    assert_eq!(rig.engine().counters().queues()[1].early, 0);
}

#[test]
fn delay_of_refused_and_admin_commands_is_kept_too() {
    let mut rig = Rig::new(
        r#"
        [[rule]]
        queue = ["admin", "io"]
        count = "forever"
        act = "delay"
        nanoseconds = 1_000_000
        "#,
    );

    let refused = rig.send(transfer(READ, 77, 0, 1).prp(rig.page, 0));
    let page = rig.page;
    rig.host.submit_admin(identify(1, 0, page));
    rig.host.settle();

    assert!(rig.reap().is_none());
    assert!(rig.host.reap_admin().is_none());
    rig.wait(1);
    assert_eq!(
        rig.reap().map(|c| (c.cid, c.status())),
        Some((refused, (0, 0x0B)))
    );
    assert_eq!(rig.host.reap_admin().map(|c| c.status()), Some(SUCCESS));
}

#[test]
fn dropped_command_is_executed_and_never_completes() {
    let mut rig = Rig::new("[[rule]]\nopcode = \"write\"\nact = \"drop\"");
    rig.host.put(rig.page, &[7; 512]);

    rig.send(rig.write_of(3, 1));
    rig.wait(20);

    assert!(rig.reap().is_none());
    rig.host.put(rig.page, &[0; 512]);
    rig.run(rig.read_of(3));
    assert_eq!(rig.host.get(rig.page, 512), [7; 512]);
}

/// A dropped completion gives its slot back: the queue does not fill up with them.
#[test]
fn dropped_commands_do_not_use_up_the_completion_queue() {
    let mut rig = Rig::new("[[rule]]\ncount = \"forever\"\nact = \"drop\"");
    for _ in 0..3 * ENTRIES {
        rig.send(rig.read_of(0));
    }
    assert_eq!(rig.hits(), [u64::from(3 * ENTRIES)]);
    rig.load("");
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
}

#[test]
fn abort_of_a_dropped_command_finds_nothing() {
    let mut rig = Rig::new("[[rule]]\nact = \"drop\"");
    let cid = rig.send(rig.read_of(0));

    let abort = rig.host.admin(abort_of(cid));

    assert_eq!((abort.status(), abort.dw0), (SUCCESS, 1), "not aborted");
}

#[test]
fn duplicate_is_posted_twice() {
    let mut rig = Rig::new("[[rule]]\nact = \"duplicate\"");

    let cid = rig.send(rig.read_of(0));

    assert_eq!(rig.reap_all(), [cid, cid]);
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
}

/// The second one needs a slot that no command was promised.
#[test]
fn duplicates_never_overflow_the_completion_queue() {
    let mut rig = Rig::new("[[rule]]\ncount = \"forever\"\nact = \"duplicate\"");
    for _ in 1..ENTRIES {
        rig.submit(rig.read_of(0));
    }
    rig.host.settle();

    let mut seen = Vec::new();
    for _ in 0..ENTRIES {
        seen.extend(rig.reap_all());
        rig.host.settle();
    }
    seen.dedup();
    assert_eq!(seen.len(), ENTRIES as usize - 1);
}

#[test]
fn wrong_cid_is_another_ones() {
    let mut rig =
        Rig::new("[[rule]]\nact = \"wrong-cid\"\n[[rule]]\nact = \"wrong-cid\"\ncid = 0xFFFE");

    let cid = rig.send(rig.read_of(0));
    assert_eq!(rig.reap_all(), [cid + 1]);
    rig.send(rig.read_of(0));
    assert_eq!(rig.reap_all(), [0xFFFE]);
    rig.run(rig.read_of(0));
}

#[test]
fn wrong_phase_uses_a_slot_that_looks_empty() {
    let mut rig = Rig::new("[[rule]]\nact = \"wrong-phase\"");

    let cid = rig.send(rig.read_of(0));
    assert!(rig.host.peek(&rig.queue).is_none());
    let raw = rig.host.get(rig.queue.cq, 16);
    assert_eq!(u16::from_le_bytes([raw[12], raw[13]]), cid);
    assert_eq!(raw[14] & 1, 0);

    let next = rig.send(rig.read_of(0));
    let mut after = rig.queue;
    after.head += 1;
    assert_eq!(rig.host.peek(&after).map(|c| c.cid), Some(next));
}

#[test]
fn reorder_waits_until_so_many_have_overtaken() {
    let mut rig = Rig::new("[[rule]]\nact = \"reorder\"\ncommands = 2");

    let first = rig.send(rig.read_of(0));
    let second = rig.send(rig.read_of(1));
    assert_eq!(rig.reap_all(), [second]);
    let third = rig.send(rig.read_of(2));
    assert_eq!(rig.reap_all(), [third, first]);
}

#[test]
fn reorder_of_a_command_without_others_ends_after_its_time() {
    let mut rig = Rig::new("[[rule]]\nact = \"reorder\"\nnanoseconds = 2_000_000");

    let cid = rig.send(rig.read_of(0));
    rig.wait(1);
    assert!(rig.reap().is_none());
    rig.wait(1);
    assert_eq!(rig.reap_all(), [cid]);
}

#[test]
fn abort_and_queue_deletion_reach_what_is_held_back() {
    let mut rig = Rig::new(
        r#"
        [[rule]]
        count = 2
        act = "reorder"
        commands = 9
        [[rule]]
        act = "slow-doorbell"
        nanoseconds = 1_000_000_000
        "#,
    );
    let held = [rig.send(rig.read_of(0)), rig.send(rig.read_of(1))];
    let unnoticed = rig.send(rig.read_of(2));

    let abort = rig.host.admin(abort_of(held[0]));
    assert_eq!((abort.status(), abort.dw0), (SUCCESS, 0));
    let aborted = rig.reap().unwrap();
    assert_eq!(
        (aborted.cid, aborted.status()),
        (held[0], ABORTED_BY_REQUEST)
    );

    rig.host.admin_ok(delete_sq(1));
    for cid in [held[1], unnoticed] {
        let deleted = rig.reap().unwrap();
        assert_eq!((deleted.cid, deleted.status()), (cid, ABORTED_SQ_DELETION));
    }
    assert!(rig.reap().is_none());
}

fn abort_of(cid: u16) -> Command {
    Command::new(0x08).cdw(10, u32::from(cid) << 16 | 1)
}

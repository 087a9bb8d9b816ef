// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What rules match, how often they act, and what ends them.

use emulator::engine::LaneShare;

use crate::host::{READ, SUCCESS, Status, identify, transfer};
use crate::rig::Rig;

/// The status of the rules below.
const FAULT: Status = (2, 0x81);

fn statuses(rig: &mut Rig, blocks: std::ops::Range<u64>) -> Vec<bool> {
    let read = |slba| rig.run(rig.read_of(slba)).status() == FAULT;
    blocks.map(read).collect()
}

fn rule(keys: &str) -> Rig {
    Rig::new(&format!(
        "[[rule]]\nact = \"status\"\nstatus = 0x281\n{keys}"
    ))
}

#[test]
fn skip_and_count_bound_what_a_rule_does() {
    let mut rig = rule("skip = 2\ncount = 3");
    let acted = statuses(&mut rig, 0..8);
    let expected = [false, false, true, true, true, false, false, false];
    assert_eq!(acted, expected);
    let report = rig.engine().fault_rules();
    assert_eq!((report[0].matched, report[0].left), (5, Some(0)));
}

#[test]
fn count_forever_does_not_end() {
    let mut rig = rule("count = \"forever\"");
    assert_eq!(statuses(&mut rig, 0..40), [true; 40]);
}

#[test]
fn lba_matches_what_overlaps() {
    let mut rig = rule("lba = [10, 12]\ncount = \"forever\"");
    assert_eq!(statuses(&mut rig, 9..14), [false, true, true, true, false]);
    let across = transfer(READ, 1, 3, 8).prp(rig.page, 0);
    assert_eq!(rig.run(across).status(), FAULT);
    let before = transfer(READ, 1, 2, 8).prp(rig.page, 0);
    assert_eq!(rig.run(before).status(), SUCCESS);
}

#[test]
fn nsid_queue_and_opcode_must_all_match() {
    let mut rig = rule("nsid = 2\nqueue = [2, 3]\nopcode = [\"read\", 0x0C]\ncount = \"forever\"");
    let mut other = rig.host.create_queue(2, 16, None);
    let page = rig.page;
    let command = |opcode, nsid| transfer(opcode, nsid, 0, 1).prp(page, 0);
    let mut on_2 = |opcode, nsid| rig.host.run(&mut other, command(opcode, nsid)).status();

    assert_eq!(on_2(0x02, 2), FAULT);
    assert_eq!(on_2(0x0C, 2), FAULT);
    assert_eq!(on_2(0x02, 1), SUCCESS);
    assert_eq!(on_2(0x01, 2), SUCCESS);
    assert_eq!(rig.run(command(0x02, 2)).status(), SUCCESS);
}

#[test]
fn probability_draws_the_same_for_the_same_command_whatever_comes_between() {
    let keys = "count = \"forever\"\nprobability = 0.5";
    let mut rig = rule(keys);
    let alone = statuses(&mut rig, 0..64);
    let acted = alone.iter().filter(|&&acted| acted).count();
    assert!((16..48).contains(&acted), "{acted} of 64");

    let mut rig = rule(keys);
    let mut other = rig.host.create_queue(2, 16, None);
    let mut among: Vec<bool> = Vec::new();
    for slba in 0..64 {
        let read = rig.read_of(slba);
        rig.host.run(&mut other, read);
        among.push(rig.run(read).status() == FAULT);
    }
    assert_eq!(among, alone);
}

#[test]
fn first_rule_that_acts_decides_and_the_next_does_not_see_the_command() {
    let mut rig = Rig::new(
        r#"
        [[rule]]
        act = "status"
        status = 0x281
        [[rule]]
        act = "status"
        status = 0x286
        "#,
    );
    assert_eq!(rig.run(rig.read_of(0)).status(), (2, 0x81));
    assert_eq!(rig.hits(), [1, 0]);
    assert_eq!(rig.run(rig.read_of(0)).status(), (2, 0x86));
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
    assert_eq!(rig.engine().counters().faults.acted, 2);
}

#[test]
fn reset_drops_what_is_held_back_and_keeps_the_counts() {
    let mut rig = Rig::new(
        r#"
        [[rule]]
        act = "reorder"
        commands = 5
        [[rule]]
        act = "interrupt-spurious"
        [[rule]]
        act = "slow-doorbell"
        nanoseconds = 1_000_000
        "#,
    );
    for slba in 0..3 {
        rig.submit(rig.read_of(slba));
    }
    rig.host.device.work();

    rig.reset();
    rig.wait(200);

    assert!(rig.reap().is_none());
    assert!(rig.host.device.raised().is_empty());
    assert_eq!(rig.hits(), [1, 1, 1]);
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
}

#[test]
fn other_rules_let_go_what_the_old_ones_held() {
    let mut rig = Rig::new(
        r#"
        [[rule]]
        act = "reorder"
        commands = 5
        nanoseconds = 1_000_000_000
        [[rule]]
        act = "slow-doorbell"
        nanoseconds = 1_000_000_000
        "#,
    );
    let held = rig.send(rig.read_of(0));
    let unnoticed = rig.send(rig.read_of(1));
    assert!(rig.reap().is_none());

    rig.load("");
    rig.host.settle();

    assert_eq!(rig.reap_all(), [held, unnoticed]);
    assert!(rig.engine().fault_rules().is_empty());
}

/// With rules in force the first poller serves every queue.
#[test]
fn queues_are_lent_only_while_there_are_no_rules() {
    let mut rig = Rig::new("");
    rig.host.create_queue(2, 16, None);
    let share = LaneShare { number: 1, of: 2 };
    assert!(rig.engine().can_lend(share));
    rig.load("[[rule]]\nact = \"drop\"");
    assert!(!rig.engine().can_lend(share));
    rig.load("");
    assert!(rig.engine().can_lend(share));
}

#[test]
fn requests_for_events_are_never_matched() {
    let mut rig = Rig::new("[[rule]]\nqueue = \"admin\"\nact = \"status\"\nstatus = 6");
    rig.host.submit_admin(crate::host::Command::new(0x0C));
    rig.host.settle();
    assert!(rig.host.reap_admin().is_none());
    let page = rig.page;
    assert_eq!(rig.host.admin(identify(1, 0, page)).status(), (0, 6));
}

/// Whatever the guest sends, with every rule in force: nothing panics, and a reset makes it well.
#[test]
fn garbage_with_every_completion_fault_leaves_a_device_that_works() {
    let acts = [
        "status\"\nstatus = 6",
        "delay\"\nnanoseconds = 50_000",
        "drop\"",
        "duplicate\"",
        "wrong-cid\"\noffset = 9",
        "reorder\"\ncommands = 3",
        "corrupt\"\nbytes = 5000",
        "torn-write\"",
        "interrupt-lost\"",
        "interrupt-spurious\"",
        "slow-doorbell\"\nnanoseconds = 20_000",
    ];
    let rule =
        |act: &&str| format!("[[rule]]\ncount = \"forever\"\nprobability = 0.2\nact = \"{act}\n");
    let rules: String = acts.iter().map(rule).collect();
    let mut rig = Rig::new(&rules);
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u32::try_from(state >> 33).unwrap()
    };
    for _ in 0..3000 {
        let mut command = rig.read_of(u64::from(random() % 20000));
        command.0[0] = random() % 16;
        if random() % 4 == 0 {
            command.0[(random() % 16) as usize] = random();
        }
        rig.submit(command);
        rig.host.device.work();
        rig.reap_all();
    }
    rig.load("");
    rig.reset();
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
}

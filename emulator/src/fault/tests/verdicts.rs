// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::super::{ControllerFault, Damage, Ending, Execution, Verdict};
use super::{command, faults, verdict};
use crate::spec::Status;

const READ: u8 = 2;

#[test]
fn verdict_without_a_match_is_none() {
    let mut faults = faults("[[rule]]\nopcode = \"write\"\nact = \"drop\"");
    assert_eq!(verdict(&mut faults, 1, 0, &command(READ, 0, 1)), None);
    assert_eq!(faults.report()[0].matched, 0);
}

#[test]
fn verdict_on_an_admin_command_needs_a_rule_for_that_queue() {
    let mut io = faults("[[rule]]\nact = \"fatal\"");
    assert_eq!(verdict(&mut io, 0, 0, &command(6, 0, 1)), None);
    let mut admin = faults("[[rule]]\nqueue = \"admin\"\nopcode = 6\nact = \"fatal\"");
    assert_eq!(verdict(&mut admin, 1, 0, &command(6, 0, 1)), None);
    assert_eq!(
        verdict(&mut admin, 0, 0, &command(6, 0, 1)),
        Some(Verdict::Controller(ControllerFault::Fatal))
    );
}

#[test]
fn verdict_pauses_after_each_hit() {
    let mut faults = faults("[[rule]]\nskip = 1\npause = 2\ncount = \"forever\"\nact = \"drop\"");
    let mut acts = |sequence| verdict(&mut faults, 1, sequence, &command(READ, 0, 1)).is_some();
    let acted: Vec<_> = (0..8).filter(|&sequence| acts(sequence)).collect();
    assert_eq!(acted, [1, 4, 7]);
}

/// A flush or an admin command has no blocks, whatever its dwords 10 to 12 hold.
#[test]
fn verdict_by_lba_is_for_commands_that_have_one() {
    let mut faults = faults("[[rule]]\nlba = [0, 100]\ncount = \"forever\"\nact = \"drop\"");
    assert_eq!(verdict(&mut faults, 1, 0, &command(0, 5, 1)), None);
    assert_eq!(verdict(&mut faults, 1, 0, &command(9, 5, 1)), None);
    assert!(verdict(&mut faults, 1, 0, &command(READ, 5, 1)).is_some());
    assert_eq!(verdict(&mut faults, 1, 0, &command(READ, 101, 1)), None);
}

#[test]
fn verdict_on_the_last_block_of_all_does_not_overflow() {
    let mut faults = faults(
        "[[rule]]\nlba = [9_000_000_000_000_000_000, 9_223_372_036_854_775_807]\nact = \"drop\"",
    );
    let mut sqe = command(READ, u32::MAX, 65536);
    sqe.cdw11.set(u32::MAX);
    assert_eq!(verdict(&mut faults, 1, 0, &sqe), None);
    sqe.cdw11.set(0x7FFF_FFFF);
    assert!(verdict(&mut faults, 1, 0, &sqe).is_some());
}

#[test]
fn probability_of_0_never_acts_and_of_1_always() {
    let rule = |probability| {
        faults(&format!(
            "[[rule]]\ncount = \"forever\"\nprobability = {probability}\nact = \"drop\""
        ))
    };
    let acted = |probability| {
        let mut faults = rule(probability);
        let acts = |sequence| verdict(&mut faults, 1, sequence, &command(READ, 0, 1)).is_some();
        (0..10_000).map(acts).filter(|&acted| acted).count()
    };
    assert_eq!(acted("0.0"), 0);
    assert_eq!(acted("1.0"), 10_000);
    let some = acted("0.1");
    assert!((900..1100).contains(&some), "{some}");
}

#[test]
fn probability_of_two_rules_draws_apart() {
    let mut faults = faults(
        r#"
        [[rule]]
        count = "forever"
        probability = 0.5
        act = "drop"
        [[rule]]
        count = "forever"
        probability = 0.5
        act = "duplicate"
        "#,
    );
    for sequence in 0..1000 {
        verdict(&mut faults, 1, sequence, &command(READ, 0, 1));
    }
    let hits: Vec<u64> = faults.report().iter().map(|rule| rule.hits).collect();
    // With the same draws the second rule would never act.
    assert!((400..600).contains(&hits[0]), "{hits:?}");
    assert!((180..320).contains(&hits[1]), "{hits:?}");
}

#[test]
fn verdicts_are_what_the_acts_say() {
    let mut sqe = command(1, 0, 8);
    sqe.cid.set(0xFFFF);
    let of = |keys: &str| {
        let mut faults = faults(&format!("[[rule]]\nact = {keys}"));
        verdict(&mut faults, 1, 0, &sqe)
    };
    let ends = |ending| {
        Some(Verdict::Execute(Execution {
            ending,
            ..Execution::NORMAL
        }))
    };
    assert_eq!(
        of("\"status\"\nstatus = 0x281"),
        Some(Verdict::Refuse(Status::UNRECOVERED_READ_ERROR))
    );
    assert_eq!(of("\"drop\""), ends(Ending::Dropped));
    assert_eq!(of("\"wrong-cid\"\noffset = 2"), ends(Ending::WrongCid(1)));
    assert_eq!(of("\"reorder\"\ncommands = 3"), ends(Ending::Reordered(3)));
    assert_eq!(
        of("\"slow-doorbell\"\nnanoseconds = 4"),
        Some(Verdict::Unnoticed(4))
    );
    let torn = Execution {
        damage: Damage::Torn { blocks: 3 },
        ..Execution::NORMAL
    };
    assert_eq!(
        of("\"torn-write\"\nblocks = 3"),
        Some(Verdict::Execute(torn))
    );
    assert_eq!(
        of("\"stuck-csts\"\nnanoseconds = 4"),
        Some(Verdict::Controller(ControllerFault::StuckCsts(Some(4))))
    );
}

#[test]
fn power_cuts_of_a_rule_have_a_seed_each() {
    let mut faults = faults("seed = 5\n[[rule]]\ncount = 2\nact = \"power-cut\"");
    for seed in [5, 6] {
        assert_eq!(
            verdict(&mut faults, 1, 0, &command(READ, 0, 1)),
            Some(Verdict::Controller(ControllerFault::PowerCut(seed)))
        );
    }
}

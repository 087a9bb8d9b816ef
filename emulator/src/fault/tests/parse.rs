// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::super::rule::{Act, CidChange, QueueChoice};
use super::super::{MAX_RULES, Rules};
use super::{refusal, rules};
use crate::spec::Status;

fn act(keys: &str) -> Act {
    rules(&format!("[[rule]]\nact = {keys}")).rules[0].act
}

#[test]
fn parse_of_an_empty_file_is_no_rules() {
    assert!(rules("").is_empty());
    assert!(rules("seed = 7").is_empty());
}

#[test]
fn parse_without_keys_is_the_next_io_command() {
    let rules = rules("[[rule]]\nact = \"drop\"");
    let rule = &rules.rules[0];
    assert_eq!(rule.matches.queues, [QueueChoice::Io]);
    assert!(rule.matches.opcodes.is_empty());
    assert_eq!((rule.skip, rule.count, rule.threshold), (0, Some(1), None));
}

#[test]
fn parse_takes_every_matching_key() {
    let rules = rules(
        r#"
        seed = 99
        [[rule]]
        queue = [1, "io", 4]
        opcode = ["write", 0x0C]
        nsid = 2
        lba = [8, 15]
        skip = 5
        pause = 6
        count = "forever"
        probability = 0.25
        act = "drop"
        [[rule]]
        queue = 0
        opcode = "get-log-page"
        act = "drop"
        "#,
    );
    assert_eq!(rules.seed, 99);
    let rule = &rules.rules[0];
    let queues = [QueueChoice::One(1), QueueChoice::Io, QueueChoice::One(4)];
    assert_eq!(rule.matches.queues, queues);
    assert_eq!(rule.matches.opcodes, [0x01, 0x0C]);
    assert_eq!(rule.matches.nsid, Some(2));
    assert_eq!(rule.matches.lba, Some((8, 15)));
    assert_eq!((rule.skip, rule.pause, rule.count), (5, 6, None));
    assert_eq!(rule.threshold, Some(1 << 62));
    assert_eq!(rules.rules[1].matches.queues, [QueueChoice::Admin]);
    assert_eq!(rules.rules[1].matches.opcodes, [0x02]);
}

#[test]
fn parse_takes_every_act_with_its_keys() {
    let media = Act::Status(Status(0x281));
    assert_eq!(act("\"status\"\nstatus = 0x281"), media);
    assert_eq!(
        act("\"status\"\nstatus-type = 2\nstatus-code = 0x81"),
        media
    );
    assert_eq!(
        act("\"status\"\nstatus-code = 6\ndo-not-retry = true"),
        Act::Status(Status(0x4006))
    );
    assert_eq!(act("\"delay\"\nnanoseconds = 5"), Act::Delay(5));
    assert_eq!(act("\"duplicate\""), Act::Duplicate);
    assert_eq!(act("\"wrong-cid\""), Act::WrongCid(CidChange::By(1)));
    assert_eq!(
        act("\"wrong-cid\"\noffset = 3"),
        Act::WrongCid(CidChange::By(3))
    );
    assert_eq!(
        act("\"wrong-cid\"\ncid = 0"),
        Act::WrongCid(CidChange::To(0))
    );
    assert_eq!(act("\"wrong-phase\""), Act::WrongPhase);
    assert_eq!(act("\"corrupt\""), Act::Corrupt { bytes: 1 });
    assert_eq!(act("\"torn-write\""), Act::TornWrite { blocks: None });
    assert_eq!(
        act("\"torn-write\"\nblocks = 0"),
        Act::TornWrite { blocks: Some(0) }
    );
    assert_eq!(
        act("\"reorder\"\ncommands = 4\nnanoseconds = 9"),
        Act::Reorder {
            commands: 4,
            at_most: 9
        }
    );
    assert_eq!(act("\"stuck-csts\""), Act::StuckCsts { lasts: None });
    assert_eq!(act("\"fatal\""), Act::Fatal);
    assert_eq!(act("\"remove\""), Act::Remove);
    assert_eq!(act("\"interrupt-lost\""), Act::InterruptLost);
    assert_eq!(
        act("\"interrupt-spurious\""),
        Act::InterruptSpurious { after: 100_000 }
    );
    assert_eq!(
        act("\"slow-doorbell\"\nnanoseconds = 7"),
        Act::SlowDoorbell(7)
    );
    assert_eq!(
        act("\"power-cut\"\nseed = 3"),
        Act::PowerCut { seed: Some(3) }
    );
}

/// File, rule, key, value and what is allowed, in one line.
#[test]
fn parse_of_a_wrong_value_names_file_rule_key_and_value() {
    for (keys, message) in [
        (
            "act = \"explode\"",
            "act: \"explode\" is none of status, delay,",
        ),
        ("skip = 1", "act: it is missing"),
        ("act = \"status\"", "status-code: it is missing"),
        (
            "act = \"status\"\nstatus = 0x800",
            "status: 0x800 is above 0x7ff",
        ),
        (
            "act = \"status\"\nstatus-type = 8\nstatus-code = 0",
            "status-type: 0x8 is above 0x7",
        ),
        (
            "act = \"status\"\nstatus-code = 256",
            "status-code: 0x100 is above 0xff",
        ),
        (
            "act = \"status\"\nstatus = 1\nstatus-code = 1",
            "status: stands beside",
        ),
        ("act = \"delay\"", "nanoseconds: it is missing"),
        (
            "act = \"delay\"\nnanoseconds = 0",
            "nanoseconds: 0 is not between 1 and",
        ),
        (
            "act = \"slow-doorbell\"\nnanoseconds = 3_600_000_000_001",
            "nanoseconds: 36000",
        ),
        (
            "act = \"drop\"\nbytes = 3",
            "bytes: means nothing for act = \"drop\"",
        ),
        (
            "act = \"corrupt\"\nbytes = 0",
            "bytes: 0 would change nothing",
        ),
        (
            "act = \"corrupt\"\nopcode = \"write\"",
            "opcode: corrupt is for opcode = \"read\"",
        ),
        (
            "act = \"corrupt\"\nqueue = \"admin\"",
            "queue: corrupt is for I/O queues",
        ),
        (
            "act = \"torn-write\"\nblocks = 65536",
            "blocks: 65536 is above 65535",
        ),
        ("act = \"wrong-cid\"\noffset = 0", "offset: 0 would be"),
        (
            "act = \"wrong-cid\"\noffset = 1\ncid = 1",
            "offset: stands beside cid",
        ),
        ("act = \"reorder\"\ncommands = 0", "commands: 0 would"),
        ("act = \"drop\"\ncount = 0", "count: 0 is neither"),
        (
            "act = \"drop\"\ncount = \"ever\"",
            "count: \"ever\" is neither",
        ),
        (
            "act = \"drop\"\nprobability = 1.5",
            "probability: 1.5 is not between 0.0 and 1.0",
        ),
        (
            "act = \"drop\"\nprobability = nan",
            "probability: NaN is not",
        ),
        (
            "act = \"drop\"\nqueue = \"all\"",
            "queue: \"all\" is neither",
        ),
        ("act = \"drop\"\nqueue = 65536", "queue: 65536 is above"),
        ("act = \"drop\"\nqueue = []", "queue: the list is empty"),
        ("act = \"drop\"\nopcode = 256", "opcode: 256 is above 0xFF"),
        ("act = \"drop\"\nopcode = []", "opcode: the list is empty"),
        (
            "act = \"drop\"\nopcode = \"identify\"",
            "opcode: \"identify\" is none of read,",
        ),
        (
            "act = \"drop\"\nopcode = \"read\"\nqueue = 0",
            "opcode: \"read\" is none of delete-sq,",
        ),
        (
            "act = \"drop\"\nopcode = 6\nqueue = [0, 1]",
            "opcode: the admin queue and I/O queues",
        ),
        (
            "act = \"drop\"\nlba = [3, 2]",
            "lba: [3, 2] ends before it begins",
        ),
        (
            "act = \"drop\"\nlba = [3, 4]\nopcode = \"flush\"",
            "lba: only read, write,",
        ),
        (
            "act = \"drop\"\nlba = [3, 4]\nqueue = 0",
            "lba: only read, write,",
        ),
    ] {
        let text = format!("[[rule]]\nact = \"drop\"\n[[rule]]\n{keys}");
        let told = refusal(&text);
        let expected = format!("rules.toml: rule 2: {message}");
        assert!(told.starts_with(&expected), "{told}\n{expected}");
        assert!(!told.contains('\n'), "{told}");
    }
}

#[test]
fn parse_of_what_is_no_rule_file_names_file_and_line() {
    for (text, message) in [
        (
            "[[rule]]\nact = \"drop\"\nwhen = 3",
            "line 3 (`when = 3`): unknown field `when`",
        ),
        ("sed = 3", "line 1 (`sed = 3`): unknown field `sed`"),
        ("[[rule]]\nskip = -1", "line 2 (`skip = -1`)"),
        (
            "[[rule]]\nqueue = -1",
            "line 2 (`queue = -1`): a number or a name",
        ),
        (
            "[[rule]]\ncount = 1.5",
            "line 2 (`count = 1.5`): a number that is not negative",
        ),
        ("[[rule]]\nlba = 3", "line 2 (`lba = 3`)"),
        ("[[rule]\n", "line 1 (`[[rule]`)"),
    ] {
        let told = refusal(text);
        let expected = format!("rules.toml, {message}");
        assert!(told.starts_with(&expected), "{told}\n{expected}");
        assert!(!told.contains('\n'), "{told}");
    }
}

#[test]
fn parse_of_too_many_rules_says_how_many_there_may_be() {
    let one = "[[rule]]\nact = \"drop\"\n";
    assert_eq!(rules(&one.repeat(MAX_RULES)).len(), MAX_RULES);
    let told = refusal(&one.repeat(MAX_RULES + 1));
    assert!(
        told.contains("257 rules: there may be at most 256"),
        "{told}"
    );
}

#[test]
fn read_of_a_file_that_is_not_there_names_it() {
    let error = Rules::read(std::path::Path::new("no/such/rules.toml"));
    let told = error.map_err(|error| error.to_string());
    assert!(told.is_err_and(|told| told.starts_with("no/such/rules.toml: cannot be read")));
}

/// What the repository shows as examples can be used.
#[test]
fn examples_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/faults");
    let files = std::fs::read_dir(folder).expect("examples");
    let mut seen = 0;
    for file in files.flatten() {
        let rules = Rules::read(&file.path());
        assert!(rules.is_ok_and(|rules| !rules.is_empty()), "{file:?}");
        seen += 1;
    }
    assert!(seen > 1);
}

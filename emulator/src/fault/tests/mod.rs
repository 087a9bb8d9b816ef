// SPDX-License-Identifier: Apache-2.0 OR MIT
mod damage;
mod parse;
mod verdicts;

use super::{Arrival, Faults, Rules, Verdict};
use crate::spec::SubmissionQueueEntry;

fn rules(text: &str) -> Rules {
    match Rules::parse(text, "rules.toml") {
        Ok(rules) => rules,
        Err(error) => panic!("{error}"),
    }
}

fn faults(text: &str) -> Faults {
    Faults::new(rules(text))
}

/// The message about `text`, which is no set of rules.
fn refusal(text: &str) -> String {
    match Rules::parse(text, "rules.toml") {
        Ok(rules) => panic!("taken: {rules:?}"),
        Err(error) => error.to_string(),
    }
}

/// A command with `opcode` on `blocks` blocks from `slba` of namespace 1.
fn command(opcode: u8, slba: u32, blocks: u32) -> SubmissionQueueEntry {
    let mut sqe = SubmissionQueueEntry {
        opcode,
        ..SubmissionQueueEntry::default()
    };
    sqe.nsid.set(1);
    sqe.cdw10.set(slba);
    sqe.cdw12.set(blocks - 1);
    sqe
}

/// The verdict on a command that comes to `queue` as its number `sequence`.
fn verdict(
    faults: &mut Faults,
    queue: u16,
    sequence: u64,
    sqe: &SubmissionQueueEntry,
) -> Option<Verdict> {
    faults.verdict(&Arrival {
        sqe,
        queue,
        creation: 0,
        sequence,
    })
}

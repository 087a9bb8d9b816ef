// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules at work: what each has seen and done, and the verdict on a command.

use rand_core::Rng as _;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::file::Rules;
use super::names::has_lba;
use super::rule::{Act, Match, Rule};
use super::{Corruption, Damage};
use crate::spec::{AdminOpcode, Status, SubmissionQueueEntry};
use crate::timing::{Nanos, Request, Work, generator, mix, scale};

/// A command that has arrived: its entry and its place, on which draws depend.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The command.
    pub sqe: &'a SubmissionQueueEntry,
    /// Its submission queue.
    pub queue: u16,
    /// How often the queue was created before.
    pub creation: u32,
    /// The command's number since then.
    pub sequence: u64,
}

/// What is to be done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is executed.
    Execute(Execution),
    /// It is not executed, and completes with this status as it is.
    Refuse(Status),
    /// The device has not noticed it yet, nor what comes behind it in its queue.
    Unnoticed(Nanos),
    /// Something happens to the controller.
    Controller(ControllerFault),
}

/// How a command is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// What happens to its data.
    pub damage: Damage,
    /// How much later than it would it completes.
    pub delay: Nanos,
    /// How its completion goes.
    pub ending: Ending,
}

impl Execution {
    /// As ever.
    pub const NORMAL: Self = Self {
        damage: Damage::None,
        delay: 0,
        ending: Ending::Normal,
    };
}

/// How a completion goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    #[default]
    Normal,
    /// It is never posted.
    Dropped,
    /// It is posted twice.
    Duplicated,
    /// It is posted with another command identifier.
    WrongCid(u16),
    /// Its phase tag is that of an old entry.
    WrongPhase,
    /// It waits until so many others of its queue were posted; see [`Faults::reorder_limit`].
    Reordered(u16),
    /// It is not announced by an interrupt.
    Unannounced,
    /// It is announced once more than it should; see [`Faults::spurious_after`].
    AnnouncedTwice,
}

/// What happens to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerFault {
    /// CSTS.CFS, and nothing is processed any more.
    Fatal,
    /// It is no longer there.
    Remove,
    /// CSTS.RDY stays as it is, for so long or without end. The command is executed.
    StuckCsts(Option<Nanos>),
    /// The power is cut, with this seed.
    PowerCut(u64),
}

/// What a rule has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// Its number in the file, from 1.
    pub rule: usize,
    /// What it does.
    pub act: &'static str,
    /// Commands that matched while it could act, those that it let pass included.
    pub matched: u64,
    /// How often it has acted.
    pub hits: u64,
    /// How often it will still act; left out when that has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}

/// A rule and what it has counted.
#[derive(Clone, Debug)]
struct Armed {
    rule: Rule,
    matched: u64,
    hits: u64,
    /// Up to this number of matching commands they pass.
    passes_until: u64,
}

/// Rules at work.
#[derive(Clone, Debug)]
pub struct Faults {
    seed: u64,
    rules: Vec<Armed>,
    /// Wait of completions that are held back, at most; of the rule that has held one last.
    reorder_limit: Nanos,
    /// The same for how long after a completion its second interrupt comes.
    spurious_after: Nanos,
}

impl Faults {
    /// Puts rules to work; nothing is counted yet.
    pub fn new(rules: Rules) -> Self {
        let Rules { seed, rules } = rules;
        let armed = rules.into_iter().map(|rule| Armed {
            passes_until: rule.skip,
            rule,
            matched: 0,
            hits: 0,
        });
        Self {
            seed,
            rules: armed.collect(),
            reorder_limit: 0,
            spurious_after: 0,
        }
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What each rule has done.
    pub fn report(&self) -> Vec<RuleReport> {
        let rules = (1..).zip(&self.rules);
        let reports = rules.map(|(number, armed)| RuleReport {
            rule: number,
            act: armed.rule.act.name(),
            matched: armed.matched,
            hits: armed.hits,
            left: armed.rule.count.map(|count| count - armed.hits),
        });
        reports.collect()
    }

    /// How long a completion with [`Ending::Reordered`] is held back at most.
    pub fn reorder_limit(&self) -> Nanos {
        self.reorder_limit
    }

    /// How long after its completion the second interrupt of [`Ending::AnnouncedTwice`] comes.
    pub fn spurious_after(&self) -> Nanos {
        self.spurious_after
    }

    /// The verdict on a command that has arrived; `None` when no rule acts. Rules are asked in
    /// their order, and the first that acts decides. Requests for asynchronous events are never
    /// matched: they are meant to wait.
    pub fn verdict(&mut self, arrival: &Arrival<'_>) -> Option<Verdict> {
        let sqe = arrival.sqe;
        if arrival.queue == 0 && AdminOpcode(sqe.opcode) == AdminOpcode::ASYNC_EVENT_REQUEST {
            return None;
        }
        let seed = self.seed;
        for (number, armed) in (1..).zip(&mut self.rules) {
            if !armed.is_spent() && armed.rule.matches.has(arrival) {
                let mut draws = generator(mix(seed, number), &arrival.request());
                if armed.acts(&mut draws) {
                    let act = armed.rule.act;
                    let hits = armed.hits;
                    return Some(self.carry_out(act, sqe, hits, &mut draws));
                }
            }
        }
        None
    }

    fn carry_out(
        &mut self,
        act: Act,
        sqe: &SubmissionQueueEntry,
        hits: u64,
        draws: &mut Pcg64Mcg,
    ) -> Verdict {
        let ends = |ending| {
            Verdict::Execute(Execution {
                ending,
                ..Execution::NORMAL
            })
        };
        let with = |damage| {
            Verdict::Execute(Execution {
                damage,
                ..Execution::NORMAL
            })
        };
        match act {
            Act::Status(status) => Verdict::Refuse(status),
            Act::Delay(delay) => Verdict::Execute(Execution {
                delay,
                ..Execution::NORMAL
            }),
            Act::Drop => ends(Ending::Dropped),
            Act::Duplicate => ends(Ending::Duplicated),
            Act::WrongCid(change) => ends(Ending::WrongCid(change.apply(sqe.cid.get()))),
            Act::WrongPhase => ends(Ending::WrongPhase),
            Act::InterruptLost => ends(Ending::Unannounced),
            Act::InterruptSpurious { after } => {
                self.spurious_after = after;
                ends(Ending::AnnouncedTwice)
            }
            Act::Reorder { commands, at_most } => {
                self.reorder_limit = at_most;
                ends(Ending::Reordered(commands))
            }
            Act::Corrupt { bytes } => with(Damage::Corrupt(Corruption {
                bytes,
                seed: draws.next_u64(),
            })),
            Act::TornWrite { blocks } => with(Damage::Torn {
                blocks: blocks.unwrap_or_else(|| {
                    let most = u64::from(sqe.block_count() - 1);
                    u32::try_from(scale(draws.next_u64(), most)).unwrap_or(0)
                }),
            }),
            Act::SlowDoorbell(time) => Verdict::Unnoticed(time),
            Act::Fatal => Verdict::Controller(ControllerFault::Fatal),
            Act::Remove => Verdict::Controller(ControllerFault::Remove),
            Act::StuckCsts { lasts } => Verdict::Controller(ControllerFault::StuckCsts(lasts)),
            Act::PowerCut { seed } => {
                // Each cut of a rule has a seed of its own, the first one the seed that is named.
                let seed = seed.unwrap_or(self.seed).wrapping_add(hits - 1);
                Verdict::Controller(ControllerFault::PowerCut(seed))
            }
        }
    }
}

impl Armed {
    fn is_spent(&self) -> bool {
        self.rule.count == Some(self.hits)
    }

    /// Whether it acts on a command that it matches.
    fn acts(&mut self, draws: &mut Pcg64Mcg) -> bool {
        self.matched += 1;
        if self.matched <= self.passes_until {
            return false;
        }
        let drawn = draws.next_u64();
        let acts = self.rule.threshold.is_none_or(|below| drawn < below);
        if acts {
            self.hits += 1;
            self.passes_until = self.matched.saturating_add(self.rule.pause);
        }
        acts
    }
}

impl Match {
    fn has(&self, arrival: &Arrival<'_>) -> bool {
        let sqe = arrival.sqe;
        self.queues.iter().any(|queue| queue.has(arrival.queue))
            && (self.opcodes.is_empty() || self.opcodes.contains(&sqe.opcode))
            && self.nsid.is_none_or(|nsid| sqe.nsid == nsid)
            && self.lba.is_none_or(|range| arrival.overlaps(range))
    }
}

impl Arrival<'_> {
    /// Whether it is an I/O command on logical blocks of which some are from `first` to `last`.
    fn overlaps(&self, (first, last): (u64, u64)) -> bool {
        let start = self.sqe.slba();
        let end = start.saturating_add(u64::from(self.sqe.block_count() - 1));
        self.queue != 0 && has_lba(self.sqe.opcode) && start <= last && end >= first
    }

    fn request(&self) -> Request {
        Request {
            nsid: self.sqe.nsid.get(),
            queue: self.queue,
            queue_creation: self.creation,
            sequence: self.sequence,
            work: Work::Other,
            bytes: 0,
        }
    }
}

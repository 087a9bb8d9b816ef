// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A rule: what it matches, how often it acts, and what it does.

use crate::spec::Status;
use crate::timing::Nanos;

/// A rule, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub matches: Match,
    /// Matching commands that pass before the first one that it may act on.
    pub skip: u64,
    /// Matching commands that pass each time after it has acted.
    pub pause: u64,
    /// How often it acts; `None`: without end.
    pub count: Option<u64>,
    /// A draw below this acts, out of 2^64; `None`: always.
    pub threshold: Option<u64>,
    pub act: Act,
}

/// Which commands a rule is for. An empty list is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub queues: Vec<QueueChoice>,
    pub opcodes: Vec<u8>,
    pub nsid: Option<u32>,
    /// First and last logical block, both inclusive.
    pub lba: Option<(u64, u64)>,
}

/// A submission queue, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueChoice {
    /// Queue 0.
    Admin,
    /// Every I/O queue.
    Io,
    /// An I/O queue.
    One(u16),
}

impl QueueChoice {
    pub fn has(self, qid: u16) -> bool {
        match self {
            Self::Admin => qid == 0,
            Self::Io => qid != 0,
            Self::One(one) => qid == one,
        }
    }
}

/// What happens to a command that a rule acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Status(Status),
    Delay(Nanos),
    Drop,
    Duplicate,
    WrongCid(CidChange),
    WrongPhase,
    Corrupt { bytes: u32 },
    TornWrite { blocks: Option<u32> },
    Reorder { commands: u16, at_most: Nanos },
    StuckCsts { lasts: Option<Nanos> },
    Fatal,
    Remove,
    InterruptLost,
    InterruptSpurious { after: Nanos },
    SlowDoorbell(Nanos),
    PowerCut { seed: Option<u64> },
}

impl Act {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Delay(_) => "delay",
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::WrongCid(_) => "wrong-cid",
            Self::WrongPhase => "wrong-phase",
            Self::Corrupt { .. } => "corrupt",
            Self::TornWrite { .. } => "torn-write",
            Self::Reorder { .. } => "reorder",
            Self::StuckCsts { .. } => "stuck-csts",
            Self::Fatal => "fatal",
            Self::Remove => "remove",
            Self::InterruptLost => "interrupt-lost",
            Self::InterruptSpurious { .. } => "interrupt-spurious",
            Self::SlowDoorbell(_) => "slow-doorbell",
            Self::PowerCut { .. } => "power-cut",
        }
    }
}

/// The identifier of a completion that carries a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CidChange {
    /// This one.
    To(u16),
    /// The right one and so much, modulo 2^16.
    By(u16),
}

impl CidChange {
    pub fn apply(self, cid: u16) -> u16 {
        match self {
            Self::To(other) => other,
            Self::By(offset) => cid.wrapping_add(offset),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file as it is written, before its values are judged.

use serde::Deserialize;

use crate::timing::Nanos;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RulesFile {
    pub seed: u64,
    pub rule: Vec<RuleFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RuleFile {
    pub queue: Option<OneOrMore>,
    pub opcode: Option<OneOrMore>,
    pub nsid: Option<u32>,
    pub lba: Option<[u64; 2]>,
    pub skip: u64,
    pub pause: u64,
    pub count: Option<NumberOrName>,
    pub probability: Option<f64>,
    pub act: String,
    // From here on: keys that belong to some acts.
    pub status: Option<u64>,
    pub status_type: Option<u64>,
    pub status_code: Option<u64>,
    pub do_not_retry: Option<bool>,
    pub nanoseconds: Option<Nanos>,
    pub cid: Option<u16>,
    pub offset: Option<u16>,
    pub bytes: Option<u32>,
    pub blocks: Option<u32>,
    pub commands: Option<u16>,
    pub seed: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a number or a name in quotes, or a list of them"
)]
pub(super) enum OneOrMore {
    One(NumberOrName),
    More(Vec<NumberOrName>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a number that is not negative, or a name in quotes"
)]
pub(super) enum NumberOrName {
    Number(u64),
    Name(String),
}

impl OneOrMore {
    pub fn each(&self) -> &[NumberOrName] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

impl std::fmt::Display for NumberOrName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "\"{name}\""),
        }
    }
}

impl RuleFile {
    /// The keys of acts that are there.
    pub fn present(&self) -> impl Iterator<Item = &'static str> {
        [
            ("status", self.status.is_some()),
            ("status-type", self.status_type.is_some()),
            ("status-code", self.status_code.is_some()),
            ("do-not-retry", self.do_not_retry.is_some()),
            ("nanoseconds", self.nanoseconds.is_some()),
            ("cid", self.cid.is_some()),
            ("offset", self.offset.is_some()),
            ("bytes", self.bytes.is_some()),
            ("blocks", self.blocks.is_some()),
            ("commands", self.commands.is_some()),
            ("seed", self.seed.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, there)| there.then_some(key))
    }
}

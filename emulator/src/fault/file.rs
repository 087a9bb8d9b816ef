// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules as a file that a user can read and change: TOML, one `[[rule]]` after another.

use std::path::Path;

use super::keys::{NumberOrName, RuleFile, RulesFile};
use super::names::{has_lba, opcode};
use super::rule::{Act, CidChange, Match, QueueChoice, Rule};
use crate::spec::{NvmOpcode, Status};
use crate::timing::Nanos;

/// The most rules: each is asked on each command.
pub const MAX_RULES: usize = 256;

/// Longest time that a rule may name: an hour.
const LONGEST: Nanos = 3_600_000_000_000;
/// How long `reorder` holds a completion back at most, unless told.
const REORDER_AT_MOST: Nanos = 100_000_000;
/// How long after its completion the interrupt of `interrupt-spurious` comes, unless told.
const SPURIOUS_AFTER: Nanos = 100_000;
/// Do Not Retry in a status field (NVMe Base 2.0c, figure 93, without the phase tag).
const DO_NOT_RETRY: u16 = 1 << 14;

/// A file of rules, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub(super) seed: u64,
    pub(super) rules: Vec<Rule>,
}

/// Rules that cannot be used. The text names the file and the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The file cannot be read.
    #[error("{origin}: cannot be read: {message}")]
    Unreadable {
        /// The file.
        origin: String,
        /// The host's message.
        message: String,
    },
    /// The file is no file of rules.
    #[error("{origin}, line {line} (`{text}`): {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong.
        message: String,
    },
    /// A value is not possible.
    #[error("{origin}: rule {rule}: {key}: {message}")]
    Value {
        /// The file.
        origin: String,
        /// The rule's number, from 1.
        rule: usize,
        /// The key.
        key: &'static str,
        /// The value, and what is allowed.
        message: String,
    },
    /// There are too many.
    #[error("{origin}: {count} rules: there may be at most {MAX_RULES}")]
    TooMany {
        /// The file.
        origin: String,
        /// How many.
        count: usize,
    },
}

/// What is wrong with a key.
type Wrong = (&'static str, String);

impl Rules {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`FaultError`] when it cannot be read or is not valid.
    pub fn read(path: &Path) -> Result<Self, FaultError> {
        let origin = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &origin),
            Err(error) => Err(FaultError::Unreadable {
                origin,
                message: error.to_string(),
            }),
        }
    }

    /// Parses rules; `origin` is the file's name, for messages.
    ///
    /// # Errors
    /// [`FaultError`] with file, rule, key and what is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Self, FaultError> {
        let file: RulesFile =
            toml::from_str(text).map_err(|error| syntax_error(text, origin, &error))?;
        if file.rule.len() > MAX_RULES {
            return Err(FaultError::TooMany {
                origin: origin.into(),
                count: file.rule.len(),
            });
        }
        let rules = (1..).zip(&file.rule).map(|(number, rule)| {
            checked(rule).map_err(|(key, message)| FaultError::Value {
                origin: origin.into(),
                rule: number,
                key,
                message,
            })
        });
        Ok(Self {
            seed: file.seed,
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

fn syntax_error(text: &str, origin: &str, error: &toml::de::Error) -> FaultError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..start];
    let line = before.iter().filter(|&&byte| byte == b'\n').count();
    FaultError::Syntax {
        origin: origin.into(),
        line: line + 1,
        text: text.lines().nth(line).unwrap_or_default().trim().into(),
        message: error.message().replace('\n', " "),
    }
}

fn checked(file: &RuleFile) -> Result<Rule, Wrong> {
    let act = act(file)?;
    Ok(Rule {
        matches: matches(file, act)?,
        skip: file.skip,
        pause: file.pause,
        count: count(file.count.as_ref())?,
        threshold: threshold(file.probability)?,
        act,
    })
}

fn count(count: Option<&NumberOrName>) -> Result<Option<u64>, Wrong> {
    match count {
        None => Ok(Some(1)),
        Some(NumberOrName::Number(times @ 1..)) => Ok(Some(*times)),
        Some(NumberOrName::Name(name)) if name == "forever" => Ok(None),
        Some(other) => Err((
            "count",
            format!("{other} is neither a number from 1 nor \"forever\""),
        )),
    }
}

/// A probability as a threshold for 64 random bits.
fn threshold(probability: Option<f64>) -> Result<Option<u64>, Wrong> {
    match probability {
        None | Some(1.0) => Ok(None),
        Some(probability) if (0.0..1.0).contains(&probability) => {
            // Below 2^64, as the probability is below 1.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to below 2^64"
            )]
            let threshold = (probability * 2f64.powi(64)) as u64;
            Ok(Some(threshold))
        }
        Some(other) => Err(("probability", format!("{other} is not between 0.0 and 1.0"))),
    }
}

fn matches(file: &RuleFile, act: Act) -> Result<Match, Wrong> {
    let queues = queues(file)?;
    let mut opcodes = opcodes(file, &queues)?;
    let only = match act {
        Act::Corrupt { .. } => Some(("read", NvmOpcode::READ)),
        Act::TornWrite { .. } => Some(("write", NvmOpcode::WRITE)),
        _ => None,
    };
    let admin = queues.contains(&QueueChoice::Admin);
    if let Some((name, opcode)) = only {
        if admin {
            let message = format!(
                "{} is for I/O queues: leave the admin queue out",
                act.name()
            );
            return Err(("queue", message));
        }
        if opcodes.iter().any(|&other| other != opcode.0) {
            let message = format!("{} is for opcode = \"{name}\" alone", act.name());
            return Err(("opcode", message));
        }
        opcodes = vec![opcode.0];
    }
    let lba = file.lba.map(|[first, last]| (first, last));
    if let Some((first, last)) = lba {
        if first > last {
            let message = format!("[{first}, {last}] ends before it begins");
            return Err(("lba", message));
        }
        if admin || opcodes.iter().any(|&opcode| !has_lba(opcode)) {
            let message = "only read, write, compare, write-zeroes and verify have a range of \
                           logical blocks";
            return Err(("lba", message.into()));
        }
    }
    Ok(Match {
        queues,
        opcodes,
        nsid: file.nsid,
        lba,
    })
}

fn queues(file: &RuleFile) -> Result<Vec<QueueChoice>, Wrong> {
    let Some(wanted) = &file.queue else {
        return Ok(vec![QueueChoice::Io]);
    };
    let choice = |queue: &NumberOrName| match queue {
        NumberOrName::Number(0) => Ok(QueueChoice::Admin),
        NumberOrName::Number(number) => u16::try_from(*number)
            .map(QueueChoice::One)
            .map_err(|_| ("queue", format!("{number} is above 65535"))),
        NumberOrName::Name(name) if name == "admin" => Ok(QueueChoice::Admin),
        NumberOrName::Name(name) if name == "io" => Ok(QueueChoice::Io),
        NumberOrName::Name(name) => Err((
            "queue",
            format!("\"{name}\" is neither \"admin\" nor \"io\" nor a number"),
        )),
    };
    let queues: Vec<_> = wanted.each().iter().map(choice).collect::<Result<_, _>>()?;
    if queues.is_empty() {
        return Err((
            "queue",
            "the list is empty: leave the key out for all I/O queues".into(),
        ));
    }
    Ok(queues)
}

fn opcodes(file: &RuleFile, queues: &[QueueChoice]) -> Result<Vec<u8>, Wrong> {
    let Some(wanted) = &file.opcode else {
        return Ok(Vec::new());
    };
    let admin = queues.contains(&QueueChoice::Admin);
    if admin && queues.iter().any(|queue| *queue != QueueChoice::Admin) {
        let message = "the admin queue and I/O queues have different commands: make two rules";
        return Err(("opcode", message.into()));
    }
    let number = |wanted: &NumberOrName| match wanted {
        NumberOrName::Name(name) => opcode(name, admin).map_err(|message| ("opcode", message)),
        NumberOrName::Number(number) => {
            u8::try_from(*number).map_err(|_| ("opcode", format!("{number} is above 0xFF")))
        }
    };
    let opcodes: Vec<_> = wanted.each().iter().map(number).collect::<Result<_, _>>()?;
    if opcodes.is_empty() {
        return Err((
            "opcode",
            "the list is empty: leave the key out for any command".into(),
        ));
    }
    Ok(opcodes)
}

fn act(keys: &RuleFile) -> Result<Act, Wrong> {
    let (act, allowed): (Act, &[&str]) = match keys.act.as_str() {
        "status" => (
            Act::Status(status(keys)?),
            &["status", "status-type", "status-code", "do-not-retry"],
        ),
        "delay" => (Act::Delay(needed_time(keys)?), &["nanoseconds"]),
        "drop" => (Act::Drop, &[]),
        "duplicate" => (Act::Duplicate, &[]),
        "wrong-cid" => (Act::WrongCid(cid_change(keys)?), &["cid", "offset"]),
        "wrong-phase" => (Act::WrongPhase, &[]),
        "corrupt" => (
            Act::Corrupt {
                bytes: bytes(keys)?,
            },
            &["bytes"],
        ),
        "torn-write" => (
            Act::TornWrite {
                blocks: blocks(keys)?,
            },
            &["blocks"],
        ),
        "reorder" => (reorder(keys)?, &["commands", "nanoseconds"]),
        "stuck-csts" => (Act::StuckCsts { lasts: time(keys)? }, &["nanoseconds"]),
        "fatal" => (Act::Fatal, &[]),
        "remove" => (Act::Remove, &[]),
        "interrupt-lost" => (Act::InterruptLost, &[]),
        "interrupt-spurious" => {
            let after = time(keys)?.unwrap_or(SPURIOUS_AFTER);
            (Act::InterruptSpurious { after }, &["nanoseconds"])
        }
        "slow-doorbell" => (Act::SlowDoorbell(needed_time(keys)?), &["nanoseconds"]),
        "power-cut" => (Act::PowerCut { seed: keys.seed }, &["seed"]),
        other => return Err(("act", unknown_act(other))),
    };
    match keys.present().find(|key| !allowed.contains(key)) {
        Some(key) => Err((key, format!("means nothing for act = \"{}\"", keys.act))),
        None => Ok(act),
    }
}

fn unknown_act(act: &str) -> String {
    let known = "status, delay, drop, duplicate, wrong-cid, wrong-phase, corrupt, torn-write, \
                 reorder, stuck-csts, fatal, remove, interrupt-lost, interrupt-spurious, \
                 slow-doorbell, power-cut";
    if act.is_empty() {
        format!("it is missing; take one of {known}")
    } else {
        format!("\"{act}\" is none of {known}")
    }
}

/// `status`, or `status-type` and `status-code`; and `do-not-retry`.
fn status(keys: &RuleFile) -> Result<Status, Wrong> {
    let part = |key, value, most| match u16::try_from(value) {
        Ok(value) if value <= most => Ok(value),
        _ => Err((key, format!("{value:#x} is above {most:#x}"))),
    };
    let value = match (keys.status, keys.status_type, keys.status_code) {
        (Some(both), None, None) => part("status", both, 0x7FF)?,
        (None, kind, Some(code)) => {
            part("status-type", kind.unwrap_or(0), 7)? << 8 | part("status-code", code, 0xFF)?
        }
        (Some(_), _, _) => {
            let message = "stands beside status-type or status-code: take one way of the two";
            return Err(("status", message.into()));
        }
        (None, _, None) => {
            let message = "it is missing: give status-type and status-code, or status = 0xTCC";
            return Err(("status-code", message.into()));
        }
    };
    let retry = keys.do_not_retry.unwrap_or(false);
    Ok(Status(value | if retry { DO_NOT_RETRY } else { 0 }))
}

fn time(keys: &RuleFile) -> Result<Option<Nanos>, Wrong> {
    match keys.nanoseconds {
        None => Ok(None),
        Some(time @ 1..=LONGEST) => Ok(Some(time)),
        Some(other) => Err((
            "nanoseconds",
            format!("{other} is not between 1 and {LONGEST} (an hour)"),
        )),
    }
}

fn needed_time(keys: &RuleFile) -> Result<Nanos, Wrong> {
    time(keys)?.ok_or_else(|| ("nanoseconds", "it is missing".into()))
}

fn cid_change(keys: &RuleFile) -> Result<CidChange, Wrong> {
    match (keys.cid, keys.offset) {
        (Some(cid), None) => Ok(CidChange::To(cid)),
        (None, Some(0)) => Err(("offset", "0 would be the right identifier".into())),
        (None, offset) => Ok(CidChange::By(offset.unwrap_or(1))),
        (Some(_), Some(_)) => Err(("offset", "stands beside cid: take one of the two".into())),
    }
}

fn bytes(keys: &RuleFile) -> Result<u32, Wrong> {
    match keys.bytes.unwrap_or(1) {
        0 => Err(("bytes", "0 would change nothing".into())),
        bytes => Ok(bytes),
    }
}

fn blocks(keys: &RuleFile) -> Result<Option<u32>, Wrong> {
    match keys.blocks {
        Some(blocks @ 65536..) => Err(("blocks", format!("{blocks} is above 65535"))),
        blocks => Ok(blocks),
    }
}

fn reorder(keys: &RuleFile) -> Result<Act, Wrong> {
    let commands = match keys.commands.unwrap_or(1) {
        0 => return Err(("commands", "0 would hold nothing back".into())),
        commands => commands,
    };
    let at_most = time(keys)?.unwrap_or(REORDER_AT_MOST);
    Ok(Act::Reorder { commands, at_most })
}

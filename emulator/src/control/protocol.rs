// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said on the control socket.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::drive::PollerCounters;
use crate::fault::RuleReport;
use crate::observe::{Counters, ExitCounts, FaultCounters, Summary};
use crate::pci::NvmeFunction;
use crate::timing::Nanos;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Whether anybody is there.
    Ping {},
    /// What has been counted so far.
    Counters {},
    /// Another speed, for the commands that come from now on. At least one of the two.
    Profile {
        /// Name or path; if none, the profile in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        /// Values of it that are to be others: `{"read.time": "7us"}`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<String, String>,
    },
    /// What fault rules have done; with `rules` or `clear`, other rules from now on.
    Faults {
        /// The text of a file of rules, which take the place of those before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rules: Option<String>,
        /// No rules any more.
        #[serde(default)]
        clear: bool,
    },
}

/// The answer to one request.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The speed in force, when it was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The counters, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// The fault rules in force, when they were asked for or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultReport>,
}

impl Answer {
    /// Done, with nothing to tell.
    pub fn done() -> Self {
        Self {
            ok: true,
            error: None,
            profile: None,
            report: None,
            faults: None,
        }
    }

    /// Not done.
    pub fn refused(error: impl fmt::Display) -> Self {
        Self {
            ok: false,
            error: Some(error.to_string()),
            ..Self::done()
        }
    }
}

/// One queue's commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueReport {
    /// Queue identifier, 0 for the admin queue.
    pub queue: usize,
    /// How many commands of each opcode, those that never came left out. Opcodes from 0Fh on count
    /// as 0Fh.
    pub opcodes: Vec<(usize, u64)>,
    /// Commands completed without an interrupt.
    pub polled_commands: u64,
    /// Commands completed with an interrupt.
    pub irq_commands: u64,
    /// Interrupts raised.
    pub interrupts: u64,
    /// Doorbell writes that trapped.
    pub doorbell_traps: u64,
    /// Commands that failed.
    pub errors: u64,
}

/// Fault rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// How many rules are in force.
    pub loaded: usize,
    /// What rules have done since the device began, those before these included.
    #[serde(flatten)]
    pub total: FaultCounters,
    /// What each rule in force has done.
    pub rules: Vec<RuleReport>,
}

impl FaultReport {
    /// The state at this moment.
    pub fn of(function: &NvmeFunction) -> Self {
        let engine = function.engine();
        let rules = engine.fault_rules();
        Self {
            loaded: rules.len(),
            total: engine.counters().faults,
            rules,
        }
    }

    /// Whether there is nothing to tell.
    fn is_empty(&self) -> bool {
        self.loaded == 0 && self.total == FaultCounters::default()
    }
}

/// What the device and its poller have counted.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The speed in force.
    pub profile: String,
    /// All I/O queues together.
    pub total: Summary,
    /// Each queue that was used.
    pub queues: Vec<QueueReport>,
    /// The poller's own figures.
    pub poller: PollerCounters,
    /// The guest's exits by reason and place, if somebody counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitCounts>,
    /// Guest exits and ioeventfd signals for each I/O command, once there are both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exits_per_io: Option<f64>,
    /// Fault rules, if there are any or have been any that acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultReport>,
}

impl Report {
    /// The figures at this moment.
    pub fn of(function: &NvmeFunction, poller: &PollerCounters) -> Self {
        let engine = function.engine();
        let counters = engine.counters();
        let total = counters.summary();
        Self {
            profile: engine.profile().name().into(),
            total,
            queues: queue_reports(counters),
            poller: *poller,
            exits: counters.exit_counts(),
            exits_per_io: total.exits_per_io(),
            faults: Some(FaultReport::of(function)).filter(|faults| !faults.is_empty()),
        }
    }
}

fn queue_reports(counters: &Counters) -> Vec<QueueReport> {
    counters
        .queues()
        .iter()
        .enumerate()
        .filter(|(_, queue)| queue.opcodes.iter().any(|&count| count > 0))
        .map(|(number, queue)| QueueReport {
            queue: number,
            opcodes: queue
                .opcodes
                .iter()
                .copied()
                .enumerate()
                .filter(|&(_, count)| count > 0)
                .collect(),
            polled_commands: queue.polled,
            irq_commands: queue.interrupted,
            interrupts: queue.interrupts,
            doorbell_traps: queue.sq_doorbell_traps + queue.cq_doorbell_traps,
            errors: queue.errors,
        })
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "profile: {}", self.profile)?;
        writeln!(f, "I/O queues: {}", self.total)?;
        for queue in &self.queues {
            write!(f, "queue {}:", queue.queue)?;
            for (opcode, count) in &queue.opcodes {
                write!(f, " {opcode:02X}h={count}")?;
            }
            writeln!(
                f,
                "; {} polled, {} by interrupt ({} interrupts), {} doorbell traps, {} errors",
                queue.polled_commands,
                queue.irq_commands,
                queue.interrupts,
                queue.doorbell_traps,
                queue.errors
            )?;
        }
        let longest: Nanos = self.poller.longest_gap_ns;
        write!(
            f,
            "poller: {} turns, {} sleeps, {} clock gaps (longest {longest} ns)",
            self.poller.turns, self.poller.sleeps, self.poller.clock_gaps
        )?;
        if let Some(faults) = &self.faults {
            write!(f, "\n{faults}")?;
        }
        match &self.exits {
            Some(exits) => write!(f, "\n{exits}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FaultCounters { acted, power_cuts } = self.total;
        write!(
            f,
            "faults: {} rules, {acted} commands acted on, {power_cuts} power cuts",
            self.loaded
        )?;
        for rule in &self.rules {
            write!(
                f,
                "\nrule {} ({}): {} hits of {} matching commands",
                rule.rule, rule.act, rule.hits, rule.matched
            )?;
        }
        Ok(())
    }
}

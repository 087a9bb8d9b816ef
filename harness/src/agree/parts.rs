// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the mean time of an I/O went.

use emulator::observe::TraceRecord;
use serde::Serialize;

use super::Side;
use crate::model::Outcome;
use crate::sweep::fio::FioResult;
use crate::sweep::trace::due;

/// Parts of the mean time of a cell's I/Os, in nanoseconds. They add up to it: what nobody knows is
/// `None` here, and in `waiting_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Parts {
    /// From the beginning until io_submit() has returned: fio's slat.
    pub submission_ns: f64,
    /// From the fetch until the command is due: the device's queues and its service.
    pub device_ns: Option<f64>,
    /// From then until the completion is posted: what the device's host makes it late.
    pub late_ns: Option<f64>,
    /// From then until the guest looks at the completion queue.
    pub completion_ns: Option<f64>,
    /// What is left: from then until fio has it, less what the device did before io_submit() had
    /// returned. Below 0 where that is more.
    pub waiting_ns: f64,
}

/// How the mean time of an I/O differs between two sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// How many times as long it takes.
    pub times: f64,
    /// How much longer, in nanoseconds. The parts add up to it.
    pub mean_ns: f64,
    /// The largest first.
    pub parts: Vec<PartDifference>,
    /// How much more of it the slowest hundredth of the I/Os make, in nanoseconds.
    pub slowest_ns: f64,
}

/// How a part differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartDifference {
    /// Its name; of several, where a side does not tell them apart.
    pub part: String,
    /// How much longer it takes, in nanoseconds.
    pub ns: f64,
}

impl Parts {
    /// Of the I/Os that were simulated. The device is never late there.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times and counts are far below 2^53"
    )]
    pub fn of_model(outcome: &Outcome) -> Self {
        let lives = &outcome.lives;
        let mean = |sum: u64| sum as f64 / outcome.ios.max(1) as f64;
        Self {
            submission_ns: mean(lives.submission),
            device_ns: Some(mean(lives.device)),
            late_ns: Some(0.0),
            completion_ns: Some(mean(lives.completion)),
            waiting_ns: mean(lives.taking) - mean(lives.overlap),
        }
    }

    /// Of a cell, by fio and by the device's trace of the same I/Os, if there is one.
    pub fn of_guest(fio: &FioResult, commands: Option<&[TraceRecord]>) -> Self {
        let of =
            |from: fn(&TraceRecord) -> u64, to: fn(&TraceRecord) -> u64| mean(commands?, from, to);
        let mut parts = Self {
            submission_ns: fio.submit_mean_ns,
            device_ns: of(|command| command.fetched.get(), due),
            late_ns: of(due, |command| command.completed.get()),
            completion_ns: of(
                |command| command.completed.get(),
                |command| command.reaped.get(),
            ),
            waiting_ns: 0.0,
        };
        let whole = fio.submit_mean_ns + fio.completion_mean_ns;
        parts.waiting_ns = whole - parts.total_ns();
        parts
    }

    /// All together.
    pub fn total_ns(&self) -> f64 {
        self.known()
            .iter()
            .filter_map(|(_, part)| *part)
            .sum::<f64>()
            + self.waiting_ns
    }

    /// Names and times of all parts but the one that takes what the others leave.
    fn known(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("submission", Some(self.submission_ns)),
            ("device", self.device_ns),
            ("late", self.late_ns),
            ("completion", self.completion_ns),
        ]
    }
}

/// The mean time of an I/O between two moments; `None` where one of them is not known of each command.
#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts are far below 2^53"
)]
fn mean(
    commands: &[TraceRecord],
    from: fn(&TraceRecord) -> u64,
    to: fn(&TraceRecord) -> u64,
) -> Option<f64> {
    let (mut sum, mut ios) = (0, 0);
    for (command, carried) in with_ios(commands) {
        match (from(command), to(command)) {
            (0, _) | (_, 0) => return None,
            (from, to) => sum += to.saturating_sub(from) * carried,
        }
        ios += carried;
    }
    (ios > 0).then(|| sum as f64 / ios as f64)
}

/// Commands, and how many I/Os each carries: all I/Os of a cell have one size, and the block layer now
/// and then makes one command of two neighbours.
pub fn with_ios(commands: &[TraceRecord]) -> impl Iterator<Item = (&TraceRecord, u64)> {
    let bytes = |command: &TraceRecord| command.bytes.get();
    let least = commands.iter().map(bytes).min().unwrap_or(0);
    let carried = move |command| u64::from((bytes(command) / least.max(1)).max(1));
    commands
        .iter()
        .map(move |command| (command, carried(command)))
}

impl Difference {
    /// How `side` differs from `base`. Parts that one of them does not know are told together with
    /// the waiting, in which they are.
    pub fn between(side: &Side, base: &Side) -> Self {
        let mut parts = Vec::new();
        let mut together = Vec::new();
        let mut rest = side.parts.waiting_ns - base.parts.waiting_ns;
        for ((name, here), (_, there)) in side.parts.known().into_iter().zip(base.parts.known()) {
            match (here, there) {
                (Some(here), Some(there)) => parts.push(PartDifference {
                    part: name.to_owned(),
                    ns: here - there,
                }),
                (here, there) => {
                    rest += here.unwrap_or(0.0) - there.unwrap_or(0.0);
                    together.push(name);
                }
            }
        }
        together.push("waiting");
        parts.push(PartDifference {
            part: together.join(" and "),
            ns: rest,
        });
        parts.sort_by(|a, b| b.ns.abs().total_cmp(&a.ns.abs()));
        Self {
            times: side.mean_ns / base.mean_ns,
            mean_ns: side.mean_ns - base.mean_ns,
            parts,
            slowest_ns: side.slowest_ns - base.slowest_ns,
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a guest's run went, for people and programs.

use std::fmt;
use std::time::Duration;

use super::layout::{
    Counts, EXIT_BAD_PARAMETERS, EXIT_DONE, Results, VERDICT_FAIL, VERDICT_PANIC, VERDICT_PASS,
    VERDICT_UNUSED, latency_of_bucket,
};
use super::scenario::{Doorbells, Scenario};
use crate::drive::PollerCounters;
use crate::frontend::kvm::Ending;
use crate::observe::{Counters, ExitCounts, ExitTotals};
use crate::reference::{WINDOW, Windows};

/// A check that did not hold, or a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    /// What was checked.
    pub message: String,
    /// Source file of the check, relative to `micro-guest/`.
    pub file: String,
    /// Its line.
    pub line: u64,
    /// What was wanted.
    pub expected: u64,
    /// What there was.
    pub seen: u64,
    /// More, as the message says.
    pub detail: u64,
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at micro-guest/{}:{}: expected {:#x}, seen {:#x}, detail {:#x}",
            self.message, self.file, self.line, self.expected, self.seen, self.detail
        )
    }
}

/// What a vCPU says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has not come to an end.
    Unfinished,
    /// Every check held.
    Pass,
    /// This one did not.
    Fail(CheckFailure),
    /// The program panicked.
    Panic(CheckFailure),
    /// It had nothing to do.
    Unused,
}

impl Verdict {
    pub(super) fn of(results: &Results) -> Self {
        match results.verdict {
            VERDICT_PASS => Self::Pass,
            VERDICT_FAIL => Self::Fail(failure(results)),
            VERDICT_PANIC => Self::Panic(failure(results)),
            VERDICT_UNUSED => Self::Unused,
            _ => Self::Unfinished,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished => f.write_str("did not come to an end"),
            Self::Pass => f.write_str("passed"),
            Self::Fail(failure) => failure.fmt(f),
            Self::Panic(failure) => write!(
                f,
                "panicked at micro-guest/{}:{}: {}",
                failure.file, failure.line, failure.message
            ),
            Self::Unused => f.write_str("had nothing to do"),
        }
    }
}

fn failure(results: &Results) -> CheckFailure {
    CheckFailure {
        message: text(results.message.as_flattened(), results.message_length),
        file: text(results.file.as_flattened(), results.file_length),
        line: results.line,
        expected: results.expected,
        seen: results.seen,
        detail: results.detail,
    }
}

/// A text as the guest wrote it. The length is the guest's and may be anything.
fn text(bytes: &[u8], length: u64) -> String {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    String::from_utf8_lossy(&bytes[..length.min(bytes.len())]).into_owned()
}

/// A vCPU's measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Commands.
    pub commands: u64,
    /// How long they took.
    pub elapsed: Duration,
    /// Median time from making a command to seeing its completion, in nanoseconds.
    pub latency_p50_ns: f64,
    /// How long each thousand commands took.
    pub windows: Windows,
}

impl Measured {
    /// From what the guest noted, with the length of a tick in nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn new(
        results: &Results,
        latencies: &[u64],
        windows: &[u32],
        tick_ns: f64,
    ) -> Option<Self> {
        let nanos = |ticks: u64| {
            let seconds = ticks as f64 * tick_ns / 1e9;
            Duration::try_from_secs_f64(seconds).unwrap_or_default()
        };
        let median = median(latencies)?;
        Some(Self {
            commands: results.counts.commands,
            elapsed: nanos(results.end_ticks.wrapping_sub(results.start_ticks)),
            latency_p50_ns: median as f64 * tick_ns,
            windows: windows.iter().map(|&ticks| nanos(ticks.into())).collect(),
        })
    }

    /// Commands a second over all of the time.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn mean_rate(&self) -> f64 {
        self.commands as f64 / self.elapsed.as_secs_f64()
    }

    /// Commands a second in the quietest tenth of the windows; over all of the time when there are
    /// no windows.
    pub fn rate(&mut self) -> f64 {
        match self.windows.nanos_each() {
            Some(nanos) => 1e9 / nanos,
            None => self.mean_rate(),
        }
    }
}

const _: () = assert!(WINDOW == super::layout::WINDOW_COMMANDS);

/// The median of a histogram of ticks.
fn median(latencies: &[u64]) -> Option<u64> {
    let total: u64 = latencies.iter().sum();
    let mut below = 0;
    (0..).zip(latencies).find_map(|(bucket, &count)| {
        below += count;
        (count > 0 && 2 * below >= total).then(|| latency_of_bucket(bucket))
    })
}

/// What a vCPU left.
#[derive(Clone, Debug)]
pub struct VcpuReport {
    /// What it says.
    pub verdict: Verdict,
    /// What it did.
    pub counts: Counts,
    /// Its measurement, if the scenario is one.
    pub measured: Option<Measured>,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the guest was to do.
    pub scenario: Scenario,
    /// How it rang.
    pub doorbells: Doorbells,
    /// How it ended.
    pub ending: Ending,
    /// The vCPUs, in order.
    pub vcpus: Vec<VcpuReport>,
    /// Exits of the whole run.
    pub exits: ExitCounts,
    /// Exits while a measurement lasted.
    pub measured_exits: Option<ExitTotals>,
    /// How long the guest ran.
    pub elapsed: Duration,
    /// What the device counted.
    pub device: Counters,
    /// What its poller counted.
    pub poller: PollerCounters,
}

impl Report {
    /// What vCPU 0 did.
    pub fn counts(&self) -> Counts {
        self.vcpus
            .first()
            .map(|vcpu| vcpu.counts)
            .unwrap_or_default()
    }

    /// Why the run did not go as the scenario must, in a few lines; `None`: it did.
    ///
    /// A guest that spins has to be stopped, one that faults has to be found out. All others have
    /// to end by themselves, with every check held.
    pub fn failure(&self) -> Option<String> {
        let wanted = match self.scenario {
            Scenario::Spin => Ending::Stopped,
            Scenario::TripleFault => Ending::TripleFault,
            _ => Ending::Exit(EXIT_DONE),
        };
        let ended = self.ending == wanted;
        let passes = match wanted {
            Ending::Exit(_) => self.vcpus.iter().all(|vcpu| vcpu.verdict == Verdict::Pass),
            _ => true,
        };
        if ended && passes {
            return None;
        }
        let mut text = format!(
            "micro-guest, scenario {}, doorbells {}, after {:.1} s:\n",
            self.scenario,
            self.doorbells,
            self.elapsed.as_secs_f64()
        );
        if !ended {
            text += &format!("  the guest ended with {}\n", describe(&self.ending));
        }
        for (index, vcpu) in self.vcpus.iter().enumerate() {
            text += &format!("  vCPU {index}: {}\n", vcpu.verdict);
        }
        Some(text)
    }
}

fn describe(ending: &Ending) -> String {
    match ending {
        Ending::Exit(EXIT_BAD_PARAMETERS) => {
            "a parameter page of another layout: build host and guest from one source".into()
        }
        Ending::Exit(code) => format!("exit code {code}"),
        Ending::Stopped => "its time over: it was stopped".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::kvm::micro::layout::{LATENCY_BUCKETS, latency_bucket};

    #[test]
    fn latency_bucket_counts_what_it_says() {
        for ticks in (0..100_000).chain([1 << 20, (1 << 30) + 12345]) {
            let bucket = latency_bucket(ticks);
            assert!(latency_of_bucket(bucket) <= ticks, "{ticks}");
            assert!(latency_of_bucket(bucket + 1) > ticks, "{ticks}");
        }
        assert_eq!(latency_bucket(u64::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn median_is_the_middle_one() {
        let mut latencies = vec![0; 200];
        assert_eq!(median(&latencies), None);
        latencies[10] = 4;
        latencies[50] = 4;
        latencies[150] = 1;
        assert_eq!(median(&latencies), Some(50));
    }

    #[test]
    fn text_longer_than_its_room_is_cut() {
        assert_eq!(text(b"abcd", u64::MAX), "abcd");
        assert_eq!(text(b"abcd", 2), "ab");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a check has passed.

use super::definition::{Check, Expectation};
use crate::machine::JobRecord;
use crate::sweep::{counters_between, fio};

/// Where a check's fio writes its `json+` output, for the number of its I/Os.
pub const FIO_OUTPUT: &str = "/tmp/fio.json";

/// A check's end: what speaks against it, and what is worth telling in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Empty when it has passed.
    pub complaints: Vec<String>,
    /// Figures.
    pub notes: Vec<String>,
    /// Why it was not run, if it was not.
    pub skipped: Option<String>,
}

impl Verdict {
    /// Whether the check was run and nothing speaks against it.
    pub fn passed(&self) -> bool {
        self.complaints.is_empty() && self.skipped.is_none()
    }

    /// A check that failed for one reason.
    pub fn failed(complaint: impl Into<String>) -> Self {
        Self {
            complaints: vec![complaint.into()],
            ..Self::default()
        }
    }

    /// A check that was not run.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self {
            skipped: Some(reason.into()),
            ..Self::default()
        }
    }
}

/// Compares what a check's script did with what was expected.
pub fn judge(check: &Check, record: &JobRecord) -> Verdict {
    let mut verdict = Verdict::default();
    let output = String::from_utf8_lossy(&record.stdout);
    let errors = String::from_utf8_lossy(&record.stderr);
    let fio = record
        .files
        .get(FIO_OUTPUT)
        .map(|bytes| String::from_utf8_lossy(bytes));
    judge_exit(&check.expect, record, &mut verdict);
    for wanted in &check.expect.output {
        let texts = [Some(&output), Some(&errors), fio.as_ref()];
        if !texts
            .into_iter()
            .flatten()
            .any(|text| text.contains(wanted))
        {
            verdict
                .complaints
                .push(format!("{wanted:?} is not in its output"));
        }
    }
    judge_counters(check, record, fio.as_deref(), &mut verdict);
    if !verdict.passed() {
        let said = output.lines().chain(errors.lines());
        let tail: Vec<_> = said.map(|line| format!("  {line}")).collect();
        let from = tail.len().saturating_sub(TAIL_LINES);
        verdict.complaints.extend_from_slice(&tail[from..]);
    }
    verdict
}

/// How much of a failed script's output is shown.
const TAIL_LINES: usize = 25;

fn judge_exit(expect: &Expectation, record: &JobRecord, verdict: &mut Verdict) {
    use hipri_agent::Outcome;
    let complaint = match &record.outcome {
        Some(Outcome::Exited { code }) if expect.fails && *code != 0 => return,
        Some(Outcome::Exited { code }) if !expect.fails && *code == expect.exit => return,
        Some(Outcome::Exited { code }) if expect.fails => {
            format!("exit code {code}, not a failure")
        }
        Some(Outcome::Exited { code }) => format!("exit code {code}, not {}", expect.exit),
        Some(Outcome::Signaled { signal }) => format!("ended by signal {signal}"),
        Some(Outcome::TimedOut) => "took too long".to_owned(),
        Some(Outcome::NotStarted { error }) => format!("was not started: {error}"),
        None => "did not end".to_owned(),
    };
    verdict.complaints.push(complaint);
}

fn judge_counters(check: &Check, record: &JobRecord, fio: Option<&str>, verdict: &mut Verdict) {
    let Some(rule) = check.expect.counters else {
        return;
    };
    let counted = match counters_between(record) {
        Ok(counted) => counted,
        Err(error) => return verdict.complaints.push(format!("{error:#}")),
    };
    let ios = match fio.map(fio::parse) {
        Some(Ok(result)) => result.total_ios,
        Some(Err(error)) => return verdict.complaints.push(format!("{error:#}")),
        None => return verdict.complaints.push(format!("fio left no {FIO_OUTPUT}")),
    };
    verdict.notes.push(format!(
        "{ios} I/Os: {} commands polled, {} by interrupt",
        counted.polled_commands, counted.irq_commands
    ));
    if counted.polled_commands < ios {
        verdict.complaints.push(format!(
            "only {} of {ios} I/Os were polled",
            counted.polled_commands
        ));
    }
    if counted.irq_commands > rule.polled_besides {
        verdict.complaints.push(format!(
            "{} commands completed by interrupt, at most {} expected",
            counted.irq_commands, rule.polled_besides
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hipri_agent::Outcome;

    fn check(expect: &str) -> Check {
        toml::from_str(&format!(
            "name = \"x\"\nkernel = \"patched\"\nrun = \"true\"\n[expect]\n{expect}"
        ))
        .unwrap()
    }

    fn record(code: i32, stdout: &str) -> JobRecord {
        JobRecord {
            outcome: Some(Outcome::Exited { code }),
            stdout: stdout.as_bytes().to_vec(),
            ..JobRecord::default()
        }
    }

    #[test]
    fn judge_expected_exit_and_output_passes() {
        let verdict = judge(
            &check("output = [\"io_poll 1\"]"),
            &record(0, "io_poll 1\n"),
        );
        assert!(verdict.passed(), "{verdict:?}");
    }

    #[test]
    fn judge_missing_output_fails_and_shows_what_was_said() {
        let verdict = judge(
            &check("output = [\"io_poll 1\"]"),
            &record(0, "io_poll 0\n"),
        );
        assert!(!verdict.passed());
        assert!(verdict.complaints.contains(&"  io_poll 0".to_owned()));
    }

    #[test]
    fn judge_success_where_failure_is_expected_fails() {
        assert!(!judge(&check("fails = true"), &record(0, "")).passed());
        assert!(judge(&check("fails = true"), &record(95, "")).passed());
    }

    #[test]
    fn judge_counters_without_page_fails() {
        let verdict = judge(&check("counters = { polled-besides = 0 }"), &record(0, ""));
        assert!(!verdict.passed());
    }

    #[test]
    fn judge_job_that_did_not_end_fails() {
        assert!(!judge(&check(""), &JobRecord::default()).passed());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a check has passed.

use std::time::Duration;

use hipri_agent::Outcome;

use super::definition::Check;
use super::expectation::Expectation;
use super::verdict::{Status, Verdict};
use super::{guest_ktap, kernel_log};
use crate::machine::JobRecord;
use crate::sweep::{counters_between, fio};

/// Where a check's fio writes its `json+` output, for the number of its I/Os.
pub const FIO_OUTPUT: &str = "/tmp/fio.json";

/// How much of a failed script's output is shown.
const TAIL_LINES: usize = 25;

/// Compares what a check's script did, and what the kernel said meanwhile, with what was expected.
pub fn judge(check: &Check, record: &JobRecord, kernel_said: &str) -> Verdict {
    let mut verdict = Verdict {
        took: Duration::from_nanos(record.duration_ns),
        ..Verdict::default()
    };
    let output = String::from_utf8_lossy(&record.stdout);
    let errors = String::from_utf8_lossy(&record.stderr);
    let fio = record
        .files
        .get(FIO_OUTPUT)
        .map(|bytes| String::from_utf8_lossy(bytes));
    judge_exit(&check.expect, record, &mut verdict);
    if let Some(line) = errors.lines().find(|line| is_not_found(line)) {
        verdict.complain(format!("a command is not there: {line}"));
    }
    let texts: Vec<&str> = [Some(&output), Some(&errors), fio.as_ref()]
        .into_iter()
        .flatten()
        .map(AsRef::as_ref)
        .collect();
    judge_texts(&check.expect, &texts, kernel_said, &mut verdict);
    judge_document(&check.expect, &output, &mut verdict);
    judge_counters(check, record, fio.as_deref(), &mut verdict);
    if verdict.status.is_bad() {
        let said = output.lines().chain(errors.lines());
        let tail: Vec<_> = said.map(|line| format!("  {line}")).collect();
        let from = tail.len().saturating_sub(TAIL_LINES);
        verdict.complaints.extend_from_slice(&tail[from..]);
    }
    verdict
}

/// What the guest's shell says of a program that is not there.
fn is_not_found(line: &str) -> bool {
    let words: Vec<_> = line.split(": ").collect();
    matches!(words[..], [shell, number, .., "not found"]
        if shell.ends_with("sh") && number.parse::<u32>().is_ok())
}

fn judge_exit(expect: &Expectation, record: &JobRecord, verdict: &mut Verdict) {
    let complaint = match &record.outcome {
        // What a shell says of a program that it cannot execute is no failure of that program.
        Some(Outcome::Exited { code: 126 | 127 }) if expect.fails => {
            "its last command is not there or cannot be executed".to_owned()
        }
        Some(Outcome::Exited { code }) if expect.fails && *code != 0 => return,
        Some(Outcome::Exited { code }) if !expect.fails && *code == expect.exit => return,
        Some(Outcome::Exited { code }) if expect.fails => {
            format!("exit code {code}, not a failure")
        }
        Some(Outcome::Exited { code }) => format!("exit code {code}, not {}", expect.exit),
        Some(Outcome::Signaled { signal }) => format!("ended by signal {signal}"),
        Some(Outcome::TimedOut) => {
            verdict.status = Status::TimedOut;
            "took too long; the kernel's log shows what each task waited for".to_owned()
        }
        Some(Outcome::NotStarted { error }) => format!("was not started: {error}"),
        None => "did not end".to_owned(),
    };
    verdict.complain(complaint);
}

fn judge_texts(expect: &Expectation, texts: &[&str], kernel_said: &str, verdict: &mut Verdict) {
    for wanted in &expect.output {
        if !texts.iter().any(|text| text.contains(wanted)) {
            verdict.complain(format!("{wanted:?} is not in its output"));
        }
    }
    for unwanted in &expect.absent {
        if texts.iter().any(|text| text.contains(unwanted)) {
            verdict.complain(format!("{unwanted:?} is in its output"));
        }
    }
    for wanted in &expect.kernel_log {
        if !kernel_said.contains(wanted) {
            verdict.complain(format!("{wanted:?} is not in the kernel's log"));
        }
    }
    if !expect.complaints
        && let Some(line) = kernel_log::complaint(kernel_said)
    {
        verdict.complain(format!("the kernel complained: {line}"));
    }
}

fn judge_document(expect: &Expectation, output: &str, verdict: &mut Verdict) {
    let Some(least) = expect.ktap else { return };
    let (results, mistakes) = guest_ktap::parse(output);
    for mistake in mistakes {
        verdict.complain(mistake);
    }
    if results.len() < least {
        verdict.complain(format!("{} results, not {least} or more", results.len()));
    }
    let bad = results.iter().filter(|result| result.status.is_bad());
    let bad: Vec<_> = bad.map(|result| result.name.as_str()).collect();
    if !bad.is_empty() {
        verdict.complain(format!("{} failed: {}", bad.len(), bad.join(", ")));
    }
    let may_skip = |name: &str| expect.may_skip.iter().any(|may| may == name);
    for result in &results {
        if result.status == Status::Skipped && !may_skip(&result.name) {
            let why = result.said.join("; ");
            verdict.complain(format!("{} may not be skipped ({why})", result.name));
        }
    }
    for name in &expect.may_skip {
        if !results.iter().any(|result| result.name == *name) {
            verdict.complain(format!(
                "expect.may-skip names {name}, which does not exist"
            ));
        }
    }
    verdict.subtests = results;
}

fn judge_counters(check: &Check, record: &JobRecord, fio: Option<&str>, verdict: &mut Verdict) {
    let Some(rule) = check.expect.counters else {
        return;
    };
    let counted = match counters_between(record) {
        Ok(counted) => counted,
        Err(error) => return verdict.complain(format!("{error:#}")),
    };
    let ios = match fio.map(fio::parse) {
        Some(Ok(result)) => result.total_ios,
        Some(Err(error)) => return verdict.complain(format!("{error:#}")),
        None => return verdict.complain(format!("fio left no {FIO_OUTPUT}")),
    };
    verdict.notes.push(format!(
        "{ios} I/Os: {} commands polled, {} by interrupt",
        counted.polled_commands, counted.irq_commands
    ));
    if counted.polled_commands < ios {
        verdict.complain(format!(
            "only {} of {ios} I/Os were polled",
            counted.polled_commands
        ));
    }
    if counted.irq_commands > rule.polled_besides {
        verdict.complain(format!(
            "{} commands completed by interrupt, at most {} expected",
            counted.irq_commands, rule.polled_besides
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn status(expect: &str, record: &JobRecord, kernel_said: &str) -> Status {
        judge(&check(expect), record, kernel_said).status
    }

    #[test]
    fn judge_expected_exit_and_output_passes() {
        let verdict = judge(
            &check("output = [\"io_poll 1\"]\nabsent = [\"io_poll 0\"]"),
            &record(0, "io_poll 1\n"),
            "",
        );
        assert!(verdict.passed(), "{verdict:?}");
    }

    #[test]
    fn judge_missing_output_fails_and_shows_what_was_said() {
        let verdict = judge(
            &check("output = [\"io_poll 1\"]"),
            &record(0, "io_poll 0\n"),
            "",
        );
        assert_eq!(verdict.status, Status::Failed);
        assert!(verdict.complaints.contains(&"  io_poll 0".to_owned()));
    }

    #[test]
    fn judge_output_that_must_not_be_there_fails() {
        let record = record(0, "io_poll 0\n");
        assert_eq!(
            status("absent = [\"io_poll 0\"]", &record, ""),
            Status::Failed
        );
    }

    #[test]
    fn judge_success_where_failure_is_expected_fails() {
        assert_eq!(status("fails = true", &record(0, ""), ""), Status::Failed);
        assert_eq!(status("fails = true", &record(95, ""), ""), Status::Passed);
    }

    #[test]
    fn judge_command_that_is_not_there_fails_even_where_failure_is_expected() {
        assert_eq!(status("fails = true", &record(127, ""), ""), Status::Failed);
        let mut missing = record(0, "");
        missing.stderr = b"/bin/sh: 2: nvmee: not found\n".to_vec();
        assert_eq!(status("", &missing, ""), Status::Failed);
        missing.stderr = b"mount: device not found\n".to_vec();
        assert_eq!(status("", &missing, ""), Status::Passed);
    }

    #[test]
    fn judge_kernel_that_complains_fails_unless_told() {
        let said = "[ 1.0] BUG: KASAN: slab-use-after-free\n";
        assert_eq!(status("", &record(0, ""), said), Status::Failed);
        assert_eq!(
            status("complaints = true", &record(0, ""), said),
            Status::Passed
        );
        assert_eq!(
            status("kernel-log = [\"KASAN\"]", &record(0, ""), ""),
            Status::Failed
        );
    }

    #[test]
    fn judge_document_with_failure_unnamed_skip_or_too_few_results_fails() {
        let good = "KTAP version 1\n1..2\nok 1 a\nok 2 b # SKIP no device\n";
        assert_eq!(
            status("ktap = 2\nmay-skip = [\"b\"]", &record(0, good), ""),
            Status::Passed
        );
        assert_eq!(status("ktap = 2", &record(0, good), ""), Status::Failed);
        assert_eq!(
            status("ktap = 3\nmay-skip = [\"b\"]", &record(0, good), ""),
            Status::Failed
        );
        let stale = "ktap = 2\nmay-skip = [\"b\", \"gone\"]";
        assert_eq!(status(stale, &record(0, good), ""), Status::Failed);
        let bad = "KTAP version 1\n1..1\nnot ok 1 a\n";
        assert_eq!(status("ktap = 1", &record(0, bad), ""), Status::Failed);
    }

    #[test]
    fn judge_counters_without_page_fails() {
        let rule = "counters = { polled-besides = 0 }";
        assert_eq!(status(rule, &record(0, ""), ""), Status::Failed);
    }

    #[test]
    fn judge_job_that_did_not_end_or_took_too_long_fails() {
        assert_eq!(status("", &JobRecord::default(), ""), Status::Failed);
        let late = JobRecord {
            outcome: Some(Outcome::TimedOut),
            ..JobRecord::default()
        };
        assert_eq!(status("", &late, ""), Status::TimedOut);
    }
}

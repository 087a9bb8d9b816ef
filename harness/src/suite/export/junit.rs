// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For CI systems: JUnit's XML. A check is a test case; the results of a document of its own are test
//! cases of a class that is called like the check.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::Exporter;
use crate::suite::run::Result;
use crate::suite::verdict::{Status, Subtest, Totals, Verdict};

/// Keeps results until the end.
pub struct Junit<W> {
    to: W,
    suites: Vec<TestSuite>,
}

impl<W: Write> Junit<W> {
    pub fn new(to: W) -> Self {
        Self {
            to,
            suites: Vec::new(),
        }
    }

    fn suite(&mut self, name: &str) -> &mut TestSuite {
        let found = self
            .suites
            .iter()
            .position(|suite| suite.name.as_str() == name);
        let at = found.unwrap_or_else(|| {
            self.suites.push(TestSuite::new(name));
            self.suites.len() - 1
        });
        &mut self.suites[at]
    }
}

impl<W: Write> Exporter for Junit<W> {
    fn begin(&mut self, _checks: usize) -> io::Result<()> {
        Ok(())
    }

    fn result(&mut self, result: &Result) -> io::Result<()> {
        let (suite, check) = result.name.split_once('.').unwrap_or(("", &result.name));
        let mut cases: Vec<TestCase> = result
            .verdict
            .subtests
            .iter()
            .map(|subtest| subtest_case(&result.name, subtest))
            .collect();
        cases.push(check_case(suite, check, result));
        self.suite(suite).add_test_cases(cases);
        Ok(())
    }

    fn end(&mut self, _totals: &Totals) -> io::Result<()> {
        let mut report = Report::new("hipri");
        report.add_test_suites(std::mem::take(&mut self.suites));
        report.serialize(&mut self.to).map_err(io::Error::other)?;
        self.to.flush()
    }
}

fn check_case(suite: &str, check: &str, result: &Result) -> TestCase {
    let verdict = &result.verdict;
    let mut status = case_status(verdict.status, &verdict.complaints.join("\n"));
    for before in &result.before {
        status.add_rerun(rerun(before));
    }
    let mut case = TestCase::new(check, status);
    case.set_classname(suite).set_time(verdict.took);
    if !verdict.notes.is_empty() {
        case.set_system_out(verdict.notes.join("\n"));
    }
    if !verdict.kernel_log.is_empty() {
        case.set_system_err(&verdict.kernel_log);
    }
    case
}

fn subtest_case(class: &str, subtest: &Subtest) -> TestCase {
    let mut case = TestCase::new(
        subtest.name.as_str(),
        case_status(subtest.status, &subtest.said.join("\n")),
    );
    case.set_classname(class);
    case
}

fn case_status(status: Status, said: &str) -> TestCaseStatus {
    let mut case = match kind(status) {
        None if status == Status::Skipped => TestCaseStatus::skipped(),
        None => return TestCaseStatus::success(),
        Some(kind) => TestCaseStatus::non_success(kind),
    };
    case.set_type(status.name())
        .set_message(said.lines().next().unwrap_or(""));
    if status != Status::Skipped {
        case.set_description(said);
    }
    case
}

/// A guest that did not come to its end is an error, everything else a failure.
fn kind(status: Status) -> Option<NonSuccessKind> {
    match status {
        Status::Passed | Status::Skipped => None,
        Status::Failed => Some(NonSuccessKind::Failure),
        _ => Some(NonSuccessKind::Error),
    }
}

fn rerun(verdict: &Verdict) -> TestRerun {
    let kind = kind(verdict.status).unwrap_or(NonSuccessKind::Failure);
    let mut rerun = TestRerun::new(kind);
    rerun
        .set_type(verdict.status.name())
        .set_description(verdict.complaints.join("\n"));
    rerun
}

#[cfg(test)]
mod tests {
    use super::super::{Format, tests::sample};

    #[test]
    fn junit_tells_failures_from_errors_and_skips() {
        let text = sample(Format::Junit);
        for part in [
            "<testsuite name=\"s\" tests=\"7\" skipped=\"2\" errors=\"1\" failures=\"2\"",
            "classname=\"s.abi.patched\"",
            "type=\"guest panic\"",
            "&lt;stack&gt; &amp; more",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}

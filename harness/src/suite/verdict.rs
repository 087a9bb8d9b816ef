// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a check ended.

use std::time::Duration;

use serde::Serialize;

use crate::exit::ExitReason;

/// How a check, or one result of its own document, ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It was run and nothing speaks against it.
    #[default]
    Passed,
    /// Something was not as expected.
    Failed,
    /// It was not run.
    Skipped,
    /// It took longer than it may.
    TimedOut,
    /// The guest's kernel panicked.
    Panicked,
    /// The guest does not answer any more.
    Hung,
    /// The guest did not boot.
    NotBooted,
}

impl Status {
    /// Whether it counts as a failure.
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::Passed | Self::Skipped)
    }

    /// One word for people and machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed out",
            Self::Panicked => "guest panic",
            Self::Hung => "guest hang",
            Self::NotBooted => "no boot",
        }
    }

    /// What a run ends with whose every failure is of this kind.
    pub fn exit_reason(self) -> Option<ExitReason> {
        match self {
            Self::Passed | Self::Skipped => None,
            Self::Failed => Some(ExitReason::Failed),
            Self::TimedOut => Some(ExitReason::Timeout),
            Self::Panicked => Some(ExitReason::GuestPanic),
            Self::Hung => Some(ExitReason::GuestHang),
            Self::NotBooted => Some(ExitReason::BootFailed),
        }
    }
}

/// One result of the document that a check printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subtest {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What was said before it, and why it was skipped.
    pub said: Vec<String>,
}

/// A check's end: what speaks against it, and what is worth telling in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How it ended.
    pub status: Status,
    /// What speaks against it; why it was skipped.
    pub complaints: Vec<String>,
    /// Figures.
    pub notes: Vec<String>,
    /// The results of its own document, if it printed one.
    pub subtests: Vec<Subtest>,
    /// The end of the kernel's log, when the guest did not come to its end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_log: String,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
}

fn seconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(took.as_secs_f64())
}

impl Verdict {
    /// Whether the check was run and nothing speaks against it.
    pub fn passed(&self) -> bool {
        self.status == Status::Passed
    }

    /// Something that speaks against it.
    pub fn complain(&mut self, complaint: impl Into<String>) {
        if self.status == Status::Passed {
            self.status = Status::Failed;
        }
        self.complaints.push(complaint.into());
    }

    /// A check that ended so for one reason.
    pub fn ended(status: Status, reason: impl Into<String>) -> Self {
        Self {
            status,
            complaints: vec![reason.into()],
            ..Self::default()
        }
    }

    /// A check that failed for one reason.
    pub fn failed(complaint: impl Into<String>) -> Self {
        Self::ended(Status::Failed, complaint)
    }

    /// A check that was not run.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::ended(Status::Skipped, reason)
    }
}

/// How many results ended how. A check with a document of its own counts as that document's results,
/// and as one more failure when something else speaks against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Passed.
    pub passed: usize,
    /// Failed, in whatever way.
    pub failed: usize,
    /// Not run.
    pub skipped: usize,
    /// Passed only when they were run again; they are among the passed.
    pub flaky: usize,
    /// How the failures ended, when all of them ended alike.
    #[serde(skip)]
    alike: Option<Status>,
}

impl Totals {
    /// Counts one more check.
    pub fn count(&mut self, verdict: &Verdict, flaky: bool) {
        self.flaky += usize::from(flaky);
        let mut any_bad = false;
        for subtest in &verdict.subtests {
            any_bad |= subtest.status.is_bad();
            self.count_one(subtest.status);
        }
        let counted = !verdict.subtests.is_empty() && (any_bad || !verdict.status.is_bad());
        if !counted {
            self.count_one(verdict.status);
        }
        if verdict.status.is_bad() {
            self.alike = match (self.failed, self.alike) {
                (0 | 1, None) => Some(verdict.status),
                (_, Some(status)) if status == verdict.status => Some(status),
                _ => Some(Status::Failed),
            };
        }
    }

    fn count_one(&mut self, status: Status) {
        match status {
            Status::Passed => self.passed += 1,
            Status::Skipped => self.skipped += 1,
            _ => self.failed += 1,
        }
    }

    /// What the run ends with; `None` is success.
    pub fn exit_reason(&self) -> Option<ExitReason> {
        if self.failed > 0 {
            return self.alike.unwrap_or(Status::Failed).exit_reason();
        }
        (self.passed == 0).then_some(ExitReason::Skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(verdicts: &[Verdict]) -> Totals {
        let mut totals = Totals::default();
        for verdict in verdicts {
            totals.count(verdict, false);
        }
        totals
    }

    fn subtest(status: Status) -> Subtest {
        Subtest {
            name: "x".into(),
            status,
            said: Vec::new(),
        }
    }

    #[test]
    fn exit_reason_is_the_kind_of_failure_when_all_are_alike() {
        let panic = Verdict::ended(Status::Panicked, "x");
        let same = totals(&[panic.clone(), Verdict::default(), panic.clone()]);
        assert_eq!(same.exit_reason(), Some(ExitReason::GuestPanic));
        let mixed = totals(&[panic.clone(), Verdict::failed("x"), panic]);
        assert_eq!(mixed.exit_reason(), Some(ExitReason::Failed));
    }

    #[test]
    fn exit_reason_of_skips_only_is_skipped() {
        let skipped = totals(&[Verdict::skipped("x")]);
        assert_eq!(skipped.exit_reason(), Some(ExitReason::Skipped));
        let some = totals(&[Verdict::skipped("x"), Verdict::default()]);
        assert_eq!(some.exit_reason(), None);
    }

    #[test]
    fn count_document_counts_its_results_and_what_else_is_wrong() {
        let mut verdict = Verdict {
            subtests: vec![subtest(Status::Passed), subtest(Status::Skipped)],
            ..Verdict::default()
        };
        let good = totals(&[verdict.clone()]);
        assert_eq!((good.passed, good.failed, good.skipped), (1, 0, 1));
        verdict.complain("the kernel complained");
        let bad = totals(&[verdict]);
        assert_eq!((bad.passed, bad.failed, bad.skipped), (1, 1, 1));
    }
}

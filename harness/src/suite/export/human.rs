// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For people: a line for each check; more only about what did not pass.

use std::io::{self, Write};

use super::Exporter;
use crate::suite::run::Result;
use crate::suite::verdict::{Status, Totals};

/// Writes line by line, as results come.
pub struct Human<W> {
    to: W,
}

impl<W: Write> Human<W> {
    pub fn new(to: W) -> Self {
        Self { to }
    }
}

impl<W: Write> Exporter for Human<W> {
    fn begin(&mut self, _checks: usize) -> io::Result<()> {
        Ok(())
    }

    fn result(&mut self, result: &Result) -> io::Result<()> {
        let verdict = &result.verdict;
        let word = if result.is_flaky() {
            "flaky"
        } else {
            verdict.status.name()
        };
        write!(self.to, "{word:<11}  {}", result.name)?;
        if verdict.took.as_millis() > 0 {
            write!(self.to, "  {:.1} s", verdict.took.as_secs_f64())?;
        }
        if !verdict.subtests.is_empty() {
            let passed = verdict
                .subtests
                .iter()
                .filter(|one| one.status == Status::Passed);
            write!(
                self.to,
                "  {} of {} results",
                passed.count(),
                verdict.subtests.len()
            )?;
        }
        if !verdict.notes.is_empty() {
            write!(self.to, "  ({})", verdict.notes.join("; "))?;
        }
        writeln!(self.to)?;
        for subtest in verdict
            .subtests
            .iter()
            .filter(|one| one.status != Status::Passed)
        {
            let said = subtest.said.join("; ");
            writeln!(
                self.to,
                "    {}: {}: {said}",
                subtest.status.name(),
                subtest.name
            )?;
        }
        if verdict.status != Status::Passed {
            for line in verdict.complaints.iter().flat_map(|text| text.lines()) {
                writeln!(self.to, "    {line}")?;
            }
        }
        self.to.flush()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        let Totals {
            passed,
            failed,
            skipped,
            flaky,
            ..
        } = totals;
        write!(
            self.to,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )?;
        match flaky {
            0 => writeln!(self.to),
            _ => writeln!(self.to, "; {flaky} passed only when run again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, tests::sample};

    #[test]
    fn human_says_more_only_about_what_did_not_pass() {
        let expected = "\
passed       s.boot.patched
skipped      s.count.patched
    no counters
failed       s.abi.patched  1 of 3 results
    failed: two: x is 1, not 2
    skipped: three: no slow device
    1 failed: two
guest panic  s.data.patched
    line one
    line two
2 passed, 2 failed, 2 skipped
";
        assert_eq!(sample(Format::Human), expected);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! KTAP, the kernel's test output format. A check that printed a document of its own has it nested.

use std::io::{self, Write};

use super::Exporter;
use crate::suite::run::Result;
use crate::suite::verdict::{Status, Totals};

/// Writes line by line, as results come.
pub struct Ktap<W> {
    to: W,
    number: usize,
}

impl<W: Write> Ktap<W> {
    pub fn new(to: W) -> Self {
        Self { to, number: 0 }
    }

    fn line(
        &mut self,
        indent: &str,
        number: usize,
        name: &str,
        status: Status,
        why: &str,
    ) -> io::Result<()> {
        let not = if status.is_bad() { "not " } else { "" };
        write!(self.to, "{indent}{not}ok {number} {name}")?;
        match status {
            Status::Skipped => writeln!(self.to, " # SKIP {why}"),
            Status::TimedOut => writeln!(self.to, " # TIMEOUT"),
            _ => writeln!(self.to),
        }
    }

    fn said<'a>(
        &mut self,
        indent: &str,
        said: impl IntoIterator<Item = &'a String>,
    ) -> io::Result<()> {
        for line in said.into_iter().flat_map(|text| text.lines()) {
            writeln!(self.to, "{indent}# {line}")?;
        }
        Ok(())
    }
}

impl<W: Write> Exporter for Ktap<W> {
    fn begin(&mut self, checks: usize) -> io::Result<()> {
        writeln!(self.to, "KTAP version 1\n1..{checks}")
    }

    fn result(&mut self, result: &Result) -> io::Result<()> {
        const INNER: &str = "    ";
        self.number += 1;
        let verdict = &result.verdict;
        if !verdict.subtests.is_empty() {
            writeln!(self.to, "{INNER}KTAP version 1")?;
            writeln!(self.to, "{INNER}1..{}", verdict.subtests.len())?;
            for (number, subtest) in (1..).zip(&verdict.subtests) {
                let why = subtest.said.join("; ");
                if subtest.status != Status::Skipped {
                    self.said(INNER, &subtest.said)?;
                }
                self.line(INNER, number, &subtest.name, subtest.status, &why)?;
            }
        }
        self.said("", &verdict.notes)?;
        if verdict.status != Status::Skipped {
            self.said("", &verdict.complaints)?;
        }
        // A panic's last lines are among the complaints; what a guest waits for is only here.
        if matches!(verdict.status, Status::Hung | Status::TimedOut) {
            for line in verdict.kernel_log.lines() {
                writeln!(self.to, "# kernel: {line}")?;
            }
        }
        let why = verdict.complaints.join("; ");
        self.line("", self.number, &result.name, verdict.status, &why)?;
        self.to.flush()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        let Totals {
            passed,
            failed,
            skipped,
            ..
        } = totals;
        writeln!(
            self.to,
            "# Totals: pass:{passed} fail:{failed} xfail:0 xpass:0 skip:{skipped} error:0"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, tests::sample};

    #[test]
    fn ktap_has_reasons_before_results_and_documents_nested() {
        let expected = "\
KTAP version 1
1..4
ok 1 s.boot.patched
ok 2 s.count.patched # SKIP no counters
    KTAP version 1
    1..3
    ok 1 one
    # x is 1, not 2
    not ok 2 two
    ok 3 three # SKIP no slow device
# 1 failed: two
not ok 3 s.abi.patched
# line one
# line two
not ok 4 s.data.patched
# Totals: pass:2 fail:2 xfail:0 xpass:0 skip:2 error:0
";
        assert_eq!(sample(Format::Ktap), expected);
    }
}

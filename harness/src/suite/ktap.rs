// SPDX-License-Identifier: Apache-2.0 OR MIT
//! KTAP, the kernel's test output format.

use std::io::Write;

use super::judge::Verdict;

/// Writes a flat KTAP document, line by line as results come.
#[derive(Debug)]
pub struct Ktap<W: Write> {
    to: W,
    number: usize,
}

impl<W: Write> Ktap<W> {
    /// Begins a document of `tests` results.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(mut to: W, tests: usize) -> std::io::Result<Self> {
        writeln!(to, "KTAP version 1\n1..{tests}")?;
        Ok(Self { to, number: 0 })
    }

    /// The next result; what is to be said about it stands before it, as the format wants.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn result(&mut self, name: &str, verdict: &Verdict) -> std::io::Result<()> {
        self.number += 1;
        for line in verdict.notes.iter().chain(&verdict.complaints) {
            for line in line.lines() {
                writeln!(self.to, "# {line}")?;
            }
        }
        let number = self.number;
        match &verdict.skipped {
            Some(reason) => writeln!(self.to, "ok {number} {name} # SKIP {reason}")?,
            None if verdict.passed() => writeln!(self.to, "ok {number} {name}")?,
            None => writeln!(self.to, "not ok {number} {name}")?,
        }
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_skip_has_its_reason_behind_it() {
        let mut text = Vec::new();
        let mut ktap = Ktap::begin(&mut text, 1).unwrap();
        ktap.result("boot", &Verdict::skipped("no counters"))
            .unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "KTAP version 1\n1..1\nok 1 boot # SKIP no counters\n"
        );
    }

    #[test]
    fn result_failure_has_its_reason_before_it() {
        let mut text = Vec::new();
        let mut ktap = Ktap::begin(&mut text, 2).unwrap();
        ktap.result("boot", &Verdict::default()).unwrap();
        ktap.result("data", &Verdict::failed("line one\nline two"))
            .unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "KTAP version 1\n1..2\nok 1 boot\n# line one\n# line two\nnot ok 2 data\n"
        );
    }
}

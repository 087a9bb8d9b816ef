// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How results are shown: to people, to the kernel's tools, to programs, to CI systems.

mod human;
mod json;
mod junit;
mod ktap;

use std::io::{self, Write};

use clap::ValueEnum;

use super::run::Result;
use super::verdict::Totals;

/// A way to show results.
pub trait Exporter {
    /// Begins, with this many checks to come.
    ///
    /// # Errors
    /// When it cannot be written.
    fn begin(&mut self, checks: usize) -> io::Result<()>;

    /// The next result.
    ///
    /// # Errors
    /// When it cannot be written.
    fn result(&mut self, result: &Result) -> io::Result<()>;

    /// That was all.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(&mut self, totals: &Totals) -> io::Result<()>;
}

/// The ways to show results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each check, and what speaks against it.
    Human,
    /// KTAP version 1, as the kernel's own tests print it.
    #[default]
    Ktap,
    /// One document at the end.
    Json,
    /// One document at the end, as CI systems read it.
    Junit,
}

impl Format {
    /// An exporter that writes to `to`.
    pub fn exporter<'a>(self, to: impl Write + 'a) -> Box<dyn Exporter + 'a> {
        match self {
            Self::Human => Box::new(human::Human::new(to)),
            Self::Ktap => Box::new(ktap::Ktap::new(to)),
            Self::Json => Box::new(json::Json::new(to)),
            Self::Junit => Box::new(junit::Junit::new(to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::verdict::{Status, Subtest, Verdict};

    /// What a format makes of one result that passed, one that was skipped, one with a document of
    /// its own and one whose kernel panicked.
    pub fn sample(format: Format) -> String {
        let subtest = |name: &str, status, said: &[&str]| Subtest {
            name: name.into(),
            status,
            said: said.iter().map(|&line| line.to_owned()).collect(),
        };
        let mut document = Verdict {
            subtests: vec![
                subtest("one", Status::Passed, &[]),
                subtest("two", Status::Failed, &["x is 1, not 2"]),
                subtest("three", Status::Skipped, &["no slow device"]),
            ],
            ..Verdict::default()
        };
        document.complain("1 failed: two");
        let mut panic = Verdict::ended(Status::Panicked, "line one\nline two");
        panic.kernel_log = "<stack> & more\n".into();
        let results = [
            ("s.boot.patched", Verdict::default()),
            ("s.count.patched", Verdict::skipped("no counters")),
            ("s.abi.patched", document),
            ("s.data.patched", panic),
        ];
        let mut text = Vec::new();
        let mut exporter = format.exporter(&mut text);
        let mut totals = Totals::default();
        exporter.begin(results.len()).unwrap();
        for (name, verdict) in results {
            totals.count(&verdict, false);
            let result = Result {
                name: name.into(),
                verdict,
                before: Vec::new(),
            };
            exporter.result(&result).unwrap();
        }
        exporter.end(&totals).unwrap();
        drop(exporter);
        String::from_utf8(text).unwrap()
    }
}

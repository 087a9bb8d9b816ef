// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For programs: one document.

use std::io::{self, Write};

use serde::Serialize;

use super::Exporter;
use crate::suite::run::Result;
use crate::suite::verdict::{Totals, Verdict};

/// Version of the document; counted up when a field changes its meaning or goes.
const SCHEMA_VERSION: u32 = 1;

/// Keeps results until the end.
pub struct Json<W> {
    to: W,
    results: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    flaky: bool,
    #[serde(flatten)]
    verdict: Verdict,
    /// What earlier attempts found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    before: Vec<Verdict>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    totals: &'a Totals,
    results: &'a [Entry],
}

impl<W: Write> Json<W> {
    pub fn new(to: W) -> Self {
        Self {
            to,
            results: Vec::new(),
        }
    }
}

impl<W: Write> Exporter for Json<W> {
    fn begin(&mut self, _checks: usize) -> io::Result<()> {
        Ok(())
    }

    fn result(&mut self, result: &Result) -> io::Result<()> {
        self.results.push(Entry {
            name: result.name.clone(),
            flaky: result.is_flaky(),
            verdict: result.verdict.clone(),
            before: result.before.clone(),
        });
        Ok(())
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        let document = Document {
            schema_version: SCHEMA_VERSION,
            totals,
            results: &self.results,
        };
        serde_json::to_writer_pretty(&mut self.to, &document)?;
        writeln!(self.to)?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, tests::sample};

    #[test]
    fn json_is_one_document_with_totals_and_results() {
        let document: serde_json::Value = serde_json::from_str(&sample(Format::Json)).unwrap();
        assert_eq!(document["totals"]["failed"], 2);
        assert_eq!(document["results"][2]["subtests"][1]["status"], "failed");
        assert_eq!(document["results"][3]["status"], "panicked");
        assert_eq!(document["results"][3]["kernel_log"], "<stack> & more\n");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A sweep, or what the model says, as a page of HTML that needs nothing else: charts in SVG inside
//! it, no script, nothing from the network. It is well-formed XML, too.

mod chart;
mod depth;
mod figures;
mod frame;
mod grid;
mod markup;
mod model;
mod scale;
mod sections;
#[cfg(test)]
mod tests;
mod timeline;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::read::Run;
use crate::exit::Failure;
use markup::Escaped;

pub use grid::grid_page;
pub use model::{comparison_page, prediction_page};

/// The page's name in the result folder.
const FILE: &str = "report.html";

/// Reads a sweep's result folder and writes `report.html` into it; gives its path.
///
/// # Errors
/// Exit 2, when it is no such folder, or is damaged; exit 3, when nothing can be written.
pub fn write_page(folder: &Path) -> anyhow::Result<PathBuf> {
    let text = page(&Run::read(folder)?)?;
    let file = folder.join(FILE);
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// A part of the page: its heading and what is below it.
struct Section {
    title: &'static str,
    body: String,
}

/// # Errors
/// Exit 2, when fio's files or the command traces are damaged.
fn page(run: &Run) -> Result<String, Failure> {
    let sections = [
        Some(sections::iops(run)),
        Some(sections::latency(run)),
        sections::distributions(run)?,
        timeline::of(run)?,
        sections::lateness(run),
        Some(sections::circumstances(run)),
    ];
    let title = format!("Depth sweep, {}", run.document.subject());
    Ok(document(&title, sections.into_iter().flatten()))
}

/// A page of several sections.
fn document(title: &str, sections: impl IntoIterator<Item = Section>) -> String {
    let section = |Section { title, body }| {
        format!("<section>\n<h2>{}</h2>\n{body}</section>\n", Escaped(title))
    };
    let body: String = sections.into_iter().map(section).collect();
    format!(
        "<!DOCTYPE html>\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n\
         <head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n\
         <body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n",
        title = Escaped(title),
        style = include_str!("style.css"),
    )
}

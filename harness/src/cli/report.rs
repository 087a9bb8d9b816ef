// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `report`: the page of results that were measured before.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::tell::tell;
use crate::report;

/// Whose page is written.
#[derive(Clone, Debug, Args)]
pub struct ReportOptions {
    /// Result folders of sweeps.
    #[arg(value_name = "FOLDER", required = true)]
    folders: Vec<PathBuf>,
}

/// Writes `report.html` into each folder.
///
/// # Errors
/// Exit 2 for what is no sweep's result folder.
pub fn run(options: &ReportOptions) -> anyhow::Result<ExitCode> {
    for folder in &options.folders {
        tell!("{}", report::write_page(folder)?.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `bisect-run`: what `git bisect run` calls in a kernel tree.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::options::MachineOptions;
use super::settings::{MachineSettings, SettingsFile};
use super::suite::{Session, SuiteChoice, load};
use crate::exit::{ExitReason, Failure, reason_of};
use crate::guest::{self, BuildOptions, Flavour};
use crate::machine::{Host, accel};
use crate::progress::{self, Progress};
use crate::report;
use crate::suite::{Format, Kernels};

/// What to judge a commit by.
#[derive(Clone, Debug, Args)]
pub struct BisectOptions {
    #[command(flatten)]
    machine: MachineOptions,
    #[command(flatten)]
    choice: SuiteChoice,
    /// The kernel tree at the commit in question, taken as it is: the series is not applied. Begin
    /// with `hipri guest checkout DIR` for a tree that has it, a commit for each patch.
    #[arg(long, value_name = "DIR", default_value = ".")]
    tree: PathBuf,
}

/// Builds the tree, runs the suites on that kernel and answers as `git bisect run` wants it: 0 good, 1
/// bad, 125 when the commit cannot be judged, 128 and more to stop.
pub fn run(options: &BisectOptions, verbose: u8) -> anyhow::Result<ExitCode> {
    let progress = progress::for_stderr();
    let code = match judge(options, verbose, progress.as_ref()) {
        Ok(reason) => answer(reason),
        Err(error) => {
            eprintln!("hipri: {error:#}");
            answer(Some(reason_of(&error)))
        }
    };
    Ok(ExitCode::from(code))
}

/// What `git bisect run` makes of the way in which a commit's suites ended.
fn answer(reason: Option<ExitReason>) -> u8 {
    /// The commit cannot be judged.
    const SKIP: u8 = 125;
    /// Stop: it is not the commit's fault.
    const STOP: u8 = 128;
    match reason {
        None => 0,
        Some(ExitReason::Infrastructure | ExitReason::Skipped) => SKIP,
        Some(ExitReason::Usage) => STOP,
        Some(ExitReason::Interrupted) => ExitReason::Interrupted.code(),
        Some(_) => 1,
    }
}

fn judge(
    options: &BisectOptions,
    verbose: u8,
    progress: &dyn Progress,
) -> anyhow::Result<Option<ExitReason>> {
    let tree = options
        .tree
        .canonicalize()
        .ok()
        .filter(|tree| tree.join("Kbuild").is_file());
    let tree = tree.ok_or_else(|| {
        Failure::usage(format!(
            "--tree {} is no kernel tree: it has no Kbuild",
            options.tree.display()
        ))
    })?;
    let suites = load(&options.choice)?;
    let settings = MachineSettings::resolve(&options.machine, &SettingsFile::load()?)?;
    let accel = accel::decide(settings.accel, &Host::look())?;
    let build = BuildOptions {
        kernel_source: Some(tree),
        arch: accel.accel.machine().arch(),
        flavours: vec![Flavour::Patched],
        image_only: false,
        as_is: true,
    };
    let guest = guest::build(&build, progress).context("building the tree")?;
    let kernel = guest.kernel(Flavour::Patched)?;
    let folder = report::make_folder(options.machine.out.as_deref(), "bisect")?;
    let session = Session {
        suites: &suites,
        choice: &options.choice,
        machine: &options.machine,
        kernels: Kernels::File(kernel.path.clone()),
        folder: &folder,
        verbose,
    };
    let totals = session.run(Format::Human, progress)?;
    Ok(totals.exit_reason())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_what_git_bisect_run_understands() {
        assert_eq!(answer(None), 0);
        for bad in [
            ExitReason::Failed,
            ExitReason::BootFailed,
            ExitReason::GuestPanic,
            ExitReason::GuestHang,
            ExitReason::Timeout,
        ] {
            assert_eq!(answer(Some(bad)), 1, "{bad:?}");
        }
        assert_eq!(answer(Some(ExitReason::Infrastructure)), 125);
        assert!(answer(Some(ExitReason::Usage)) >= 128);
        assert!(answer(Some(ExitReason::Interrupted)) >= 128);
    }
}

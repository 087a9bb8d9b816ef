// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The series as a git tree, one commit a patch, and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::cache::Hashes;
use super::paths::Paths;
use super::process::{Log, command, output};
use super::series::{Series, is_patch};
use super::source::{Sources, version};
use super::{BuildOptions, Flavour};
use crate::exit::Failure;
use crate::progress::Progress;

/// The commit that the series begins after.
const BASE: &str = "hipri-base";

/// Branch of a checkout.
const BRANCH: &str = "hipri";

/// Makes `dir` a git tree of the guest kernel with the series applied. What is changed of a packaged
/// source for User-Mode Linux belongs to the commit that the series begins after: kernels that are built
/// there run, and take virtual time, like those of the source itself.
///
/// # Errors
/// Exit 2 if `dir` is in use, 3 if a patch does not apply.
pub fn checkout(dir: &Path, options: &BuildOptions, progress: &dyn Progress) -> anyhow::Result<()> {
    let paths = Paths::discover()?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(Failure::usage(format!("{} exists already", dir.display())).into());
    }
    let mut hashes = Hashes::load(&paths);
    let sources = Sources::choose(options, &mut hashes, progress)?;
    hashes.save()?;
    let (source, _) = sources.of(Flavour::Vanilla);
    let series = Series::read(&paths.patches())?;
    let mut log = Log::create(paths.log("checkout"))?;

    let step = progress.step("kernel source: copy");
    source.copy_to(dir, &mut log)?;
    // A git tree that was copied brings its own history, which is not the series'.
    let _ = fs::remove_dir_all(dir.join(".git"));
    source.mends(&paths)?.apply_in_place(dir)?;
    let release = version(dir).unwrap_or_default();
    step.done(&release);

    let step = progress.step("git: commit");
    let subject = format!("Linux {release}\n\n{}", source.describe());
    let branch = format!("--initial-branch={BRANCH}");
    let commands: [&[&str]; 5] = [
        &["init", "--quiet", &branch],
        &["config", "gc.auto", "0"],
        // The kernel's own .gitignore leaves nothing out that is in a release.
        &["add", "--all", "--force"],
        &["commit", "--quiet", "--message", &subject],
        &["tag", BASE],
    ];
    for arguments in commands {
        log.run("git", git(dir).args(arguments), |_| {})?;
    }
    step.done(BASE);

    let step = progress.step("git: apply the series");
    for patch in series.patches() {
        let what = format!("applying {}", patch.name);
        let mut am = git(dir);
        am.args(["am", "--quiet", "--keep-non-patch", "--whitespace=nowarn"])
            .arg(&patch.path);
        log.run(&what, &mut am, |_| {})?;
    }
    step.done(&format!("{} patches", series.patches().len()));
    Ok(())
}

/// Writes the commits of a checkout back as the series. Returns the new patches' paths.
///
/// # Errors
/// Exit 2 if `dir` is no checkout, or has changes that are not committed.
pub fn export(dir: &Path, progress: &dyn Progress) -> anyhow::Result<Vec<PathBuf>> {
    let paths = Paths::discover()?;
    let range = format!("{BASE}..HEAD");
    check(dir, &range)?;
    let step = progress.step("git: export the series");
    let scratch = paths.scratch("export")?;
    output(
        git(dir)
            .args(["format-patch", "--quiet", "--zero-commit", "--no-signature"])
            .args(["--numbered", "--no-renames", "--output-directory"])
            .arg(scratch.path())
            .arg(&range),
    )?;
    let fresh = Series::read(scratch.path())?;
    let place = paths.patches();
    let failed = || format!("cannot write {}", place.display());
    fs::create_dir_all(&place).with_context(failed)?;
    let keeps = |name: &str| fresh.patches().iter().any(|patch| patch.name == name);
    for entry in fs::read_dir(&place).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_patch(&name) && !keeps(&name) {
            fs::remove_file(entry.path()).with_context(failed)?;
        }
    }
    let mut written = Vec::new();
    for patch in fresh.patches() {
        let path = place.join(&patch.name);
        fs::write(&path, &patch.data).with_context(failed)?;
        written.push(path);
    }
    step.done(&format!("{} patches", written.len()));
    Ok(written)
}

fn check(dir: &Path, range: &str) -> anyhow::Result<()> {
    let shown = dir.display();
    let usage = |message: String| anyhow::Error::from(Failure::usage(message));
    let verify = ["rev-parse", "--quiet", "--verify", BASE];
    output(git(dir).args(verify))
        .map_err(|_| usage(format!("{shown} was not made by `hipri guest checkout`")))?;
    let changes = output(git(dir).args(["status", "--porcelain", "--untracked-files=no"]))?;
    if !changes.is_empty() {
        return Err(usage(format!("{shown} has changes that are not committed")));
    }
    if !output(git(dir).args(["rev-list", "--merges", range]))?.is_empty() {
        return Err(usage(format!(
            "{shown} has merges; a series is a straight line"
        )));
    }
    Ok(())
}

/// git in a directory, with an identity for those who have none.
fn git(dir: &Path) -> Command {
    let mut git = command("git");
    git.current_dir(dir)
        .args(["-c", "core.autocrlf=false", "-c", "commit.gpgSign=false"])
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap_or(dir))
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE");
    for role in ["AUTHOR", "COMMITTER"] {
        let identity = format!("GIT_{role}_IDENT");
        let known = output(command("git").current_dir(dir).args(["var", &identity])).is_ok();
        if !known {
            git.env(format!("GIT_{role}_NAME"), "hipri")
                .env(format!("GIT_{role}_EMAIL"), "hipri@localhost");
        }
    }
    git
}

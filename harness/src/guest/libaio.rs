// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds libaio's own tests from the source package of the libaio that is installed. Contexts
//! as they have always been are not to notice the series.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::apt;
use super::cache::{Key, publish, read_json, write_json};
use super::packages;
use super::paths::Paths;
use super::process::{Log, command, output};
use crate::exit::Failure;
use crate::progress::Progress;

/// Where the tests are in the guest; `run` there runs them.
pub const GUEST_DIR: &str = "/usr/lib/hipri/libaio";

/// The library's binary package.
const PACKAGE: &str = "libaio1";

/// A file system that is almost full, which one of the cases is about.
const DISK: &str = "ext2-enospc.img";

/// Raised when the tests are built in another way.
const RECIPE: u32 = 1;

/// The tests and what they were made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Harness {
    /// By name in [`GUEST_DIR`]: the cases' programs, the disk, and what runs them.
    pub files: BTreeMap<String, PathBuf>,
    /// Version of the package, such as `0.3.113-4`.
    pub version: String,
    /// SHA-256 of each file of the source package.
    pub sources: BTreeMap<String, String>,
}

/// The tests of the installed libaio, built if need be.
pub fn build(paths: &Paths, progress: &dyn Progress) -> anyhow::Result<Harness> {
    let version = packages::version(PACKAGE)?;
    let place = place(paths, &version)?;
    if let Some(harness) = find(&place, paths) {
        return Ok(harness);
    }
    let step = progress.step("libaio's tests");
    let scratch = paths.scratch("libaio")?;
    let mut log = Log::create(paths.log("libaio"))?;
    let source = scratch.path().join("source");
    let sources = apt::unpack_source(PACKAGE, &source, scratch.path(), paths, &mut log)?;
    compile(&source, &mut log)?;
    let files = keep(&source.join("harness"), scratch.path())?;
    fs::remove_dir_all(&source).context("cannot remove libaio's source")?;
    let made = Harness {
        files: files
            .into_iter()
            .map(|name| (name.clone(), name.into()))
            .collect(),
        version,
        sources,
    };
    write_json(&scratch.path().join("libaio.json"), &made)?;
    publish(scratch, &place)?;
    step.done(&format!(
        "{} cases of {}",
        made.files.len() - 1,
        made.version
    ));
    find(&place, paths).with_context(|| format!("{} is not complete", place.display()))
}

/// The tests if they have been built.
pub fn find_built(paths: &Paths) -> anyhow::Result<Option<Harness>> {
    let version = packages::version(PACKAGE)?;
    Ok(find(&place(paths, &version)?, paths))
}

fn place(paths: &Paths, version: &str) -> anyhow::Result<PathBuf> {
    let compiler = output(command("gcc").arg("--version"))?;
    let key = Key::new("libaio", RECIPE)
        .with("libaio", version)
        .with("compiler", compiler);
    Ok(paths.libaio().join(key.finish()))
}

fn find(place: &Path, paths: &Paths) -> Option<Harness> {
    let mut harness: Harness = read_json(&place.join("libaio.json"))?;
    for path in harness.files.values_mut() {
        *path = place.join(&path);
    }
    let run = paths.root().join("guest-kernel/libaio/run");
    harness.files.insert("run".to_owned(), run);
    let complete = harness.files.values().all(|path| path.is_file());
    complete.then_some(harness)
}

fn compile(source: &Path, log: &mut Log) -> anyhow::Result<()> {
    let make = |dir: &str, words: &[&str]| {
        let mut make = command("make");
        make.arg("-C").arg(source.join(dir)).args(words);
        for name in ["CFLAGS", "LDFLAGS", "MAKEFLAGS"] {
            make.env_remove(name);
        }
        make
    };
    log.run(
        "building libaio",
        &mut make("src", &["ENABLE_SHARED=0", "libaio.a"]),
        |_| {},
    )?;
    // Warnings of a compiler that is newer than the tests are no errors. -s: no one debugs them.
    log.run(
        "building libaio's tests",
        &mut make("harness", &["CFLAGS=-O2", "LDFLAGS=-s", "all"]),
        |_| {},
    )
}

/// Moves what is needed in the guest to `to`; returns the names.
fn keep(harness: &Path, to: &Path) -> anyhow::Result<Vec<String>> {
    let cases = harness.join("cases");
    let failed = || format!("cannot read {}", cases.display());
    let mut names = Vec::new();
    let mut take = |path: &Path| -> anyhow::Result<()> {
        let name = path.file_name().unwrap_or_default();
        fs::rename(path, to.join(name))
            .with_context(|| format!("cannot move {}", path.display()))?;
        names.push(name.to_string_lossy().into_owned());
        Ok(())
    };
    for entry in fs::read_dir(&cases).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "p") {
            take(&path)?;
        }
    }
    take(&harness.join(DISK))?;
    if names.len() < 2 {
        return Err(Failure::infrastructure("libaio's source has no tests").into());
    }
    Ok(names)
}

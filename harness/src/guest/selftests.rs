// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the tests of the interface, `guest-kernel/selftests/`: static programs, like the agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::{Hashes, Key, publish};
use super::paths::Paths;
use super::process::{Log, command, output};
use crate::progress::Progress;

/// Where the programs are in the guest.
pub const GUEST_DIR: &str = "/usr/lib/hipri";

/// Their names, here and there.
pub const NAMES: [&str; 2] = ["aio_test", "power_check"];

/// Raised when make is called in another way.
const RECIPE: u32 = 2;

/// The directory with the programs, built if a source file or the compiler has changed.
pub fn build(
    paths: &Paths,
    hashes: &mut Hashes,
    progress: &dyn Progress,
) -> anyhow::Result<PathBuf> {
    let place = place(paths, hashes)?;
    if let Some(programs) = find(&place) {
        return Ok(programs);
    }
    let step = progress.step("selftests");
    let scratch = paths.scratch("selftests")?;
    let mut out = std::ffi::OsString::from("OUT=");
    out.push(scratch.path());
    let mut make = command("make");
    make.arg("-C").arg(code(paths)).arg(out);
    // Flags of the host's developer are for other programs.
    for name in ["CFLAGS", "LDFLAGS", "MAKEFLAGS"] {
        make.env_remove(name);
    }
    let mut log = Log::create(paths.log("selftests"))?;
    log.run("building the selftests", &mut make, |_| {})?;
    publish(scratch, &place)?;
    step.done(&NAMES.join(", "));
    find(&place).with_context(|| {
        let names = NAMES.join(" or no ");
        format!("make left no {names} in {}", place.display())
    })
}

/// The directory with the programs if they have been built.
pub fn find_built(paths: &Paths, hashes: &mut Hashes) -> anyhow::Result<Option<PathBuf>> {
    Ok(find(&place(paths, hashes)?))
}

fn place(paths: &Paths, hashes: &mut Hashes) -> anyhow::Result<PathBuf> {
    let compiler = output(command("cc").arg("--version"))?;
    let mut key = Key::new("selftests", RECIPE).with("compiler", compiler);
    for file in files(&code(paths))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        key = key.with(&name, hashes.sha256(&file)?);
    }
    Ok(paths.selftests().join(key.finish()))
}

fn find(place: &Path) -> Option<PathBuf> {
    let all = NAMES.iter().all(|name| place.join(name).is_file());
    all.then(|| place.to_path_buf())
}

fn code(paths: &Paths) -> PathBuf {
    paths.root().join("guest-kernel/selftests")
}

/// The sources and their Makefile, in order; nothing that a build in place has left.
fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("cannot read {}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let is_source = path
            .extension()
            .is_some_and(|extension| extension == "c" || extension == "h");
        if is_source || path.file_name().is_some_and(|name| name == "Makefile") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sources_and_the_makefile() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.c", "a.h", "Makefile", "aio_test", "b.o"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names: Vec<_> = files(dir.path())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["Makefile", "a.h", "b.c"]);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the two kernels from one configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::cache::{Key, publish, read_json, sha256_of, write_atomically, write_json};
use super::config::Fragments;
use super::paths::Paths;
use super::process::{Log, command, output};
use super::series::Series;
use super::source::{Sources, Tree};
use super::{Flavour, Kernel};
use crate::exit::Failure;
use crate::progress::{Progress, Step};

/// Raised when a kernel built from the same parts would come out different.
const RECIPE: u32 = 1;

/// Fragments of User-Mode Linux.
const FRAGMENTS: [&str; 2] = ["common.config", "uml.config"];

/// About how many lines make prints for a whole kernel; for the progress bar.
const STEPS: u64 = 1350;

/// Kernels of each flavour that are kept. A developer's edits make many.
const KEPT: usize = 4;

/// What the environment may hold and a kernel build would listen to.
const FOREIGN: [&str; 12] = [
    "ARCH",
    "CROSS_COMPILE",
    "GNUMAKEFLAGS",
    "KAFLAGS",
    "KBUILD_OUTPUT",
    "KCFLAGS",
    "KCONFIG_CONFIG",
    "LOCALVERSION",
    "MAKEFLAGS",
    "MFLAGS",
    "O",
    "SUBARCH",
];

/// Both kernels, built if need be.
pub fn build_all(
    paths: &Paths,
    sources: &Sources,
    progress: &dyn Progress,
) -> anyhow::Result<[Kernel; 2]> {
    let series = Series::read(&paths.patches())?;
    let fragments = Fragments::read(&paths.configs(), &FRAGMENTS)?;
    let toolchain = toolchain()?;
    let build = |flavour| {
        let recipe = Recipe {
            flavour,
            sources,
            series: &series,
            fragments: &fragments,
            toolchain: &toolchain,
        };
        recipe.build(paths, progress)
    };
    Ok([build(Flavour::Vanilla)?, build(Flavour::Patched)?])
}

/// The kernel that these sources make, if it has been built.
pub fn find(paths: &Paths, sources: &Sources, flavour: Flavour) -> anyhow::Result<Option<Kernel>> {
    let recipe = Recipe {
        flavour,
        sources,
        series: &Series::read(&paths.patches())?,
        fragments: &Fragments::read(&paths.configs(), &FRAGMENTS)?,
        toolchain: &toolchain()?,
    };
    Ok(recipe.find(paths))
}

/// All that decides how a kernel comes out.
struct Recipe<'a> {
    flavour: Flavour,
    sources: &'a Sources,
    series: &'a Series,
    fragments: &'a Fragments,
    toolchain: &'a str,
}

impl Recipe<'_> {
    fn series(&self) -> Option<&Series> {
        let (_, patched) = self.sources.of(self.flavour);
        patched.then_some(self.series)
    }

    fn place(&self, paths: &Paths) -> PathBuf {
        let (source, _) = self.sources.of(self.flavour);
        let key = Key::new("kernel", RECIPE)
            .with("arch", "um")
            .with("flavour", self.flavour.name())
            .with("source", source.digest())
            .with("config", self.fragments.text())
            .with("toolchain", self.toolchain);
        let patches = self.series().map_or(&[][..], Series::patches);
        let key = patches
            .iter()
            .fold(key, |key, patch| key.with(&patch.name, &patch.data));
        paths
            .kernels()
            .join(format!("{}-{}", self.flavour, key.finish()))
    }

    fn find(&self, paths: &Paths) -> Option<Kernel> {
        let place = self.place(paths);
        let mut kernel: Kernel = read_json(&place.join("kernel.json"))?;
        kernel.path = place.join("linux");
        kernel.path.is_file().then_some(kernel)
    }

    fn build(&self, paths: &Paths, progress: &dyn Progress) -> anyhow::Result<Kernel> {
        if let Some(kernel) = self.find(paths) {
            return Ok(kernel);
        }
        let (source, _) = self.sources.of(self.flavour);
        let tree = source.prepare(self.flavour, self.series(), paths, progress)?;
        let mut step = progress.step(&format!("kernel {}: build", self.flavour));
        let mut log = Log::create(paths.log(&format!("kernel-{}", self.flavour)))?;
        self.configure(&tree, &mut log)?;
        self.make(&tree, &mut log, step.as_mut())?;
        let kernel = self.store(&tree, paths)?;
        prune(paths, self.flavour);
        step.done(&format!(
            "{} sha256 {}",
            kernel.release,
            &kernel.sha256[..16]
        ));
        Ok(kernel)
    }

    fn configure(&self, tree: &Tree, log: &mut Log) -> anyhow::Result<()> {
        let asked = tree.build.join("hipri.config");
        let result = tree.build.join(".config");
        write_atomically(&asked, self.fragments.text().as_bytes())?;
        let mut make = self.make_command(tree);
        make.env("KCONFIG_ALLCONFIG", &asked).arg("allnoconfig");
        let what = format!("configuring the {} kernel", self.flavour);
        log.run(&what, &mut make, |_| {})?;
        let config = fs::read_to_string(&result)
            .with_context(|| format!("cannot read {}", result.display()))?;
        let lost = self.fragments.lost(&config);
        if lost.is_empty() {
            return Ok(());
        }
        Err(Failure::infrastructure(format!(
            "the kernel at {} does not take the configuration of guest-kernel/configs: {}",
            tree.dir.display(),
            lost.join("; ")
        ))
        .into())
    }

    fn make(&self, tree: &Tree, log: &mut Log, step: &mut dyn Step) -> anyhow::Result<()> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut make = self.make_command(tree);
        make.arg(format!("-j{jobs}")).arg("linux");
        step.total(STEPS);
        let mut done = 0;
        let what = format!("building the {} kernel", self.flavour);
        log.run(&what, &mut make, |line| {
            if let Some(file) = compiled(line) {
                done += 1;
                step.position(done.min(STEPS));
                step.detail(file);
            }
        })
    }

    /// `make` with everything that makes a kernel come out the same wherever it is built.
    fn make_command(&self, tree: &Tree) -> Command {
        let mut make = command("nice");
        for name in FOREIGN {
            make.env_remove(name);
        }
        make.args(["-n", "5", "make", "-C"])
            .arg(&tree.dir)
            .arg(format!("O={}", tree.build.display()))
            .arg("ARCH=um")
            .arg(format!("LOCALVERSION={}", local_version(self.flavour)))
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KBUILD_BUILD_USER", "hipri")
            .env("KBUILD_BUILD_HOST", "hipri");
        make
    }

    fn store(&self, tree: &Tree, paths: &Paths) -> anyhow::Result<Kernel> {
        let place = self.place(paths);
        let scratch = paths.scratch("kernel")?;
        let failed = || format!("cannot copy the kernel from {}", tree.build.display());
        for (from, to) in [("linux", "linux"), (".config", "config")] {
            fs::copy(tree.build.join(from), scratch.path().join(to)).with_context(failed)?;
        }
        let release = fs::read_to_string(tree.build.join("include/config/kernel.release"))
            .with_context(failed)?;
        let (source, _) = self.sources.of(self.flavour);
        let patches = self.series().map_or(&[][..], Series::patches);
        let kernel = Kernel {
            flavour: self.flavour,
            path: place.join("linux"),
            release: release.trim().to_owned(),
            sha256: sha256_of(&scratch.path().join("linux")).with_context(failed)?,
            source: source.describe(),
            patches: patches.iter().map(|patch| patch.name.clone()).collect(),
        };
        write_json(&scratch.path().join("kernel.json"), &kernel)?;
        publish(scratch, &place)?;
        Ok(kernel)
    }
}

/// Tells the two apart in `uname -r`.
fn local_version(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Vanilla => "-vanilla",
        Flavour::Patched => "-hipri",
    }
}

/// The file of a line such as `  CC      fs/aio.o`.
fn compiled(line: &str) -> Option<&str> {
    let (verb, file) = line.strip_prefix("  ")?.split_once(' ')?;
    let is_verb = verb.chars().all(|c| c.is_ascii_uppercase());
    is_verb.then(|| file.trim())
}

/// Compiler and linker, by the first line of their version.
fn toolchain() -> anyhow::Result<String> {
    let first = |program| {
        let text = output(command(program).arg("--version"))?;
        anyhow::Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    Ok(format!("{}; {}", first("gcc")?, first("ld")?))
}

/// Removes the oldest kernels of a flavour.
fn prune(paths: &Paths, flavour: Flavour) {
    let Ok(entries) = fs::read_dir(paths.kernels()) else {
        return;
    };
    let prefix = format!("{flavour}-");
    let mut kernels: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| (built_at(&entry.path()), entry.path()))
        .collect();
    kernels.sort();
    let surplus = kernels.len().saturating_sub(KEPT);
    for (_, path) in &kernels[..surplus] {
        // Disk space, nothing else, depends on it.
        let _ = fs::remove_dir_all(path);
    }
}

fn built_at(place: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(place.join("kernel.json"))
        .ok()?
        .modified()
        .ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn compiled_make_lines_are_told_from_others() {
        assert_eq!(super::compiled("  CC      fs/aio.o"), Some("fs/aio.o"));
        assert_eq!(super::compiled("make: Entering directory"), None);
        assert_eq!(super::compiled("  fs/aio.c:12: warning"), None);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the kernels: from one source and one series, each from its own set of configuration
//! fragments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::cache::{Key, publish, read_json, sha256_of, write_atomically, write_json};
use super::config::Fragments;
use super::paths::Paths;
use super::process::{Log, command, output};
use super::series::{Patch, Series};
use super::source::{Source, Sources, Tree};
use super::{Arch, BuildOptions, Flavour, Kernel};
use crate::exit::Failure;
use crate::progress::{Progress, Step};

/// Raised when a kernel built from the same parts would come out different.
const RECIPE: u32 = 1;

/// Kernels of each flavour that are kept. A developer's edits make many.
const KEPT: usize = 4;

/// The compressed kernel for boot loaders: what make is asked for, and the name of the file.
const BZIMAGE: &str = "bzImage";

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

impl Arch {
    /// What is added to `common.config` for a kernel of this architecture.
    fn fragments(self, flavour: Flavour) -> Vec<&'static str> {
        let mut names = vec!["common.config"];
        names.push(match self {
            Self::Um => "uml.config",
            Self::X86_64 => "x86_64.config",
        });
        match (flavour, self) {
            (Flavour::Vanilla | Flavour::Patched, _) => {}
            (Flavour::Interpreted, _) => names.push("interpreted.config"),
            (Flavour::Debug, Self::Um) => names.extend(["debug.config", "debug-um.config"]),
            (Flavour::Debug, Self::X86_64) => names.push("debug.config"),
            (Flavour::Kcsan, _) => names.push("kcsan.config"),
        }
        names
    }

    /// What make makes, and about how many lines it prints meanwhile; for the progress bar.
    fn targets(self, flavour: Flavour) -> (&'static [&'static str], u64) {
        match (self, flavour) {
            (Self::Um, _) => (&["linux"], 1350),
            (Self::X86_64, Flavour::Interpreted) => (&["vmlinux"], 1400),
            (Self::X86_64, Flavour::Debug | Flavour::Kcsan) => (&["vmlinux"], 1700),
            (Self::X86_64, _) => (&["vmlinux", "bzImage"], 1550),
        }
    }

    /// The kernel in the build tree that a virtual machine boots.
    fn image(self) -> &'static str {
        match self {
            Self::Um => "linux",
            Self::X86_64 => "vmlinux",
        }
    }
}

/// The kernels that were asked for, built if need be.
pub fn build(
    paths: &Paths,
    sources: &Sources,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<Kernel>> {
    let toolchain = toolchain()?;
    let build = |flavour| {
        Recipe::new(paths, sources, options.arch, flavour, &toolchain)?.build(paths, progress)
    };
    options.flavours().into_iter().map(build).collect()
}

/// The kernel that these sources make, if it has been built.
pub fn find(
    paths: &Paths,
    sources: &Sources,
    arch: Arch,
    flavour: Flavour,
) -> anyhow::Result<Option<Kernel>> {
    let toolchain = toolchain()?;
    Ok(Recipe::new(paths, sources, arch, flavour, &toolchain)?.find(paths))
}

/// All that decides how a kernel comes out.
struct Recipe<'a> {
    arch: Arch,
    flavour: Flavour,
    source: &'a Source,
    /// What is applied to the source; `None` leaves the source as it is.
    series: Option<Series>,
    /// What is mended of the source before.
    mends: Series,
    fragments: Fragments,
    toolchain: &'a str,
}

impl<'a> Recipe<'a> {
    fn new(
        paths: &Paths,
        sources: &'a Sources,
        arch: Arch,
        flavour: Flavour,
        toolchain: &'a str,
    ) -> anyhow::Result<Self> {
        let (source, wants_series) = sources.of(flavour);
        let mut series = None;
        if wants_series {
            series = Some(Series::read(&paths.patches())?);
        }
        let own = match flavour {
            Flavour::Interpreted => Some(paths.test_patches()),
            Flavour::Debug | Flavour::Kcsan if source.is_packaged() => Some(paths.debug_patches()),
            _ => None,
        };
        if let Some(own) = own {
            let own = Series::read(&own)?;
            series = Some(series.unwrap_or_default().followed_by(own));
        }
        Ok(Self {
            arch,
            flavour,
            source,
            series,
            mends: source.mends(paths)?,
            fragments: Fragments::read(&paths.configs(), &arch.fragments(flavour))?,
            toolchain,
        })
    }

    fn patches(&self) -> &[Patch] {
        self.series.as_ref().map_or(&[], Series::patches)
    }

    fn place(&self, paths: &Paths) -> PathBuf {
        let key = Key::new("kernel", RECIPE)
            .with("arch", self.arch.name())
            .with("flavour", self.flavour.name())
            .with("source", self.source.digest())
            .with("config", self.fragments.text())
            .with("toolchain", self.toolchain);
        let key = self
            .series
            .iter()
            .fold(key, |key, series| series.fold_into(key));
        // On another architecture nothing of them becomes code.
        let key = match self.arch {
            Arch::Um => self.mends.fold_into(key),
            Arch::X86_64 => key,
        };
        paths
            .kernels(self.arch)
            .join(format!("{}-{}", self.flavour, key.finish()))
    }

    fn find(&self, paths: &Paths) -> Option<Kernel> {
        let place = self.place(paths);
        let mut kernel: Kernel = read_json(&place.join("kernel.json"))?;
        kernel.path = place.join(self.arch.image());
        kernel.bzimage = kernel.bzimage.map(|_| place.join(BZIMAGE));
        kernel.path.is_file().then_some(kernel)
    }

    fn build(&self, paths: &Paths, progress: &dyn Progress) -> anyhow::Result<Kernel> {
        if let Some(kernel) = self.find(paths) {
            return Ok(kernel);
        }
        let series = self.series.as_ref();
        let tree = self
            .source
            .prepare(self.arch, self.flavour, series, paths, progress)?;
        let name = format!("{}-{}", self.arch, self.flavour);
        let mut step = progress.step(&format!("kernel {name}: build"));
        let mut log = Log::create(paths.log(&format!("kernel-{name}")))?;
        self.configure(&tree, &mut log)?;
        self.make(&tree, &mut log, step.as_mut())?;
        let kernel = self.store(&tree, paths, &mut log)?;
        prune(&paths.kernels(self.arch), self.flavour);
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
        let (targets, steps) = self.arch.targets(self.flavour);
        make.arg(format!("-j{jobs}")).args(targets);
        step.total(steps);
        let mut done = 0;
        let what = format!("building the {} kernel", self.flavour);
        log.run(&what, &mut make, |line| {
            if let Some(file) = compiled(line) {
                done += 1;
                step.position(done.min(steps));
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
            .arg(format!("ARCH={}", self.arch))
            .arg(format!("LOCALVERSION={}", local_version(self.flavour)))
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KBUILD_BUILD_USER", "hipri")
            .env("KBUILD_BUILD_HOST", "hipri");
        make
    }

    fn store(&self, tree: &Tree, paths: &Paths, log: &mut Log) -> anyhow::Result<Kernel> {
        let place = self.place(paths);
        let scratch = paths.scratch("kernel")?;
        let failed = || format!("cannot copy the kernel from {}", tree.build.display());
        let image = self.arch.image();
        let mut files = vec![(image, image), (".config", "config")];
        let (targets, _) = self.arch.targets(self.flavour);
        let has_bzimage = targets.contains(&BZIMAGE);
        if has_bzimage {
            files.push(("arch/x86/boot/bzImage", BZIMAGE));
        }
        for (from, to) in files {
            fs::copy(tree.build.join(from), scratch.path().join(to)).with_context(failed)?;
        }
        if self.arch == Arch::X86_64 {
            // What boots are segments and notes; the kernel has the symbols for its own messages.
            let mut strip = command("strip");
            strip.arg(scratch.path().join(image));
            log.run("stripping the kernel", &mut strip, |_| {})?;
        }
        let release = fs::read_to_string(tree.build.join("include/config/kernel.release"))
            .with_context(failed)?;
        let patches = self.patches();
        let kernel = Kernel {
            arch: self.arch,
            flavour: self.flavour,
            path: place.join(image),
            bzimage: has_bzimage.then(|| place.join(BZIMAGE)),
            release: release.trim().to_owned(),
            sha256: sha256_of(&scratch.path().join(image)).with_context(failed)?,
            source: self.source.describe(),
            patches: patches.iter().map(|patch| patch.name.clone()).collect(),
        };
        write_json(&scratch.path().join("kernel.json"), &kernel)?;
        publish(scratch, &place)?;
        Ok(kernel)
    }
}

/// Tells them apart in `uname -r`.
fn local_version(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Vanilla => "-vanilla",
        Flavour::Patched => "-hipri",
        Flavour::Interpreted => "-interpreted",
        Flavour::Debug => "-debug",
        Flavour::Kcsan => "-kcsan",
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
fn prune(kernels: &Path, flavour: Flavour) {
    let Ok(entries) = fs::read_dir(kernels) else {
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

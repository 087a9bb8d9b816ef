// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes the guest: kernels, tools, image.
//!
//! Everything lands under `target/guest/` in folders named after a hash of what went in
//! ([`cache`]), complete or not at all, so that a second run finds it and builds nothing:
//!
//! ```text
//! packages ──> source ──> series ──> kernels (those asked for) ──┐
//!          ├─> engine (fio's own source, our C file) ────────────┼─> Guest
//!          ├─> selftests (make) ─────────────────────────────────┤
//!          ├─> libaio's tests (its own source) ──────────────────┤
//!          └─> agent (cargo) ──> image (tools and libraries) ────┘
//! ```

mod agent;
mod apt;
mod cache;
mod config;
mod cpio;
mod edit;
mod engine;
mod image;
mod initramfs;
mod kernel;
mod libaio;
mod lock;
mod modules;
mod packages;
mod paths;
mod process;
mod selftests;
mod series;
mod source;
mod status;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::progress::Progress;

pub use cache::hex;
pub use edit::{checkout, export};
pub use engine::GUEST_PATH as FIO_ENGINE;
pub use initramfs::{OverlayFile, RUN_DIR, join, overlay};
pub use modules::modules_overlay;
pub use packages::missing as missing_packages;
pub use paths::Paths;
pub use status::{Artifact, State, clean, status};

/// What a kernel is built for, and so what can boot it.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
pub enum Arch {
    /// User-Mode Linux: the kernel is a program of the host.
    #[default]
    #[serde(rename = "um")]
    #[value(name = "um")]
    Um,
    /// A machine, real or virtual.
    #[serde(rename = "x86_64")]
    #[value(name = "x86_64")]
    X86_64,
}

impl Arch {
    /// As the kernel's `ARCH=` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Um => "um",
            Self::X86_64 => "x86_64",
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which kernel.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Flavour {
    /// As the source has it: the seed's "mainline".
    Vanilla,
    /// With the polled-AIO series.
    Patched,
    /// For tests only, x86-64 only: with the series, and able to boot where KVM interprets
    /// supervisor code.
    Interpreted,
    /// With the series, and with what finds mistakes in it: KASAN, lockdep, kmemleak, allocations
    /// that fail.
    Debug,
    /// x86-64 only: with the series and KCSAN, which finds data races between processors.
    Kcsan,
}

impl Flavour {
    /// Those that are measured and compared, in the order in which they are built.
    pub const ALL: [Self; 2] = [Self::Vanilla, Self::Patched];

    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vanilla => "vanilla",
            Self::Patched => "patched",
            Self::Interpreted => "interpreted",
            Self::Debug => "debug",
            Self::Kcsan => "kcsan",
        }
    }

    /// How many times as long as another kernel it may take for what it does.
    pub fn slowness(self) -> u32 {
        match self {
            Self::Vanilla | Self::Patched | Self::Interpreted => 1,
            Self::Debug | Self::Kcsan => 5,
        }
    }

    /// Memory of a guest unless told otherwise, in MiB: fio with a thousand buffers and a file
    /// system's cache fit with room to spare.
    pub const MEMORY_MIB: u64 = 512;

    /// The same on this kernel: those that watch memory need some for what they note down.
    pub fn memory_mib(self) -> u64 {
        match self {
            Self::Vanilla | Self::Patched | Self::Interpreted => Self::MEMORY_MIB,
            Self::Debug | Self::Kcsan => 2 * Self::MEMORY_MIB,
        }
    }

    /// What it has to be told on its command line.
    pub fn kernel_words(self) -> &'static [&'static str] {
        match self {
            // KASAN does not see what a device writes to a page that is free.
            Self::Debug => &["page_poison=1"],
            Self::Vanilla | Self::Patched | Self::Interpreted | Self::Kcsan => &[],
        }
    }

    /// What is missing on User-Mode Linux for it to be of use there.
    fn wants_machine(self) -> Option<&'static str> {
        match self {
            Self::Vanilla | Self::Patched | Self::Debug => None,
            Self::Interpreted => Some("KVM"),
            Self::Kcsan => Some("several processors, and User-Mode Linux has one"),
        }
    }
}

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A kernel that is ready to boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kernel {
    /// What boots it.
    pub arch: Arch,
    /// Which one.
    pub flavour: Flavour,
    /// User-Mode Linux: the executable. x86-64: `vmlinux`, an ELF file with a PVH note.
    pub path: PathBuf,
    /// x86-64: the same kernel as a `bzImage`, where one was made.
    pub bzimage: Option<PathBuf>,
    /// `uname -r`.
    pub release: String,
    /// SHA-256 of the file at `path`.
    pub sha256: String,
    /// Where the source came from and its SHA-256.
    pub source: String,
    /// File names of the patches, in order.
    pub patches: Vec<String>,
}

/// All that a run needs.
#[derive(Debug, Clone)]
pub struct Guest {
    /// What the kernels are built for.
    pub arch: Arch,
    /// Those that were asked for, in that order.
    pub kernels: Vec<Kernel>,
    /// Root directory of the image, to be mounted read-only; its init is `/init`.
    pub root: PathBuf,
    /// x86-64: the same image as a cpio archive, to be loaded with the kernel. [`overlay`] makes
    /// what goes behind it.
    pub initramfs: Option<PathBuf>,
    /// Version of the fio in the image.
    pub fio_version: String,
}

impl Guest {
    /// One of the kernels.
    ///
    /// # Errors
    /// When it was not asked for.
    pub fn kernel(&self, flavour: Flavour) -> anyhow::Result<&Kernel> {
        self.kernels
            .iter()
            .find(|kernel| kernel.flavour == flavour)
            .with_context(|| format!("the {flavour} kernel was not asked for"))
    }

    /// Which of ours the kernel at `path` is; `None` for one that is the user's.
    pub fn flavour(&self, path: &Path) -> Option<Flavour> {
        let ours = self.kernels.iter().find(|kernel| kernel.path == path);
        ours.map(|kernel| kernel.flavour)
    }
}

/// What the user can choose about the guest.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// A kernel tree or tarball in place of the distribution's `linux-source` package.
    pub kernel_source: Option<PathBuf>,
    /// What the kernels are built for.
    pub arch: Arch,
    /// The kernels to build; none means [`Flavour::ALL`].
    pub flavours: Vec<Flavour>,
    /// No kernel at all: the user brings one.
    pub image_only: bool,
    /// Every kernel is made of the source as it is, with or without the series.
    pub as_is: bool,
}

impl BuildOptions {
    /// The kernels to build, each once, in the order in which they are built.
    fn flavours(&self) -> Vec<Flavour> {
        if self.image_only {
            return Vec::new();
        }
        let mut flavours = self.flavours.clone();
        if flavours.is_empty() {
            flavours.extend(Flavour::ALL);
        }
        flavours.sort();
        flavours.dedup();
        flavours
    }

    fn check(&self) -> Result<(), Failure> {
        if self.arch != Arch::Um {
            return Ok(());
        }
        for flavour in &self.flavours {
            if let Some(what) = flavour.wants_machine() {
                return Err(Failure::usage(format!(
                    "the {flavour} kernel is for {what}: it needs --arch x86_64, or to launch it, \
                     --accel kvm or qemu"
                )));
            }
        }
        Ok(())
    }
}

/// Makes whatever is missing and returns the guest.
///
/// # Errors
/// [`Failure`]: exit 2 for a source that is none, 3 for everything else.
pub fn build(options: &BuildOptions, progress: &dyn Progress) -> anyhow::Result<Guest> {
    options.check()?;
    let paths = Paths::discover()?;
    packages::ensure(&paths, progress)?;
    let mut hashes = cache::Hashes::load(&paths);
    let sources = source::Sources::choose(options, &mut hashes, progress)?;
    hashes.save()?;
    let _lock = lock::take(&paths, progress)?;
    paths.clear_scratch()?;
    let engine = engine::build(&paths, &mut hashes, progress)?;
    let agent = agent::build(&paths, &mut hashes, progress)?;
    let selftests = selftests::build(&paths, &mut hashes, progress)?;
    let libaio = libaio::build(&paths, progress)?;
    let parts = image::Parts {
        agent: &agent,
        engine: &engine,
        selftests: &selftests,
        libaio: &libaio,
    };
    let root = image::build(&paths, &parts, &mut hashes, progress)?;
    let initramfs = match options.arch {
        Arch::Um => None,
        Arch::X86_64 => Some(initramfs::build(&root, &paths, progress)?),
    };
    hashes.save()?;
    // What takes longest comes last: most mistakes show before.
    let kernels = kernel::build(&paths, &sources, options, progress)?;
    Ok(Guest {
        arch: options.arch,
        kernels,
        root,
        initramfs,
        fio_version: engine.fio_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn asked(flavours: &[Flavour]) -> BuildOptions {
        BuildOptions {
            flavours: flavours.to_vec(),
            ..BuildOptions::default()
        }
    }

    #[test]
    fn flavours_none_means_vanilla_and_patched_and_doubles_count_once() {
        assert_eq!(asked(&[]).flavours(), Flavour::ALL);
        let doubled = [Flavour::Patched, Flavour::Vanilla, Flavour::Patched];
        assert_eq!(asked(&doubled).flavours(), Flavour::ALL);
        assert_eq!(asked(&[Flavour::Patched]).flavours(), [Flavour::Patched]);
    }

    #[test]
    fn check_kernel_that_wants_a_machine_is_refused_as_a_program() {
        for flavour in [Flavour::Interpreted, Flavour::Kcsan] {
            let mut options = asked(&[Flavour::Debug, flavour]);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(flavour.name()), "{error}");
            assert!(error.contains("x86_64"), "{error}");
            options.arch = Arch::X86_64;
            options.check().unwrap();
        }
    }

    #[test]
    fn check_debug_kernel_as_a_program_is_taken() {
        asked(&[Flavour::Debug]).check().unwrap();
    }

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_documents() {
        for arch in Arch::value_variants() {
            let value = arch.to_possible_value().unwrap();
            assert_eq!(value.get_name(), arch.name());
            assert_eq!(serde_json::to_value(arch).unwrap(), arch.name());
        }
        for flavour in Flavour::value_variants() {
            let value = flavour.to_possible_value().unwrap();
            assert_eq!(value.get_name(), flavour.name());
            assert_eq!(serde_json::to_value(flavour).unwrap(), flavour.name());
        }
    }

    #[test]
    fn kernel_not_asked_for_is_an_error() {
        let guest = Guest {
            arch: Arch::Um,
            kernels: Vec::new(),
            root: PathBuf::new(),
            initramfs: None,
            fio_version: String::new(),
        };
        let error = guest.kernel(Flavour::Vanilla).unwrap_err().to_string();
        assert_eq!(error, "the vanilla kernel was not asked for");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes the guest: kernels, tools, image.
//!
//! Everything lands under `target/guest/` in folders named after a hash of what went in
//! ([`cache`]), complete or not at all, so that a second run finds it and builds nothing:
//!
//! ```text
//! packages ──> source ──> series ──> kernel (vanilla, patched) ──┐
//!          ├─> engine (fio's own source, our C file) ────────────┼─> Guest
//!          └─> agent (cargo) ──> image (tools and libraries) ────┘
//! ```

mod agent;
mod apt;
mod cache;
mod config;
mod edit;
mod engine;
mod image;
mod kernel;
mod lock;
mod packages;
mod paths;
mod process;
mod series;
mod source;
mod status;
mod tree;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::progress::Progress;

pub use edit::{checkout, export};
pub use engine::GUEST_PATH as FIO_ENGINE;
pub use packages::missing as missing_packages;
pub use paths::Paths;
pub use status::{Artifact, State, clean, status};

/// Which of the two kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// As the source has it: the seed's "mainline".
    Vanilla,
    /// With the polled-AIO series.
    Patched,
}

impl Flavour {
    /// Both, in the order in which they are built.
    pub const ALL: [Self; 2] = [Self::Vanilla, Self::Patched];

    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vanilla => "vanilla",
            Self::Patched => "patched",
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
    /// Which of the two.
    pub flavour: Flavour,
    /// The executable: for User-Mode Linux the kernel is a program.
    pub path: PathBuf,
    /// `uname -r`.
    pub release: String,
    /// SHA-256 of the executable.
    pub sha256: String,
    /// Where the source came from and its SHA-256.
    pub source: String,
    /// File names of the patches, in order.
    pub patches: Vec<String>,
}

/// All that a run needs.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The kernel without the series.
    pub vanilla: Kernel,
    /// The kernel with the series.
    pub patched: Kernel,
    /// Root directory of the image, to be mounted read-only; its init is `/init`.
    pub root: PathBuf,
    /// Version of the fio in the image.
    pub fio_version: String,
}

impl Guest {
    /// One of the two kernels.
    pub fn kernel(&self, flavour: Flavour) -> &Kernel {
        match flavour {
            Flavour::Vanilla => &self.vanilla,
            Flavour::Patched => &self.patched,
        }
    }
}

/// What the user can choose about the guest.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// A kernel tree or tarball in place of the distribution's `linux-source` package.
    pub kernel_source: Option<PathBuf>,
}

/// Makes whatever is missing and returns the guest.
///
/// # Errors
/// [`crate::exit::Failure`]: exit 2 for a source that is none, 3 for everything else.
pub fn build(options: &BuildOptions, progress: &dyn Progress) -> anyhow::Result<Guest> {
    let paths = Paths::discover()?;
    packages::ensure(&paths, progress)?;
    let mut hashes = cache::Hashes::load(&paths);
    let sources = source::Sources::choose(options, &mut hashes, progress)?;
    hashes.save()?;
    let _lock = lock::take(&paths, progress)?;
    paths.clear_scratch()?;
    let engine = engine::build(&paths, &mut hashes, progress)?;
    let agent = agent::build(&paths, &mut hashes, progress)?;
    let root = image::build(&paths, &agent, &engine, &mut hashes, progress)?;
    hashes.save()?;
    // What takes longest comes last: most mistakes show before.
    let [vanilla, patched] = kernel::build_all(&paths, &sources, progress)?;
    Ok(Guest {
        vanilla,
        patched,
        root,
        fio_version: engine.fio_version,
    })
}

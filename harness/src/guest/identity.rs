// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Placeholder until branch guest is merged.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::progress::Progress;

/// Where our fio engine lies in the image.
pub const FIO_ENGINE: &str = "/usr/lib/fio/hipri.so";

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
    /// The executable.
    pub path: PathBuf,
    /// `uname -r`.
    pub release: String,
    /// SHA-256 of the executable.
    pub sha256: String,
}

/// All that a run needs.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The kernel without the series.
    pub vanilla: Kernel,
    /// The kernel with the series.
    pub patched: Kernel,
    /// Root directory of the image.
    pub root: PathBuf,
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
    /// A kernel tree or tarball.
    pub kernel_source: Option<PathBuf>,
}

/// Placeholder.
///
/// # Errors
/// None.
pub fn build(_options: &BuildOptions, _progress: &dyn Progress) -> anyhow::Result<Guest> {
    let path = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_default());
    let kernel = |flavour, name| Kernel {
        flavour,
        path: path(name),
        release: "6.12".into(),
        sha256: "0".into(),
    };
    Ok(Guest {
        vanilla: kernel(Flavour::Vanilla, "DEV_VANILLA"),
        patched: kernel(Flavour::Patched, "DEV_PATCHED"),
        root: path("DEV_ROOT"),
    })
}

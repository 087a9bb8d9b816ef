// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the repository is, and what lies where under `target/guest/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Arch;
use crate::repository::Repository;

/// Directories of the repository and of the cache.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    cache: PathBuf,
}

impl Paths {
    /// Those of the checkout that this program works on.
    ///
    /// # Errors
    /// As [`Repository::find`].
    pub fn discover() -> anyhow::Result<Self> {
        let repository = Repository::find()?;
        let root = fs::canonicalize(repository.root())
            .with_context(|| format!("cannot resolve {}", repository.root().display()))?;
        Ok(Self::new(root))
    }

    /// For a given checkout.
    pub fn new(root: PathBuf) -> Self {
        let cache = root.join("target/guest");
        Self { root, cache }
    }

    /// The checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `target/guest/`, which everything below is in.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    pub(super) fn patches(&self) -> PathBuf {
        self.root.join("guest-kernel/patches/linux-6.12")
    }

    /// Patches that only [`super::Flavour::Debug`] and [`super::Flavour::Kcsan`] get, behind the series.
    pub(super) fn debug_patches(&self) -> PathBuf {
        self.root.join("guest-kernel/debug/linux-6.12")
    }

    /// Patches that only [`super::Flavour::Interpreted`] gets, behind the series.
    pub(super) fn test_patches(&self) -> PathBuf {
        self.root.join("guest-kernel/test/linux-6.12")
    }

    /// Patches of User-Mode Linux's own code, which every kernel made of a packaged source gets,
    /// the one without the series too.
    pub(super) fn uml_patches(&self) -> PathBuf {
        self.root.join("guest-kernel/uml/linux-6.12")
    }

    /// Patches that let User-Mode Linux simulate the time that operations take; for the same kernels.
    pub(super) fn time_patches(&self) -> PathBuf {
        self.root.join("guest-kernel/time/linux-6.12")
    }

    pub(super) fn configs(&self) -> PathBuf {
        self.root.join("guest-kernel/configs")
    }

    /// Kernel source trees and, inside them, build trees.
    pub(super) fn sources(&self) -> PathBuf {
        self.cache.join("src")
    }

    /// Build trees of source trees that are not ours.
    pub(super) fn builds(&self) -> PathBuf {
        self.cache.join("build")
    }

    pub(super) fn kernels(&self, arch: Arch) -> PathBuf {
        self.cache.join("kernels").join(arch.name())
    }

    pub(super) fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    pub(super) fn engines(&self) -> PathBuf {
        self.cache.join("engines")
    }

    pub(super) fn libaio(&self) -> PathBuf {
        self.cache.join("libaio")
    }

    pub(super) fn selftests(&self) -> PathBuf {
        self.cache.join("selftests")
    }

    pub(super) fn agent_target(&self) -> PathBuf {
        self.cache.join("agent")
    }

    /// The log of one kind of build; the last one only.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.cache.join("logs").join(format!("{name}.log"))
    }

    /// A new empty directory for something that is renamed into its place once complete.
    pub(super) fn scratch(&self, name: &str) -> anyhow::Result<tempfile::TempDir> {
        let parent = self.scratch_parent();
        fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        tempfile::Builder::new()
            .prefix(name)
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))
    }

    /// Removes what a killed build left. The caller holds the lock.
    pub(super) fn clear_scratch(&self) -> anyhow::Result<()> {
        let parent = self.scratch_parent();
        match fs::remove_dir_all(&parent) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot clear {}", parent.display()))
            }
            _ => Ok(()),
        }
    }

    fn scratch_parent(&self) -> PathBuf {
        self.cache.join("scratch")
    }
}

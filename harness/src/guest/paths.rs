// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the repository is, and what lies where under `target/guest/`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Context;

use crate::exit::Failure;

/// Directories of the repository and of the cache.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    cache: PathBuf,
}

impl Paths {
    /// Finds the repository: `HIPRI_ROOT`, else upwards from the working directory, else from the
    /// executable, else where this program was compiled.
    ///
    /// # Errors
    /// When none of these is (inside) a checkout of hipri.
    pub fn discover() -> anyhow::Result<Self> {
        let is_root = |dir: &Path| dir.join("guest-kernel/configs/common.config").is_file();
        let upwards = |dir: PathBuf| {
            dir.ancestors()
                .find(|dir| is_root(dir))
                .map(Path::to_path_buf)
        };
        let named = env::var_os("HIPRI_ROOT").map(PathBuf::from);
        let root = match named {
            Some(dir) if is_root(&dir) => Some(dir),
            Some(dir) => {
                return Err(Failure::usage(format!(
                    "HIPRI_ROOT={} is no checkout of hipri",
                    dir.display()
                ))
                .into());
            }
            None => env::current_dir()
                .ok()
                .and_then(upwards)
                .or_else(|| env::current_exe().ok().and_then(upwards))
                .or_else(|| upwards(PathBuf::from(env!("CARGO_MANIFEST_DIR")))),
        };
        let root = root.ok_or_else(|| {
            Failure::infrastructure(
                "no checkout of hipri found; run in one, or set HIPRI_ROOT to its directory",
            )
        })?;
        let root = fs::canonicalize(&root)
            .with_context(|| format!("cannot resolve {}", root.display()))?;
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

    pub(super) fn kernels(&self) -> PathBuf {
        self.cache.join("kernels")
    }

    pub(super) fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    pub(super) fn engines(&self) -> PathBuf {
        self.cache.join("engines")
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

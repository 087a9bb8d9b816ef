// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a run's logs go when there is no result folder.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where the logs go: the folder that the user named, or one that is thrown away.
pub(super) enum Logs {
    Kept(PathBuf),
    Thrown(tempfile::TempDir),
}

impl Logs {
    pub(super) fn new(out: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match out {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("making {}", path.display()))?;
                Self::Kept(path.to_owned())
            }
            None => Self::Thrown(tempfile::tempdir().context("making a folder for the logs")?),
        })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Thrown(folder) => folder.path(),
        }
    }
}

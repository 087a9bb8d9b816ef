// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the project's own files are: configurations, guest kernel, build results.

use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::guest::Paths;

/// The checkout that this program works on.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Finds it, as [`Paths::discover`] does.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> anyhow::Result<Self> {
        Ok(Self {
            root: Paths::discover()?.root().to_owned(),
        })
    }

    /// The top directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of `configs/KIND/` by its name without extension, or any file by a path (a name
    /// with a slash or the extension).
    ///
    /// # Errors
    /// Exit 2, with the names that exist.
    pub fn config(&self, kind: &str, extension: &str, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.root.join("configs").join(kind);
        let is_path = name.contains('/') || name.ends_with(&format!(".{extension}"));
        let path = if is_path {
            PathBuf::from(name)
        } else {
            folder.join(format!("{name}.{extension}"))
        };
        if let Ok(path) = path.canonicalize()
            && path.is_file()
        {
            return Ok(path);
        }
        if is_path {
            return Err(Failure::usage(format!("there is no file {name}")));
        }
        let names = names_in(&folder, extension).join(", ");
        Err(Failure::usage(format!(
            "there is no {name} in {}; there are: {names}",
            folder.display()
        )))
    }
}

/// The stems of a folder's files with this extension, sorted.
pub fn names_in(folder: &Path, extension: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let matches = path.extension().is_some_and(|found| found == extension);
            matches.then(|| {
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned())
            })?
        })
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_in_test_is_this_checkout() {
        let repository = Repository::find().unwrap();
        assert!(repository.root().join("harness").is_dir());
    }

    #[test]
    fn config_unknown_name_lists_known_ones() {
        let repository = Repository::find().unwrap();
        let error = repository
            .config("workloads", "fio", "nonsense")
            .unwrap_err();
        assert!(error.to_string().contains("there are: "), "{error}");
        assert!(error.to_string().contains("seed"), "{error}");
    }

    #[test]
    fn config_known_name_is_its_file() {
        let repository = Repository::find().unwrap();
        let path = repository.config("workloads", "fio", "seed").unwrap();
        assert!(path.ends_with("configs/workloads/seed.fio"));
    }
}

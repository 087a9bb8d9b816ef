// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the project's own files are: configurations, guest kernel, build results.

use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// The checkout that this program works on.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Finds it: `HIPRI_ROOT`, else the current directory or one above it, else the place where
    /// this program was built.
    ///
    /// # Errors
    /// Exit 2, when none of them holds the project's files.
    pub fn find() -> Result<Self, Failure> {
        let told = std::env::var_os("HIPRI_ROOT").map(PathBuf::from);
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let here = std::env::current_dir().unwrap_or_default();
        told.iter()
            .map(PathBuf::as_path)
            .chain(here.ancestors())
            .chain(built)
            .find(|place| is_root(place))
            .map(|root| Self {
                root: root.to_owned(),
            })
            .ok_or_else(|| {
                Failure::usage(
                    "the project's files are not here: start hipri inside its checkout, or name it in HIPRI_ROOT",
                )
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

fn is_root(place: &Path) -> bool {
    ["configs", "guest-kernel", "Cargo.toml"]
        .iter()
        .all(|name| place.join(name).exists())
}

/// Reads a file of ours; a mistake in it is one sentence with file, line and key.
///
/// # Errors
/// Exit 2.
pub fn parse_toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        Failure::usage(format!(
            "{}: line {line}: {}",
            path.display(),
            error.message().trim_end()
        ))
    })
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

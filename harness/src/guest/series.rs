// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A patch series and the tree that it makes of another one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use super::cache::{Key, write_atomically};
use super::process::command;
use super::tree;
use crate::exit::Failure;

/// Patches in the order in which they apply.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<Patch>);

/// One patch, in git's format.
#[derive(Debug, Clone)]
pub struct Patch {
    /// File name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its content.
    pub data: Vec<u8>,
}

impl Series {
    /// All `*.patch` of a directory by name, but for the cover letter (0000). A directory that is
    /// not there is an empty series.
    ///
    /// # Errors
    /// When a patch cannot be read.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let Ok(entries) = fs::read_dir(dir) else {
            return Ok(Self::default());
        };
        let mut names = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<Vec<_>>>()
            .with_context(|| format!("cannot read {}", dir.display()))?;
        names.retain(|name| is_patch(name));
        names.sort();
        let read = |name: String| {
            let path = dir.join(&name);
            let data =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Patch { name, path, data })
        };
        names
            .into_iter()
            .map(read)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// These patches, then those of another series.
    pub fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The patches.
    pub fn patches(&self) -> &[Patch] {
        &self.0
    }

    /// A key that depends on the patches too.
    pub fn fold_into(&self, key: Key) -> Key {
        let patches = self.0.iter();
        patches.fold(key, |key, patch| key.with(&patch.name, &patch.data))
    }

    /// Applies the series to a tree that nothing else is made of.
    ///
    /// # Errors
    /// Exit 3, naming the patch that does not fit.
    pub fn apply_in_place(&self, tree: &Path) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|patch| patch.apply(tree, tree))
    }

    /// Makes `copy` the tree `base` with the series applied. Files whose content stays keep their
    /// time of modification.
    ///
    /// # Errors
    /// Exit 3, naming the patch that does not fit.
    pub fn apply(&self, base: &Path, copy: &Path, scratch: &Path) -> anyhow::Result<()> {
        let touched = self.touched()?;
        for path in &touched {
            if base.join(path).is_file() {
                let to = scratch.join(path);
                let parent = to.parent().unwrap_or(scratch);
                fs::create_dir_all(parent)
                    .and_then(|()| fs::copy(base.join(path), &to))
                    .with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
        for patch in &self.0 {
            patch.apply(base, scratch)?;
        }
        tree::mirror(base, copy, &touched)
            .with_context(|| format!("cannot copy {} to {}", base.display(), copy.display()))?;
        for path in &touched {
            let (from, to) = (scratch.join(path), copy.join(path));
            if !from.is_file() {
                // Deleted by the series, or never there.
                let _ = fs::remove_file(&to);
                continue;
            }
            let new = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            if fs::read(&to).ok().as_ref() != Some(&new) {
                write_source(&from, &to, &new)?;
            }
        }
        Ok(())
    }

    /// Makes everything that the series touches younger than any object made so far.
    ///
    /// # Errors
    /// When a file's time cannot be set.
    pub fn freshen(&self, tree: &Path) -> anyhow::Result<()> {
        let now = SystemTime::now();
        for path in self.touched()?.iter().map(|path| tree.join(path)) {
            if path.is_file() {
                fs::File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(now))
                    .with_context(|| format!("cannot set the time of {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Every file that a patch names, before or after it.
    fn touched(&self) -> anyhow::Result<BTreeSet<PathBuf>> {
        let mut touched = BTreeSet::new();
        for patch in &self.0 {
            let text = String::from_utf8_lossy(&patch.data);
            for line in text.lines() {
                let Some(names) = line.strip_prefix("diff --git a/") else {
                    continue;
                };
                let Some((old, new)) = names.split_once(" b/") else {
                    continue;
                };
                for name in [old, new] {
                    let path = PathBuf::from(name);
                    if path
                        .components()
                        .any(|part| !matches!(part, Component::Normal(_)))
                    {
                        return Err(Failure::infrastructure(format!(
                            "{}: patches {name}, which is outside the tree",
                            patch.path.display()
                        ))
                        .into());
                    }
                    touched.insert(path);
                }
            }
        }
        Ok(touched)
    }
}

impl Patch {
    /// Applies it without any latitude to the files in `scratch`.
    fn apply(&self, base: &Path, scratch: &Path) -> anyhow::Result<()> {
        let ceiling = scratch.parent().unwrap_or(scratch);
        let output = command("git")
            .args(["apply", "--whitespace=nowarn"])
            .arg(&self.path)
            .current_dir(scratch)
            // Inside some repository's work tree it would apply to that one, or to nothing.
            .env("GIT_CEILING_DIRECTORIES", ceiling)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .output()
            .context("cannot run git")?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(Failure::infrastructure(format!(
            "{} does not apply to {}: {}",
            self.name,
            base.display(),
            errors.trim().replace('\n', "; ")
        ))
        .into())
    }
}

/// Whether a file in the series' directory is one of its patches.
pub fn is_patch(name: &str) -> bool {
    name.ends_with(".patch") && !name.starts_with("0000-")
}

/// A new file with a new time, whatever it replaces: a hard link's other name must not change.
fn write_source(from: &Path, to: &Path, data: &[u8]) -> anyhow::Result<()> {
    write_atomically(to, data)?;
    fs::metadata(from)
        .and_then(|metadata| fs::set_permissions(to, metadata.permissions()))
        .with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
diff --git a/f b/f
--- a/f
+++ b/f
@@ -1 +1 @@
-one
+two
diff --git a/d/new b/d/new
new file mode 100644
--- /dev/null
+++ b/d/new
@@ -0,0 +1 @@
+new
";

    struct Case(tempfile::TempDir);

    impl Case {
        fn new(text: &str) -> Self {
            let case = Self(tempfile::tempdir().unwrap());
            for dir in ["base", "patches"] {
                fs::create_dir(case.0.path().join(dir)).unwrap();
            }
            fs::write(case.0.path().join("base/f"), text).unwrap();
            fs::write(case.0.path().join("base/g"), "same\n").unwrap();
            case
        }
        fn patch(&self, text: &str) {
            fs::write(self.0.path().join("patches/0001-x.patch"), text).unwrap();
            fs::write(self.0.path().join("patches/0000-cover.patch"), "no").unwrap();
        }
        fn apply(&self) -> anyhow::Result<()> {
            let dir = self.0.path();
            let scratch = tempfile::tempdir_in(dir).unwrap();
            let series = Series::read(&dir.join("patches")).unwrap();
            series.apply(&dir.join("base"), &dir.join("copy"), scratch.path())
        }
        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.0.path().join(path)).unwrap()
        }
    }

    #[test]
    fn freshen_touches_what_the_series_does_and_nothing_else() {
        let tree = tempfile::tempdir().unwrap();
        let old = SystemTime::UNIX_EPOCH;
        for name in ["f", "other"] {
            let file = fs::File::create(tree.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
        let series = Series(vec![Patch {
            name: "0001-x.patch".into(),
            path: "0001-x.patch".into(),
            data: PATCH.into(),
        }]);
        series.freshen(tree.path()).unwrap();
        let modified = |name| {
            tree.path()
                .join(name)
                .metadata()
                .unwrap()
                .modified()
                .unwrap()
        };
        assert!(modified("f") > old);
        assert_eq!(modified("other"), old);
    }

    #[test]
    fn apply_patch_changes_copy_only() {
        let case = Case::new("one\n");
        case.patch(PATCH);
        case.apply().unwrap();
        assert_eq!(case.read("copy/f"), "two\n");
        assert_eq!(case.read("copy/d/new"), "new\n");
        assert_eq!(case.read("copy/g"), "same\n");
        assert_eq!(case.read("base/f"), "one\n");
    }

    #[test]
    fn apply_shrunk_series_takes_changes_back() {
        let case = Case::new("one\n");
        case.patch(PATCH);
        case.apply().unwrap();
        fs::remove_file(case.0.path().join("patches/0001-x.patch")).unwrap();
        case.apply().unwrap();
        assert_eq!(case.read("copy/f"), "one\n");
        assert!(!case.0.path().join("copy/d").exists());
    }

    #[test]
    fn apply_other_source_names_the_patch() {
        let case = Case::new("three\n");
        case.patch(PATCH);
        let error = case.apply().unwrap_err().to_string();
        assert!(
            error.starts_with("0001-x.patch does not apply to "),
            "{error}"
        );
    }

    #[test]
    fn apply_path_outside_is_refused() {
        let case = Case::new("one\n");
        case.patch(&PATCH.replace("d/new", "../new"));
        let error = case.apply().unwrap_err().to_string();
        assert!(error.contains("outside the tree"), "{error}");
    }
}

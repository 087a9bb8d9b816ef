// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copies of a source tree that cost little: hard links where nothing differs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::Arch;
use super::cache::{Key, mtime_ns};

/// Begins the name of each build directory inside a source tree of ours.
const BUILD: &str = "build-";

/// Name of the build directory inside a source tree of ours. As a child of the tree it makes the
/// kernel's build use relative paths, so that objects can be taken over into another tree.
pub fn build_dir(arch: Arch) -> String {
    format!("{BUILD}{arch}")
}

/// What is left alone where it stands at the top of a tree.
fn is_own(name: &OsStr) -> bool {
    name == ".git"
        || [Arch::Um, Arch::X86_64]
            .map(build_dir)
            .iter()
            .any(|own| name == own.as_str())
}

/// Makes `copy` the same as `base`, but for the files in `except` (paths below the top).
///
/// What changes in a copy that was there before gets a new time of modification, even when its
/// content is older: make must see that it changed.
///
/// # Errors
/// When a file cannot be read or made.
pub fn mirror(base: &Path, copy: &Path, except: &BTreeSet<PathBuf>) -> io::Result<()> {
    fs::create_dir_all(copy)?;
    let mirror = Mirror { base, copy, except };
    mirror.directory(Path::new(""))
}

struct Mirror<'a> {
    base: &'a Path,
    copy: &'a Path,
    except: &'a BTreeSet<PathBuf>,
}

impl Mirror<'_> {
    fn directory(&self, below: &Path) -> io::Result<()> {
        let mut present = BTreeSet::new();
        for entry in entries(&self.base.join(below), below)? {
            let path = below.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                fs::create_dir_all(self.copy.join(&path))?;
                self.directory(&path)?;
            } else if !self.except.contains(&path) {
                self.file(&path, kind)?;
            }
            present.insert(entry.file_name());
        }
        for entry in entries(&self.copy.join(below), below)? {
            let path = below.join(entry.file_name());
            if present.contains(&entry.file_name()) || self.is_kept(&path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether something that the base lacks is an exception, or a directory of one.
    fn is_kept(&self, path: &Path) -> bool {
        self.except.iter().any(|kept| kept.starts_with(path))
    }

    fn file(&self, path: &Path, kind: FileType) -> io::Result<()> {
        let (from, to) = (self.base.join(path), self.copy.join(path));
        let existed = match fs::symlink_metadata(&to) {
            Ok(there) if is_same(&from, &to, &there)? => return Ok(()),
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if existed {
            fs::remove_file(&to)?;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)
        } else if existed || fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map(drop)
        } else {
            Ok(())
        }
    }
}

fn is_same(from: &Path, to: &Path, there: &fs::Metadata) -> io::Result<bool> {
    let here = fs::symlink_metadata(from)?;
    if here.file_type().is_symlink() || there.file_type().is_symlink() {
        return Ok(here.file_type().is_symlink()
            && there.file_type().is_symlink()
            && fs::read_link(from)? == fs::read_link(to)?);
    }
    if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
        return Ok(true);
    }
    Ok(here.len() == there.len() && fs::read(from)? == fs::read(to)?)
}

/// What is in a directory, but for what [`is_own`] at the top.
fn entries(dir: &Path, below: &Path) -> io::Result<Vec<DirEntry>> {
    let at_top = below.as_os_str().is_empty();
    fs::read_dir(dir)?
        .filter(|entry| !(at_top && entry.as_ref().is_ok_and(|entry| is_own(&entry.file_name()))))
        .collect()
}

/// A hash over names, sizes and times of all files: changes whenever somebody edits the tree.
///
/// # Errors
/// When it cannot be read.
pub fn fingerprint(dir: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    collect(dir, Path::new(""), &mut files)?;
    files.sort();
    let key = files.iter().fold(Key::new("tree", 1), |key, file| {
        key.with("file", file.as_bytes())
    });
    Ok(key.finish())
}

fn collect(dir: &Path, below: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for entry in entries(&dir.join(below), below)? {
        let path = below.join(entry.file_name());
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            collect(dir, &path, files)?;
        } else {
            let time = mtime_ns(&metadata);
            files.push(format!("{} {} {time}", path.display(), metadata.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair(tempfile::TempDir);

    impl Pair {
        fn new(files: &[(&str, &str)]) -> Self {
            let pair = Self(tempfile::tempdir().unwrap());
            fs::create_dir(pair.copy()).unwrap();
            for (path, text) in files {
                pair.write(path, text);
            }
            pair
        }
        fn base(&self) -> PathBuf {
            self.0.path().join("base")
        }
        fn copy(&self) -> PathBuf {
            self.0.path().join("copy")
        }
        fn write(&self, path: &str, text: &str) {
            let path = self.base().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // As editors do it: a new file takes the old one's name.
            let _ = fs::remove_file(&path);
            fs::write(path, text).unwrap();
        }
        fn mirror(&self, except: &[&str]) {
            let except = except.iter().map(PathBuf::from).collect();
            mirror(&self.base(), &self.copy(), &except).unwrap();
        }
        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.copy().join(path)).unwrap()
        }
    }

    #[test]
    fn mirror_replaced_file_is_copied_with_new_time() {
        let pair = Pair::new(&[("a/f", "1"), ("g", "2")]);
        pair.mirror(&[]);
        pair.write("a/f", "3");
        let old = std::time::UNIX_EPOCH;
        let file = fs::File::options()
            .write(true)
            .open(pair.base().join("a/f"));
        file.unwrap().set_modified(old).unwrap();
        pair.mirror(&[]);
        assert_eq!(pair.read("a/f"), "3");
        let time = fs::metadata(pair.copy().join("a/f")).unwrap().modified();
        assert!(time.unwrap() > old);
    }

    #[test]
    fn mirror_exceptions_and_build_stay_strangers_go() {
        let pair = Pair::new(&[("a/f", "1"), (".git/x", "")]);
        for (path, text) in [("new/by/series", "s"), ("build-um/o", "o"), ("old", "x")] {
            let path = pair.copy().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        pair.mirror(&["new/by/series"]);
        assert_eq!(pair.read("new/by/series"), "s");
        assert_eq!(pair.read("build-um/o"), "o");
        assert!(!pair.copy().join("old").exists());
        assert!(!pair.copy().join(".git").exists());
    }

    #[test]
    fn fingerprint_edit_changes_it() {
        let pair = Pair::new(&[("a/f", "1")]);
        let before = fingerprint(&pair.base()).unwrap();
        assert_eq!(fingerprint(&pair.base()).unwrap(), before);
        pair.write("a/f", "22");
        assert_ne!(fingerprint(&pair.base()).unwrap(), before);
    }
}

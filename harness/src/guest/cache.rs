// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Content addressing: what something is made of decides its folder's name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::paths::Paths;

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Collects what goes into an artifact. Each part has a name, so that moving bytes from one part
/// to the next changes the key.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// For a kind of artifact and the version of the recipe that makes it.
    pub fn new(kind: &str, recipe: u32) -> Self {
        Self::default()
            .with("kind", kind)
            .with("recipe", recipe.to_string())
    }

    /// Adds a part.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update(part.len().to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// The folder's name: 32 hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.0.finalize()[..16])
    }
}

/// SHA-256 of files, remembered as long as size and time of modification stay.
pub struct Hashes {
    file: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
    changed: bool,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    size: u64,
    mtime_ns: i128,
    sha256: String,
}

impl Hashes {
    /// What earlier runs remembered; nothing if that cannot be read.
    pub fn load(paths: &Paths) -> Self {
        let file = paths.cache().join("hashes.json");
        let entries = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self {
            file,
            entries,
            changed: false,
        }
    }

    /// The SHA-256 of a file's content, in hexadecimal digits.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sha256(&mut self, path: &Path) -> anyhow::Result<String> {
        let failed = || format!("cannot read {}", path.display());
        let metadata = fs::metadata(path).with_context(failed)?;
        let mtime_ns = mtime_ns(&metadata);
        if let Some(entry) = self.entries.get(path)
            && entry.size == metadata.len()
            && entry.mtime_ns == mtime_ns
        {
            return Ok(entry.sha256.clone());
        }
        let sha256 = sha256_of(path).with_context(failed)?;
        let entry = Entry {
            size: metadata.len(),
            mtime_ns,
            sha256: sha256.clone(),
        };
        self.entries.insert(path.to_path_buf(), entry);
        self.changed = true;
        Ok(sha256)
    }

    /// Remembers for the next run. Files that are gone are forgotten.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn save(&mut self) -> anyhow::Result<()> {
        if self.changed {
            self.entries.retain(|path, _| path.exists());
            write_json(&self.file, &self.entries)?;
            self.changed = false;
        }
        Ok(())
    }
}

/// Time of modification in nanoseconds.
pub fn mtime_ns(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// The SHA-256 of a file's content, in hexadecimal digits.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

/// Writes a file that is never seen half written.
///
/// # Errors
/// When it cannot be written.
pub fn write_atomically(path: &Path, data: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        std::io::Write::write_all(&mut file, data)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// [`write_atomically`] with JSON.
///
/// # Errors
/// As there.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value).context("cannot write JSON")?;
    text.push(b'\n');
    write_atomically(path, &text)
}

/// Reads what [`write_json`] wrote; `None` if there is nothing of use.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Gives a complete artifact its place. If somebody else's is there, that one stays.
///
/// # Errors
/// When it cannot be renamed.
pub fn publish(scratch: tempfile::TempDir, place: &Path) -> anyhow::Result<()> {
    let publish = || -> std::io::Result<()> {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        // Made for its owner only; artifacts are for whoever runs the guest.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(scratch.path(), mode)?;
        fs::rename(scratch.path(), place)
    };
    match publish() {
        Err(_) if place.is_dir() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make {}", place.display())),
        Ok(()) => {
            // It has moved: there is nothing left to remove.
            let _ = scratch.keep();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_moved_byte_changes_it() {
        let one = Key::new("k", 1).with("a", "xy").with("b", "z").finish();
        let other = Key::new("k", 1).with("a", "x").with("b", "yz").finish();
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
    }

    #[test]
    fn sha256_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut hashes = Hashes::load(&Paths::new(dir.path().to_path_buf()));
        let path = dir.path().join("f");
        fs::write(&path, "abc").unwrap();
        let first = hashes.sha256(&path).unwrap();
        assert!(first.starts_with("ba7816bf"));
        fs::write(&path, "abcd").unwrap();
        assert_ne!(hashes.sha256(&path).unwrap(), first);
    }
}

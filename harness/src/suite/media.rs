// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A medium that outlives a boot: a file in the result folder, in which what the guest says it wrote
//! can be looked for from outside, and which the next boot finds as the last one left it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context;
use emulator::config::Bytes;
use sha2::{Digest, Sha256};

use crate::exit::Failure;

/// What a line of a script's output begins with that says what the medium holds: offset and length in
/// bytes and the SHA-256 of what was written there.
const MARK: &str = "media ";

/// A device whose first namespace is a file. Dropping it removes the file.
#[derive(Debug)]
pub struct MediaFile {
    /// The device's configuration.
    pub device: PathBuf,
    image: PathBuf,
}

impl MediaFile {
    /// Makes it of the device at `device`, in `folder`.
    ///
    /// # Errors
    /// Exit 2, when that device has no namespace with a size; exit 3, when a file cannot be written.
    pub fn new(device: &Path, folder: &Path, prefix: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(device)
            .with_context(|| format!("reading {}", device.display()))?;
        let folder = folder.canonicalize().context("finding the result folder")?;
        let image = folder.join(format!("{prefix}media.img"));
        let (config, size) = in_file(&text, &image).ok_or_else(|| {
            Failure::usage(format!(
                "{}: it has no namespace with a size",
                device.display()
            ))
        })?;
        let made = Self {
            device: folder.join(format!("{prefix}device.toml")),
            image,
        };
        File::create(&made.image)
            .and_then(|file| file.set_len(size))
            .with_context(|| format!("making {}", made.image.display()))?;
        std::fs::write(&made.device, config)
            .with_context(|| format!("writing {}", made.device.display()))?;
        Ok(made)
    }

    /// Looks whether the file holds what `output` says: what speaks against it. Saying nothing does.
    pub fn complaints(&self, output: &str) -> Vec<String> {
        let lines: Vec<_> = output
            .lines()
            .filter_map(|line| line.strip_prefix(MARK))
            .collect();
        if lines.is_empty() {
            return vec![format!(
                "it does not say what it wrote: no line begins with {MARK:?}"
            )];
        }
        let wrong = |line: &&str| match self.holds(line) {
            Ok(true) => None,
            Ok(false) => Some(format!("the medium holds something else than {line}")),
            Err(error) => Some(format!("{MARK}{line}: {error:#}")),
        };
        lines.iter().filter_map(wrong).collect()
    }

    fn holds(&self, line: &str) -> anyhow::Result<bool> {
        let mut words = line.split_whitespace();
        let mut number = || -> anyhow::Result<u64> {
            let word = words.next().context("a number is missing")?;
            word.parse().with_context(|| format!("{word} is no number"))
        };
        let (offset, length) = (number()?, number()?);
        let wanted = words.next().context("the hash is missing")?;
        let mut file = File::open(&self.image).context("opening the medium")?;
        file.seek(SeekFrom::Start(offset))?;
        let mut hasher = Sha256::new();
        let mut part = file.take(length);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match part.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        anyhow::ensure!(part.limit() == 0, "beyond the end of the medium");
        let found: String = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(found == wanted)
    }
}

impl Drop for MediaFile {
    fn drop(&mut self) {
        // Big, and of no use any more.
        let _ = std::fs::remove_file(&self.image);
    }
}

/// The configuration with its first namespace in `image`, and that namespace's size.
fn in_file(config: &str, image: &Path) -> Option<(String, u64)> {
    let mut config: toml::Table = config.parse().ok()?;
    let namespace = config.get_mut("namespace")?.get_mut(0)?.as_table_mut()?;
    let size: Bytes = namespace.get("size")?.as_str()?.parse().ok()?;
    namespace.insert("media".into(), "file".into());
    namespace.insert("path".into(), image.display().to_string().into());
    Some((config.to_string(), size.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "[[namespace]]\nmedia = \"ram\"\nsize = \"1MiB\"\nlba = 512\n";

    fn media() -> (tempfile::TempDir, MediaFile) {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("d.toml");
        std::fs::write(&device, DEVICE).unwrap();
        let media = MediaFile::new(&device, folder.path(), "x-").unwrap();
        (folder, media)
    }

    #[test]
    fn new_device_has_the_file_and_the_size_and_is_one_that_the_emulator_takes() {
        let (_folder, media) = media();
        assert_eq!(media.image.metadata().unwrap().len(), 1 << 20);
        let text = media.device.display().to_string();
        emulator::config::DeviceConfig::load(&text).unwrap();
        let image = media.image.clone();
        drop(media);
        assert!(!image.exists());
    }

    #[test]
    fn complaints_are_about_what_is_not_there_and_about_silence() {
        let (_folder, media) = media();
        let zeros = "076a27c79e5ace2a3d47f9dd2e83e4ff6ea8872b3c2218f66c92b89b55f36560";
        let good = format!("media 4096 512 {zeros}\n");
        assert_eq!(media.complaints(&good), Vec::<String>::new());
        for bad in [
            "nothing\n".to_owned(),
            good.replace("076", "176"),
            good.replace("4096", "1048576"),
            "media 1 2\n".to_owned(),
            "media x\n".to_owned(),
        ] {
            assert_eq!(media.complaints(&bad).len(), 1, "{bad}");
        }
    }
}

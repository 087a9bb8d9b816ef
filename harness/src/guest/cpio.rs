// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Archives that a kernel unpacks into its first root: cpio in the `newc` format (the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! The same entries always give the same bytes: everything belongs to root and is as old as 1970.

use std::io::{self, Write};

/// Length of the whole archive is a multiple of this. The kernel wants 4 of an archive that
/// another one follows; 512 is what cpio itself does.
const BLOCK: u64 = 512;

/// Names the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// Kinds of files, as in `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// An archive under construction. Paths have no leading `/`; a directory comes before what is in
/// it.
pub struct Archive<W> {
    out: W,
    written: u64,
    entries: u32,
}

/// What one entry's head says beside its name.
#[derive(Default)]
struct Head {
    mode: u32,
    size: usize,
    device: (u32, u32),
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub fn new(out: W) -> Self {
        Self {
            out,
            written: 0,
            entries: 0,
        }
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// When it cannot be written; so with all of these.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        let mode = DIRECTORY | 0o755;
        self.entry(
            path,
            &Head {
                mode,
                ..Head::default()
            },
            &[],
        )
    }

    /// Adds a file with these permission bits.
    ///
    /// # Errors
    /// Also when it has 4 GiB or more, which the format cannot say.
    pub fn file(&mut self, path: &str, permissions: u32, data: &[u8]) -> io::Result<()> {
        let head = Head {
            mode: REGULAR | permissions & 0o7777,
            size: data.len(),
            ..Head::default()
        };
        self.entry(path, &head, data)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As [`Archive::directory`].
    pub fn symbolic_link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let head = Head {
            mode: SYMBOLIC_LINK | 0o777,
            size: target.len(),
            ..Head::default()
        };
        self.entry(path, &head, target.as_bytes())
    }

    /// Adds the node of a character device.
    ///
    /// # Errors
    /// As [`Archive::directory`].
    pub fn character_device(
        &mut self,
        path: &str,
        permissions: u32,
        device: (u32, u32),
    ) -> io::Result<()> {
        let head = Head {
            mode: CHARACTER_DEVICE | permissions & 0o7777,
            device,
            ..Head::default()
        };
        self.entry(path, &head, &[])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// As [`Archive::directory`].
    pub fn finish(mut self) -> io::Result<W> {
        self.entry(TRAILER, &Head::default(), &[])?;
        self.pad(BLOCK)?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, head: &Head, data: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::other(format!("{path} is too large for a cpio archive"));
        let size = u32::try_from(head.size).map_err(too_large)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_large)?;
        self.entries += 1;
        // Inode, mode, user, group, links, time of modification, size, device (2), device of a
        // node (2), length of the name, check sum (which this format does not have).
        let fields = [
            self.entries,
            head.mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            head.device.0,
            head.device.1,
            name_size,
            0,
        ];
        let mut text = String::from("070701");
        for field in fields {
            text += &format!("{field:08x}");
        }
        self.write(text.as_bytes())?;
        self.write(path.as_bytes())?;
        self.write(&[0])?;
        self.pad(4)?;
        self.write(data)?;
        self.pad(4)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.written += data.len() as u64;
        self.out.write_all(data)
    }

    fn pad(&mut self, unit: u64) -> io::Result<()> {
        while !self.written.is_multiple_of(unit) {
            self.write(&[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.directory("d").unwrap();
        archive.file("d/f", 0o640, b"hello").unwrap();
        archive.symbolic_link("l", "d/f").unwrap();
        archive.character_device("c", 0o600, (5, 1)).unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn finish_same_entries_give_same_whole_blocks() {
        let bytes = sample();
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(bytes, sample());
    }

    #[test]
    fn entry_head_and_data_are_aligned() {
        let bytes = sample();
        let at = bytes.windows(5).position(|part| part == b"hello").unwrap();
        assert_eq!(at % 4, 0);
        let next = bytes[at..].windows(6).position(|part| part == b"070701");
        assert_eq!(next, Some(8));
    }

    #[test]
    fn archive_is_what_busybox_unpacks() {
        let dir = tempfile::tempdir().unwrap();
        let mut cpio = Command::new("busybox")
            .args(["cpio", "-i"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("busybox is in scripts/packages.txt");
        // The node wants privileges; what comes before it does not.
        let mut archive = Archive::new(cpio.stdin.take().unwrap());
        archive.directory("d").unwrap();
        archive.file("d/f", 0o640, b"hello").unwrap();
        archive.symbolic_link("l", "d/f").unwrap();
        drop(archive.finish().unwrap());
        assert!(cpio.wait().unwrap().success());
        assert_eq!(std::fs::read(dir.path().join("l")).unwrap(), b"hello");
        let metadata = std::fs::metadata(dir.path().join("d/f")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        assert_eq!(mode & 0o7777, 0o640);
    }
}

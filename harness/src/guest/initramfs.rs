// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The image for guests that cannot mount a directory of the host: an archive that is loaded with
//! the kernel, and behind it, made anew for each boot, a small one with what this boot does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hipri_agent::COMMAND_LIST_FILE;

use super::cpio::Archive;
use super::paths::Paths;
use crate::progress::Progress;

/// Raised when the archive of the same image would come out different.
const RECIPE: u32 = 1;

/// Path, permissions, major and minor number of nodes that are needed before devtmpfs is mounted.
const NODES: [(&str, u32, (u32, u32)); 2] =
    [("dev/console", 0o600, (5, 1)), ("dev/null", 0o666, (1, 3))];

/// Where [`overlay`] puts the command list: for `hipri.run=` on the kernel's command line.
pub const RUN_DIR: &str = "/hipri";

/// Something that [`overlay`] adds to the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayFile {
    /// Absolute path in the guest, not below a directory that the agent mounts over (`/tmp`,
    /// `/run`, `/var`, `/mnt`, `/root`, `/srv`, `/dev`, `/proc`, `/sys`) and through no link.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// The whole content.
    pub data: Vec<u8>,
}

/// The archive of an image, made if need be.
pub fn build(root: &Path, paths: &Paths, progress: &dyn Progress) -> anyhow::Result<PathBuf> {
    let place = place(root);
    if place.is_file() {
        return Ok(place);
    }
    let step = progress.step("guest initramfs");
    let scratch = paths.scratch("initramfs")?;
    let unfinished = scratch.path().join("initramfs.cpio");
    let failed = || format!("cannot write {}", place.display());
    write(root, &unfinished).with_context(failed)?;
    fs::rename(&unfinished, &place).with_context(failed)?;
    let size = fs::metadata(&place).with_context(failed)?.len();
    step.done(&format!("{} MiB", size >> 20));
    Ok(place)
}

/// The archive of an image, if it has been made.
pub fn find(root: &Path) -> Option<PathBuf> {
    Some(place(root)).filter(|place| place.is_file())
}

/// Beside the image's root, whose directory is named after its content.
fn place(root: &Path) -> PathBuf {
    root.with_file_name(format!("initramfs-{RECIPE}.cpio"))
}

fn write(root: &Path, to: &Path) -> io::Result<()> {
    let mut archive = Archive::new(BufWriter::with_capacity(1 << 20, File::create(to)?));
    add_directory(&mut archive, root, "")?;
    for (path, permissions, device) in NODES {
        archive.character_device(path, permissions, device)?;
    }
    archive.finish()?.flush()
}

fn add_directory<W: Write>(archive: &mut Archive<W>, dir: &Path, below: &str) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let from = entry.path();
        let path = format!("{below}{}", utf8(Path::new(&entry.file_name()))?);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            archive.directory(&path)?;
            add_directory(archive, &from, &format!("{path}/"))?;
        } else if kind.is_symlink() {
            archive.symbolic_link(&path, utf8(&fs::read_link(&from)?)?)?;
        } else {
            let mode = entry.metadata()?.permissions().mode();
            archive.file(&path, mode, &fs::read(&from)?)?;
        }
    }
    Ok(())
}

fn utf8(path: &Path) -> io::Result<&str> {
    path.to_str()
        .ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
}

/// An archive to be put behind the image's: the command list in [`RUN_DIR`] and some files.
///
/// # Errors
/// When a file has 4 GiB or more.
pub fn overlay(commands: &[u8], files: &[OverlayFile]) -> anyhow::Result<Vec<u8>> {
    let list = format!("{RUN_DIR}/{COMMAND_LIST_FILE}");
    let own = [(list.as_str(), 0o644, commands)];
    let others = files
        .iter()
        .map(|file| (file.path.as_str(), file.mode, file.data.as_slice()));
    let mut archive = Archive::new(Vec::new());
    let mut made = BTreeSet::new();
    let add = |archive: &mut Archive<Vec<u8>>| -> io::Result<()> {
        for (path, mode, data) in own.into_iter().chain(others) {
            let path = path.trim_start_matches('/');
            for (end, _) in path.match_indices('/') {
                if made.insert(path[..end].to_owned()) {
                    archive.directory(&path[..end])?;
                }
            }
            archive.file(path, mode, data)?;
        }
        Ok(())
    };
    add(&mut archive)
        .and_then(|()| archive.finish())
        .context("cannot make the guest's overlay")
}

/// Writes the image's archive and the overlay one behind the other, for those who load one file.
///
/// # Errors
/// When a file cannot be read or written.
pub fn join(initramfs: &Path, overlay: &[u8], to: &Path) -> anyhow::Result<()> {
    let join = || -> io::Result<()> {
        fs::copy(initramfs, to)?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
        File::options().append(true).open(to)?.write_all(overlay)
    };
    join().with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names in an archive, in order.
    fn names(mut archive: &[u8]) -> Vec<String> {
        let field = |head: &[u8], index: usize| {
            let digits = &head[6 + 8 * index..][..8];
            usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
        };
        let mut names = Vec::new();
        while archive.starts_with(b"070701") {
            let (size, name) = (field(archive, 6), field(archive, 11));
            names.push(String::from_utf8(archive[110..][..name - 1].to_vec()).unwrap());
            let data = (110 + name).next_multiple_of(4);
            archive = &archive[data + size.next_multiple_of(4)..];
        }
        assert!(archive.iter().all(|&byte| byte == 0));
        names
    }

    #[test]
    fn overlay_directories_come_once_before_their_files() {
        let file = |path: &str| OverlayFile {
            path: path.into(),
            mode: 0o644,
            data: b"x".to_vec(),
        };
        let bytes = overlay(b"{}", &[file("/hipri/m/a"), file("/hipri/m/b")]).unwrap();
        assert_eq!(
            names(&bytes),
            [
                "hipri",
                "hipri/commands.json",
                "hipri/m",
                "hipri/m/a",
                "hipri/m/b",
                "TRAILER!!!"
            ]
        );
    }

    #[test]
    fn write_tree_is_sorted_and_has_a_console() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for path in ["usr/bin", "dev"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("init"), "i").unwrap();
        fs::write(root.join("usr/bin/a"), "a").unwrap();
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
        let archive = dir.path().join("archive");
        write(&root, &archive).unwrap();
        assert_eq!(
            names(&fs::read(&archive).unwrap()),
            [
                "bin",
                "dev",
                "init",
                "usr",
                "usr/bin",
                "usr/bin/a",
                "dev/console",
                "dev/null",
                "TRAILER!!!"
            ]
        );
    }

    #[test]
    fn join_overlay_begins_on_a_block() {
        let dir = tempfile::tempdir().unwrap();
        let [image, both] = ["image", "both"].map(|name| dir.path().join(name));
        let bytes = overlay(b"{}", &[]).unwrap();
        fs::write(&image, &bytes).unwrap();
        join(&image, &bytes, &both).unwrap();
        assert_eq!(fs::read(&both).unwrap(), [bytes.clone(), bytes].concat());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files that come with the command list, and files that go back.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use hipri_agent::{Event, FileEntry};

use crate::reporter::Reporter;

/// Bytes in one [`Event::File`]; small enough that no line of the channel gets unwieldy.
const PIECE: usize = 32 * 1024;

/// Writes a file of the command list.
pub fn write(entry: &FileEntry) -> anyhow::Result<()> {
    let path = Path::new(&entry.path);
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, &entry.data)?;
        fs::set_permissions(path, Permissions::from_mode(entry.mode.unwrap_or(0o644)))
    };
    write().with_context(|| format!("cannot write {}", entry.path))
}

/// Sends a file back in pieces; one that cannot be read is reported as such.
pub fn collect(job: u32, path: &str, reporter: &Reporter) {
    let piece = |data: Vec<u8>, last, error: Option<std::io::Error>| Event::File {
        job,
        path: path.to_owned(),
        data: data.into(),
        last,
        error: error.map(|error| error.to_string()),
    };
    let mut file = match open_regular(path) {
        Ok(file) => file,
        Err(error) => return reporter.send(piece(Vec::new(), true, Some(error))),
    };
    loop {
        let mut data = Vec::with_capacity(PIECE);
        let result = file.by_ref().take(PIECE as u64).read_to_end(&mut data);
        let last = data.len() < PIECE || result.is_err();
        reporter.send(piece(data, last, result.err()));
        if last {
            return;
        }
    }
}

/// Refuses what may never end, such as `/dev/zero`.
fn open_regular(path: &str) -> std::io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    File::open(path)
}

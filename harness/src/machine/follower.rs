// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shows a growing log.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Shows a growing file on stderr.
pub(super) struct Follower {
    file: Option<File>,
}

impl Follower {
    /// From the file's beginning.
    pub fn new(path: &Path) -> Self {
        Self {
            file: File::open(path).ok(),
        }
    }

    /// What has come since.
    pub fn show(&mut self) {
        let Some(file) = &mut self.file else { return };
        let mut text = Vec::new();
        // A log that cannot be followed is still in the result folder.
        if file.read_to_end(&mut text).is_ok() {
            eprint!("{}", String::from_utf8_lossy(&text));
        }
    }
}

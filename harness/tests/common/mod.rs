// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the tests of the command line share.

use assert_cmd::Command;
use predicates::prelude::*;

/// `hipri` in an empty directory, with nothing of ours in its environment but the checkout.
pub fn hipri(folder: &tempfile::TempDir) -> Command {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the checkout");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hipri"));
    command.current_dir(folder.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HIPRI_") {
            command.env_remove(name);
        }
    }
    command.env("HIPRI_ROOT", root);
    command
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// One line on stderr, nothing on stdout.
pub fn one_sentence() -> impl Predicate<str> {
    predicate::function(|text: &str| text.trim_end().lines().count() == 1)
}

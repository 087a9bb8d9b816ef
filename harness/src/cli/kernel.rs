// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which kernel the user wants: one of ours by its name, or a file.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;

use crate::guest::Flavour;
use crate::machine::Machine;

/// The kernel to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelChoice {
    /// One of ours.
    Ours(Flavour),
    /// A file of the user's.
    File(PathBuf),
}

/// The choice that a word stands for.
///
/// # Errors
/// One sentence, when it is no name and no file.
pub fn parse(text: &str) -> Result<KernelChoice, String> {
    // The one for tests is not offered, but it can be named.
    let flavour = Flavour::value_variants()
        .iter()
        .copied()
        .find(|flavour| flavour.name() == text);
    match flavour {
        Some(flavour) => Ok(KernelChoice::Ours(flavour)),
        None if text.contains('/') || Path::new(text).is_file() => {
            Ok(KernelChoice::File(text.into()))
        }
        None => Err("is vanilla, patched, debug, kcsan or a file".to_owned()),
    }
}

impl KernelChoice {
    /// The same choice, when `machine` can boot it; a file by its whole path.
    ///
    /// # Errors
    /// Exit 2, when it cannot.
    pub fn checked(&self, machine: &dyn Machine) -> anyhow::Result<Self> {
        Ok(match self {
            Self::File(path) => {
                machine.check_kernel(path)?;
                // A program is not to be looked for elsewhere.
                Self::File(path.canonicalize().context("finding the kernel")?)
            }
            ours => ours.clone(),
        })
    }
}

impl std::fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ours(flavour) => flavour.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_kernel_names_are_ours_and_paths_are_files() {
        assert_eq!(parse("vanilla"), Ok(KernelChoice::Ours(Flavour::Vanilla)));
        assert_eq!(
            parse("./vmlinux"),
            Ok(KernelChoice::File("./vmlinux".into()))
        );
        assert!(parse("vanila").is_err());
    }
}

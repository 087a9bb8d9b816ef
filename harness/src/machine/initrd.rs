// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the image and the command list reach a guest that sees no directory of the host: as one
//! archive that is loaded with the kernel. A distribution's kernel finds in it the modules that it
//! needs to see the device.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Spec;
use crate::exit::Failure;
use crate::guest;

/// Memory of a kernel with next to nothing on it, in MiB.
const KERNEL_MIB: u64 = 96;

/// Room for what goes behind the image: the command list, kernel modules.
const SLACK: u64 = 64 << 20;

/// Bytes that the archive takes, at most.
pub fn bytes(spec: &Spec<'_>) -> u64 {
    let image = spec.initramfs.and_then(|path| path.metadata().ok());
    image.map_or(0, |image| image.len()) + SLACK
}

/// Makes the archive of this run in the directory `scratch`.
///
/// # Errors
/// Exit 2, when the guest's memory is too small for it; exit 3, when it cannot be written.
pub fn make(spec: &Spec<'_>, scratch: &Path) -> anyhow::Result<PathBuf> {
    let path = scratch.join("initrd");
    let image = spec.initramfs.context("the image has no archive")?;
    let commands = serde_json::to_vec(&spec.commands).context("writing the guest's commands")?;
    let modules = guest::modules_overlay(spec.kernel)?.unwrap_or_default();
    guest::join(image, &guest::overlay(&commands, &modules)?, &path)?;
    let length = path.metadata().context("the image's archive")?.len();
    check_memory(spec.memory_mib, length)?;
    Ok(path)
}

/// The archive of `length` bytes is in the guest's memory twice for a moment, packed and unpacked.
fn check_memory(memory_mib: u64, length: u64) -> Result<(), Failure> {
    let least = 2 * (length >> 20) + KERNEL_MIB;
    if memory_mib < least {
        return Err(Failure::usage(format!(
            "--mem {memory_mib}M is too little for a guest that has its image in memory: give \
             {least}M or more"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_memory_too_little_names_what_is_enough() {
        assert!(check_memory(300, 100 << 20).is_ok());
        let error = check_memory(290, 100 << 20).unwrap_err().to_string();
        assert!(error.contains("296M or more"), "{error}");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel modules that come with the run directory.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;

use anyhow::Context;
use hipri_agent::MODULE_LIST_FILE;
use hipri_agent::cmdline::module_parameters;
use rustix::io::Errno;
use rustix::system::finit_module;

/// Loads the modules that the list in `dir` names; nothing without a list. When it returns, the
/// kernel has probed the devices that were there.
pub fn load(dir: &Path, cmdline: &str) -> anyhow::Result<()> {
    let list = dir.join(MODULE_LIST_FILE);
    if !list.exists() {
        return Ok(());
    }
    let names =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    for name in names.lines() {
        load_one(&dir.join(name), cmdline)
            .with_context(|| format!("cannot load the kernel module {name}"))?;
    }
    Ok(())
}

fn load_one(path: &Path, cmdline: &str) -> anyhow::Result<()> {
    let module = path.file_stem().unwrap_or_default().to_string_lossy();
    let parameters = CString::new(module_parameters(cmdline, &module))?;
    let file = File::open(path)?;
    match finit_module(&file, &parameters, 0) {
        // Loaded already, or built in.
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

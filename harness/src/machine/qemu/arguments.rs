// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU's command line.

use std::ffi::OsString;
use std::path::Path;

use super::executor::Executor;
use super::process;
use super::storage::Storage;
use crate::exit::Failure;
use crate::machine::{Console, Files, Spec, pc};

/// What is the same for every guest: a chipset with PCI Express and nothing on it, and an end in
/// place of a restart.
const ALWAYS: &[&str] = &[
    "-no-user-config",
    "-nodefaults",
    "-display",
    "none",
    "-machine",
    "q35",
    "-no-reboot",
];

/// QEMU's arguments.
///
/// # Errors
/// Exit 2, when a path is not UTF-8.
pub fn arguments(
    spec: &Spec<'_>,
    files: &Files,
    initrd: &Path,
    storage: &Storage,
) -> anyhow::Result<Vec<OsString>> {
    let executor = Executor::choose();
    let mut words: Vec<OsString> = ALWAYS
        .iter()
        .chain(&executor.options())
        .map(OsString::from)
        .collect();
    let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
    add("-smp", executor.processors(spec.cpus).into());
    add("-m", format!("{}M", spec.memory_mib).into());
    add("-kernel", spec.kernel.into());
    add("-initrd", initrd.into());
    let mut kernel_words = executor
        .kernel_words(spec.cpus)
        .iter()
        .map(|word| (*word).to_owned())
        .collect::<Vec<_>>();
    kernel_words.extend(pc::kernel_words(spec)?);
    add("-append", kernel_words.join(" ").into());
    let log = escaped(&files.console)?;
    let console = match spec.console {
        Console::None => format!("file,id=console,path={log},append=on"),
        // Ctrl-C is a byte for the guest.
        Console::Terminal => format!("stdio,id=console,signal=off,logfile={log},logappend=on"),
    };
    add("-chardev", console.into());
    add("-serial", "chardev:console".into());
    let channel = escaped(&files.channel)?;
    add("-chardev", format!("file,id=agent,path={channel}").into());
    add("-serial", "chardev:agent".into());
    // It says when a processor gives up.
    add("-d", "cpu_reset".into());
    add("-D", process::trace(files).into());
    words.extend(storage.arguments()?.into_iter().map(OsString::from));
    Ok(words)
}

/// A path inside an option's value, where a comma ends it and two commas are one.
fn escaped(path: &Path) -> Result<String, Failure> {
    path.to_str()
        .map(|text| text.replace(',', ",,"))
        .ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_comma_is_doubled() {
        assert_eq!(escaped(Path::new("/a,b")).unwrap(), "/a,,b");
    }
}

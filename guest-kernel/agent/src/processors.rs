// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processors that the kernel's command line kept out of the boot.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Where the kernel shows its processors.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Brings every processor online that is not.
pub fn bring_online() -> anyhow::Result<()> {
    bring_online_in(Path::new(PROCESSORS))
}

fn bring_online_in(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        // Processor 0 has no such file where it cannot be switched off.
        let switch = entry?.path().join("online");
        if fs::read_to_string(&switch).is_ok_and(|text| text.trim() == "0") {
            fs::write(&switch, "1")
                .with_context(|| format!("cannot bring {} online", switch.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bring_online_switches_only_what_is_off() {
        let dir = tempfile::tempdir().unwrap();
        for (name, state) in [("cpu1", "0\n"), ("cpu2", "1\n")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("online"), state).unwrap();
        }
        fs::create_dir(dir.path().join("cpu0")).unwrap();
        fs::write(dir.path().join("possible"), "0-2\n").unwrap();
        bring_online_in(dir.path()).unwrap();
        let state = |name| fs::read_to_string(dir.path().join(name).join("online")).unwrap();
        assert_eq!(state("cpu1"), "1");
        assert_eq!(state("cpu2"), "1\n");
        assert!(!dir.path().join("cpu0/online").exists());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a suite's file says.

use std::path::Path;

use serde::Deserialize;

use crate::exit::Failure;
use crate::guest::Flavour;
use crate::machine::DeviceKind;
use crate::repository::parse_toml;

/// A suite.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Suite {
    /// One sentence: what it shows.
    pub description: String,
    /// Speed profile of all its checks: a name or a path.
    #[serde(default = "floor")]
    pub profile: String,
    /// Device of all its checks: a name or a path.
    #[serde(default = "default_device")]
    pub device: String,
    /// The checks, in order.
    #[serde(rename = "check")]
    pub checks: Vec<Check>,
}

/// One check. Checks with the same kernel and the same kernel words share a boot.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Check {
    /// Its name, unique in the suite.
    pub name: String,
    /// Which kernel it needs.
    pub kernel: KernelChoice,
    /// Words for the kernel's command line.
    #[serde(default)]
    pub kernel_args: Vec<String>,
    /// A shell script before the check itself; nothing is counted during it.
    #[serde(default)]
    pub setup: Option<String>,
    /// The shell script that is the check.
    pub run: String,
    /// A shell script after it, whatever happened.
    #[serde(default)]
    pub teardown: Option<String>,
    /// Seconds that each of the scripts may take.
    #[serde(default = "one_minute")]
    pub seconds: u64,
    /// What it says about the device holds for ours only, not for others that a guest may have.
    #[serde(default)]
    pub hipri_device: bool,
    /// What must be seen.
    #[serde(default)]
    pub expect: Expectation,
}

impl Check {
    /// Why the check cannot be run with this device, if it cannot.
    pub fn unfit_for(&self, device: DeviceKind) -> Option<String> {
        if self.expect.counters.is_some() && !device.counts() {
            return Some(format!("needs the device's counters; {device} has none"));
        }
        (self.hipri_device && device != DeviceKind::Hipri)
            .then(|| format!("is about hipri's device; this is {device}"))
    }
}

/// The kernels that a check is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelChoice {
    /// The one without the series.
    Vanilla,
    /// The one with it.
    Patched,
    /// One after the other.
    Both,
}

impl KernelChoice {
    /// The kernels, in order.
    pub fn flavours(self) -> &'static [Flavour] {
        match self {
            Self::Vanilla => &[Flavour::Vanilla],
            Self::Patched => &[Flavour::Patched],
            Self::Both => &Flavour::ALL,
        }
    }
}

/// What a check's script must have done.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expectation {
    /// Its exit code; any but 0 when `fails` is set.
    pub exit: i32,
    /// It must fail.
    pub fails: bool,
    /// Texts that must occur in its output.
    pub output: Vec<String>,
    /// What the device must have counted meanwhile.
    pub counters: Option<CounterRule>,
}

/// How the job's I/Os must have been completed. Their number is what fio says in [`FIO_OUTPUT`].
///
/// [`FIO_OUTPUT`]: super::judge::FIO_OUTPUT
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CounterRule {
    /// All of them polled, and at most this many other commands by interrupt: a file system's
    /// own. On a raw device that is 0.
    pub polled_besides: u64,
}

impl Suite {
    /// Reads a suite's file.
    ///
    /// # Errors
    /// Exit 2, with file, line and key.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let suite: Self = parse_toml(path, &text)?;
        let mut names: Vec<_> = suite.checks.iter().map(|check| &check.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::usage(format!(
                "{}: two checks are called {}",
                path.display(),
                pair[0]
            )));
        }
        Ok(suite)
    }

    /// The kernels that its checks need with this device; one may occur several times.
    pub fn flavours(&self, device: DeviceKind) -> Vec<Flavour> {
        let fit = |check: &&Check| check.unfit_for(device).is_none();
        let checks = self.checks.iter().filter(fit);
        let kernels = checks.map(|check| check.kernel.flavours());
        kernels.flatten().copied().collect()
    }
}

fn floor() -> String {
    "floor".to_owned()
}

fn default_device() -> String {
    "default".to_owned()
}

fn one_minute() -> u64 {
    60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::{Repository, names_in};

    #[test]
    fn load_all_suites_of_the_project_are_valid() {
        let root = Repository::find().unwrap().root().to_owned();
        let folder = root.join("configs/suites");
        let names = names_in(&folder, "toml");
        assert!(!names.is_empty());
        for name in names {
            let suite = Suite::load(&folder.join(format!("{name}.toml"))).unwrap();
            assert!(!suite.checks.is_empty(), "{name}");
        }
    }

    #[test]
    fn unfit_for_another_device_are_checks_that_need_ours() {
        let check = |more: &str| -> Check {
            toml::from_str(&format!(
                "name = \"x\"\nkernel = \"patched\"\nrun = \"true\"\n{more}"
            ))
            .unwrap()
        };
        let counted = check("expect.counters = { polled-besides = 0 }");
        let ours = check("hipri-device = true");
        for check in [&counted, &ours] {
            assert_eq!(check.unfit_for(DeviceKind::Hipri), None);
            let reason = check.unfit_for(DeviceKind::Qemu).unwrap();
            assert!(reason.contains("QEMU's own nvme"), "{reason}");
        }
        assert_eq!(check("").unfit_for(DeviceKind::Qemu), None);
    }

    #[test]
    fn load_unknown_key_names_file_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, "description = \"x\"\nchek = []\n").unwrap();
        let error = Suite::load(&path).unwrap_err().to_string();
        assert!(
            error.contains("mine.toml") && error.contains("chek"),
            "{error}"
        );
    }
}

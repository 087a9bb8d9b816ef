// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a suite's file says.

use std::collections::BTreeMap;
use std::path::Path;

use emulator::fault::Rules;
use serde::Deserialize;

use super::expectation::Expectation;
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
    /// Shell functions and settings that all its scripts begin with.
    #[serde(default)]
    pub prelude: String,
    /// The checks, in order.
    #[serde(rename = "check", default)]
    pub checks: Vec<Check>,
    /// Checks of other suites that this one has too, before its own.
    #[serde(default)]
    pub take: Vec<Take>,
}

/// Checks that another suite lends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Take {
    /// The other suite: a name in configs/suites/.
    pub suite: String,
    /// Names of its checks.
    pub checks: Vec<String>,
}

/// One check. Checks with the same kernel, words, device and faults share a boot.
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
    /// The device, where it is not the suite's.
    #[serde(default)]
    pub device: Option<String>,
    /// Whether it has a boot of its own, because of what it leaves behind. Checks with faults do.
    #[serde(default)]
    pub own_boot: bool,
    /// The first namespace is a file that outlives the boot.
    #[serde(default)]
    pub media_file: bool,
    /// In how many boots it is run, one after another. The scripts find the number of the round and the
    /// last line that the round before printed in `HIPRI_ROUND` and `HIPRI_PREVIOUS`; the draws of faults
    /// differ from round to round.
    #[serde(default = "once")]
    pub rounds: u32,
    /// Rules by which the device errs, as of docs/faults.md.
    #[serde(default, rename = "fault")]
    pub faults: Vec<toml::Table>,
    /// The device errs in odd rounds only: in even ones the guest finds out what is left.
    #[serde(default)]
    pub faults_in_odd_rounds: bool,
    /// A shell script before the check itself; nothing is counted during it.
    #[serde(default)]
    pub setup: Option<String>,
    /// The shell script that is the check.
    pub run: String,
    /// A shell script after it, whatever happened.
    #[serde(default)]
    pub teardown: Option<String>,
    /// Words for the scripts' environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
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
        if !self.faults.is_empty() && device != DeviceKind::Hipri {
            return Some(format!(
                "needs a device that errs when told; {device} does not"
            ));
        }
        (self.hipri_device && device != DeviceKind::Hipri)
            .then(|| format!("is about hipri's device; this is {device}"))
    }

    /// The rules by which the device errs in this round, as a file of such rules has them.
    pub fn fault_rules(&self, round: u32) -> Option<String> {
        if self.faults.is_empty() || self.faults_in_odd_rounds && round.is_multiple_of(2) {
            return None;
        }
        let rules = self.faults.iter().cloned().map(toml::Value::Table);
        let file = toml::Table::from_iter([
            ("seed".to_owned(), i64::from(round).into()),
            ("rule".to_owned(), rules.collect::<Vec<_>>().into()),
        ]);
        Some(file.to_string())
    }

    /// Whether it needs boots of its own.
    pub fn is_alone(&self) -> bool {
        self.own_boot
            || self.media_file
            || self.rounds > 1
            || self.expect.power_off
            || !self.faults.is_empty()
    }

    fn begin_with(&mut self, prelude: &str) {
        let scripts = [&mut self.setup, &mut self.teardown];
        let optional = scripts.into_iter().flatten();
        for script in optional.chain([&mut self.run]) {
            script.insert_str(0, prelude);
        }
    }

    /// What is wrong with it, as far as can be told before it is run.
    fn mistake(&self) -> Option<String> {
        if self.run.trim().is_empty() {
            return Some("run is empty".to_owned());
        }
        if self.seconds == 0 || self.rounds == 0 {
            return Some("seconds and rounds must be 1 or more".to_owned());
        }
        if self.faults_in_odd_rounds && (self.faults.is_empty() || self.rounds < 2) {
            return Some("faults-in-odd-rounds means nothing without faults and rounds".to_owned());
        }
        if self.expect.media && !self.media_file {
            return Some("expect.media means nothing without media-file".to_owned());
        }
        if let Some(rules) = self.fault_rules(1)
            && let Err(error) = Rules::parse(&rules, "fault")
        {
            return Some(error.to_string());
        }
        self.expect.mistake()
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

impl Suite {
    /// Reads a suite's file, with the checks that it takes of others in the same folder.
    ///
    /// # Errors
    /// Exit 2, with file, line and key.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let mut suite = Self::load_own(path)?;
        let mut taken = Vec::new();
        for take in &suite.take {
            let other = path.with_file_name(format!("{}.toml", take.suite));
            let lender = Self::load_own(&other)?;
            for name in &take.checks {
                taken.push(lender.lend(name).ok_or_else(|| {
                    let (path, other) = (path.display(), other.display());
                    Failure::usage(format!("{path}: there is no check {name} in {other}"))
                })?);
            }
        }
        suite.checks.splice(0..0, taken);
        suite.check_names(path)?;
        Ok(suite)
    }

    fn load_own(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let mut suite: Self = parse_toml(path, &text)?;
        for check in &mut suite.checks {
            if let Some(mistake) = check.mistake() {
                let (path, name) = (path.display(), &check.name);
                return Err(Failure::usage(format!("{path}: check {name}: {mistake}")));
            }
            check.begin_with(&suite.prelude);
        }
        Ok(suite)
    }

    /// One of its checks, with what it has of the suite.
    fn lend(&self, name: &str) -> Option<Check> {
        let mut check = self.checks.iter().find(|check| check.name == name)?.clone();
        check.device.get_or_insert_with(|| self.device.clone());
        Some(check)
    }

    fn check_names(&self, path: &Path) -> Result<(), Failure> {
        let path = path.display();
        if self.checks.is_empty() {
            return Err(Failure::usage(format!("{path}: it has no checks")));
        }
        let mut names: Vec<_> = self.checks.iter().map(|check| &check.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Failure::usage(format!(
                "{path}: two checks are called {}",
                pair[0]
            ))),
            None => Ok(()),
        }
    }
}

fn floor() -> String {
    "floor".to_owned()
}

fn default_device() -> String {
    "default".to_owned()
}

fn once() -> u32 {
    1
}

fn one_minute() -> u64 {
    60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::{Repository, names_in};

    fn load(text: &str) -> Result<Suite, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(
            folder.path().join("other.toml"),
            "description = \"x\"\ndevice = \"d\"\n[[check]]\nname = \"a\"\nkernel = \"both\"\nrun = \"true\"\n",
        )
        .unwrap();
        Suite::load(&path)
    }

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
        let faulty = check("[[fault]]\nact = \"drop\"");
        for check in [&counted, &ours, &faulty] {
            assert_eq!(check.unfit_for(DeviceKind::Hipri), None);
            let reason = check.unfit_for(DeviceKind::Qemu).unwrap();
            assert!(reason.contains("QEMU's own nvme"), "{reason}");
        }
        assert_eq!(check("").unfit_for(DeviceKind::Qemu), None);
        assert_eq!(check("").fault_rules(1), None);
        assert_eq!(
            faulty.fault_rules(7).unwrap(),
            "seed = 7\n\n[[rule]]\nact = \"drop\"\n"
        );
    }

    #[test]
    fn load_mistake_names_file_and_what_is_wrong() {
        let check = "description = \"x\"\n[[check]]\nname = \"a\"\nkernel = \"patched\"\n";
        for (text, wrong) in [
            ("description = \"x\"\nchek = []\n".to_owned(), "chek"),
            ("description = \"x\"\n".to_owned(), "no checks"),
            (format!("{check}run = \" \"\n"), "run is empty"),
            (
                format!("{check}run = \"true\"\nexpect.output = [\"\"]\n"),
                "expect.output",
            ),
            (
                format!("{check}run = \"true\"\nexpect.exits = 1\n"),
                "exits",
            ),
            (
                "description = \"x\"\n[[take]]\nsuite = \"other\"\nchecks = [\"b\"]\n".to_owned(),
                "no check b",
            ),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(
                error.contains("mine.toml") && error.contains(wrong),
                "{error}"
            );
        }
    }

    #[test]
    fn load_taken_checks_come_first_and_keep_their_device() {
        let suite = load(
            "description = \"x\"\n[[take]]\nsuite = \"other\"\nchecks = [\"a\"]\n\
             [[check]]\nname = \"b\"\nkernel = \"both\"\nrun = \"true\"\n",
        )
        .unwrap();
        let names: Vec<_> = suite.checks.iter().map(|check| &check.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(suite.checks[0].device.as_deref(), Some("d"));
    }
}

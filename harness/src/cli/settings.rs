// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The options with every gap filled: the command line over the environment (both are clap's
//! business) over `hipri.toml` over the defaults.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use emulator::cli::{Doorbells, HugePagesChoice};
use serde::Deserialize;

use super::options::{
    CPUS, FloorChoice, MachineOptions, POLLERS, SweepOptions, TimeChoice, parse_memory,
};
use crate::exit::Failure;
use crate::machine::accel::AccelChoice;
use crate::machine::{Pin, Told};
use crate::repository::parse_toml;
use crate::sweep::{IoPath, Reference, seed};

/// The file's name, in the current directory.
const FILE: &str = "hipri.toml";

/// The content of `hipri.toml`: each key is an option's name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SettingsFile {
    profile: Option<String>,
    device: Option<String>,
    accel: Option<AccelChoice>,
    mem: Option<String>,
    cpus: Option<u32>,
    pollers: Option<u16>,
    pin: Option<String>,
    doorbells: Option<Doorbells>,
    huge_pages: Option<HugePagesChoice>,
    time: Option<TimeChoice>,
    costs: Option<String>,
    floor: Option<String>,
    trace: Option<bool>,
    append: Option<Vec<String>>,
    share: Option<PathBuf>,
    kernel_source: Option<PathBuf>,
    seed: Option<u64>,
    out: Option<PathBuf>,
    paths: Option<Vec<IoPath>>,
    depths: Option<Vec<u32>>,
    runtime: Option<u32>,
    ios: Option<u64>,
    workload: Option<String>,
}

impl SettingsFile {
    /// Reads `hipri.toml`; a missing file is an empty one.
    ///
    /// # Errors
    /// Exit 2, with file, line and key.
    pub fn load() -> Result<Self, Failure> {
        Self::load_from(Path::new(FILE))
    }

    fn load_from(path: &Path) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::usage(format!("{}: {error}", path.display()))),
        };
        parse_toml(path, &text)
    }
}

/// How the guest and its device are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSettings {
    /// Name or path of the speed profile.
    pub profile: String,
    /// Whether somebody said so, or it is the default.
    pub profile_told: bool,
    /// Name or path of the device.
    pub device: String,
    /// How the guest runs.
    pub accel: AccelChoice,
    /// The guest's memory as told, in MiB; `None` leaves it to the kernel.
    pub memory_mib: Option<u64>,
    /// The guest's processors as told; `None` leaves them to the machine.
    pub cpus: Option<u32>,
    /// What not every machine can do. Whose time it is follows from the machine.
    pub told: Told,
    /// Whose time passes in the guest, as told.
    pub time: Option<TimeChoice>,
    /// Name or path of the costs of virtual time.
    pub costs: String,
    /// Whether somebody said so, or it is the default.
    pub costs_told: bool,
    /// Words for the kernel's command line.
    pub append: Vec<String>,
    /// A directory to share.
    pub share: Option<PathBuf>,
    /// Where the kernel comes from, if not from the package.
    pub kernel_source: Option<PathBuf>,
    /// What is subtracted for the way to the device.
    pub floor: FloorChoice,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The result folder.
    pub out: Option<PathBuf>,
    /// Only show what would be done.
    pub dry_run: bool,
}

impl MachineSettings {
    /// Fills the gaps.
    ///
    /// # Errors
    /// Exit 2, when the file's value is none.
    pub fn resolve(options: &MachineOptions, file: &SettingsFile) -> Result<Self, Failure> {
        let file_memory = parsed("mem", file.mem.as_deref(), parse_memory)?;
        let file_floor = parsed("floor", file.floor.as_deref(), str::parse)?;
        let file_pin = parsed("pin", file.pin.as_deref(), Pin::parse)?;
        within("cpus", file.cpus, &CPUS)?;
        within("pollers", file.pollers, &POLLERS)?;
        let words = if options.append.is_empty() {
            file.append.clone().unwrap_or_default()
        } else {
            options.append.clone()
        };
        let text = |given: &Option<String>, filed: &Option<String>, default: &str| {
            let chosen = given.as_ref().or(filed.as_ref());
            chosen.map_or_else(|| default.to_owned(), String::clone)
        };
        let path = |given: &Option<PathBuf>, filed: &Option<PathBuf>| {
            given.as_ref().or(filed.as_ref()).cloned()
        };
        Ok(Self {
            profile: text(&options.profile, &file.profile, "high-iops"),
            profile_told: options.profile.is_some() || file.profile.is_some(),
            device: text(&options.device, &file.device, "default"),
            accel: options.accel.or(file.accel).unwrap_or_default(),
            memory_mib: options.mem.or(file_memory),
            cpus: options.cpus.or(file.cpus),
            told: Told {
                pin: options.pin.clone().or(file_pin),
                pollers: options.pollers.or(file.pollers),
                doorbells: options.doorbells.or(file.doorbells),
                huge_pages: options.huge_pages.or(file.huge_pages),
                virtual_time: false,
                trace: options.trace || file.trace.unwrap_or(false),
            },
            time: options.time.or(file.time),
            costs: text(&options.costs, &file.costs, "seed"),
            costs_told: options.costs.is_some() || file.costs.is_some(),
            append: words
                .iter()
                .flat_map(|word| word.split_whitespace().map(str::to_owned))
                .collect(),
            share: path(&options.share, &file.share),
            kernel_source: path(&options.kernel_source, &file.kernel_source),
            floor: options.floor.or(file_floor).unwrap_or_default(),
            seed: options.seed.or(file.seed).unwrap_or(1),
            out: path(&options.out, &file.out),
            dry_run: options.dry_run,
        })
    }
}

/// A value of the file whose text is parsed as the command line's is.
fn parsed<T>(
    key: &str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let parse = |text: &str| {
        parse(text).map_err(|error| Failure::usage(format!("{FILE}: {key} = {text:?} {error}")))
    };
    text.map(parse).transpose()
}

/// Refuses a number of the file that the command line would refuse.
fn within<T: Copy + Into<i64>>(
    key: &str,
    value: Option<T>,
    range: &RangeInclusive<i64>,
) -> Result<(), Failure> {
    if value.is_none_or(|value| range.contains(&value.into())) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{FILE}: {key} must be between {} and {}",
        range.start(),
        range.end()
    )))
}

/// A depth sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepSettings {
    /// The machine.
    pub machine: MachineSettings,
    /// Paths, each once.
    pub paths: Vec<IoPath>,
    /// Depths as told; `None` leaves them to the profile.
    pub depths: Option<Vec<u32>>,
    /// Seconds for each cell as told.
    pub runtime: Option<u32>,
    /// I/Os for each cell as told.
    pub ios: Option<u64>,
    /// Name or path of the fio job.
    pub workload: String,
    /// The device to compare with.
    pub reference: Option<Reference>,
    /// Print the document.
    pub json: bool,
}

impl SweepSettings {
    /// Fills the gaps.
    ///
    /// # Errors
    /// Exit 2, when the file's value is none.
    pub fn resolve(options: &SweepOptions, file: &SettingsFile) -> Result<Self, Failure> {
        let depths = options.depths.clone().or_else(|| file.depths.clone());
        if depths.as_ref().is_some_and(|depths| depths.contains(&0)) {
            return Err(Failure::usage(format!("{FILE}: depths must be 1 or more")));
        }
        let paths = options.paths.clone().or_else(|| file.paths.clone());
        Ok(Self {
            machine: MachineSettings::resolve(&options.machine, file)?,
            paths: each_once(paths.unwrap_or_else(|| IoPath::SEED.to_vec())),
            depths: depths.map(each_once),
            runtime: options.runtime.or(file.runtime),
            ios: options.ios.or(file.ios),
            workload: options
                .workload
                .clone()
                .or_else(|| file.workload.clone())
                .unwrap_or_else(|| "seed".to_owned()),
            reference: options.reference,
            json: options.json,
        })
    }

    /// The depths to sweep for a profile.
    pub fn depths_for(&self, profile: &str) -> Vec<u32> {
        self.depths.clone().unwrap_or_else(|| seed::depths(profile))
    }
}

fn each_once<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<SettingsFile, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        SettingsFile::load_from(&path)
    }

    #[test]
    fn resolve_without_anything_is_the_default() {
        let settings =
            SweepSettings::resolve(&SweepOptions::default(), &SettingsFile::default()).unwrap();
        assert_eq!(settings.machine.profile, "high-iops");
        assert_eq!(settings.paths, IoPath::SEED);
        assert_eq!(settings.depths_for("low-latency"), [1, 2, 4]);
    }

    #[test]
    fn resolve_option_wins_over_file() {
        let file = file("profile = \"floor\"\nseed = 9\nmem = \"1G\"\n").unwrap();
        let options = MachineOptions {
            profile: Some("low-latency".into()),
            ..MachineOptions::default()
        };
        let settings = MachineSettings::resolve(&options, &file).unwrap();
        assert_eq!(settings.profile, "low-latency");
        assert_eq!((settings.seed, settings.memory_mib), (9, Some(1024)));
    }

    #[test]
    fn resolve_cpus_of_the_file_must_be_possible() {
        let options = MachineOptions::default();
        let settings = MachineSettings::resolve(&options, &file("cpus = 4\n").unwrap());
        assert_eq!(settings.unwrap().cpus, Some(4));
        for text in ["cpus = 0\n", "cpus = 17\n"] {
            let error = MachineSettings::resolve(&options, &file(text).unwrap()).unwrap_err();
            assert!(error.to_string().contains("between 1 and 16"), "{error}");
        }
    }

    #[test]
    fn resolve_profile_that_was_told_is_known_as_such() {
        let told = |options: &MachineOptions, text: &str| {
            let settings = MachineSettings::resolve(options, &file(text).unwrap());
            settings.unwrap().profile_told
        };
        assert!(!told(&MachineOptions::default(), ""));
        assert!(told(&MachineOptions::default(), "profile = \"floor\"\n"));
        let options = MachineOptions {
            profile: Some("floor".into()),
            ..MachineOptions::default()
        };
        assert!(told(&options, ""));
    }

    #[test]
    fn resolve_pin_of_the_file_is_read_or_refused() {
        let resolve =
            |text: &str| MachineSettings::resolve(&MachineOptions::default(), &file(text).unwrap());
        let settings = resolve("pin = \"1,0\"\ndoorbells = \"exit\"\n").unwrap();
        assert_eq!(settings.told.pin, Pin::parse("1,0").ok());
        assert_eq!(settings.told.doorbells, Some(Doorbells::Exit));
        let error = resolve("pin = \"all\"\n").unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("pin"), "{error}");
        let error = resolve("pollers = 0\n").unwrap_err().to_string();
        assert!(error.contains("pollers"), "{error}");
    }

    #[test]
    fn load_unknown_key_names_file_and_key() {
        let error = file("profil = \"floor\"\n").unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("profil"), "{error}");
    }

    #[test]
    fn resolve_repeated_depths_count_once() {
        let options = SweepOptions {
            depths: Some(vec![4, 1, 4]),
            ..SweepOptions::default()
        };
        let settings = SweepSettings::resolve(&options, &SettingsFile::default()).unwrap();
        assert_eq!(settings.depths, Some(vec![1, 4]));
    }

    #[test]
    fn resolve_append_is_split_into_words() {
        let options = MachineOptions {
            append: vec!["quiet loglevel=3".into()],
            ..MachineOptions::default()
        };
        let settings = MachineSettings::resolve(&options, &SettingsFile::default()).unwrap();
        assert_eq!(settings.append, ["quiet", "loglevel=3"]);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `model`: predictions in virtual time, and the fit of its parameters to measured tables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use emulator::timing::{Profile, units};
use serde::Serialize;

use super::tell::tell;
use crate::exit::Failure;
use crate::model::table::{self, Cell};
use crate::model::{self, Calibration, Costs, Device, Effort};
use crate::report;
use crate::repository::Repository;
use crate::sweep::IoPath;

/// What is modelled, and how.
#[derive(Clone, Debug, Args)]
pub struct ModelOptions {
    /// The device: a name in configs/profiles/, or a path.
    #[arg(long, value_name = "NAME|PATH", default_value = "high-iops")]
    pub(super) profile: String,
    /// What operations cost the processor: a name in configs/costs/, or a path.
    #[arg(long, value_name = "NAME|PATH", default_value = "seed")]
    costs: String,
    /// Another value for a key of the profile (units=8, read.time=7us), or for a cost (costs.io=0.3us).
    #[arg(long, value_name = "KEY=VALUE", value_parser = units::setting)]
    pub(super) set: Vec<(String, String)>,
    /// How many times slower the processor is: all costs but `idle` are multiplied by it.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_factor)]
    pub(super) slower: f64,
    /// Queue depths, 1 to 4096 [default: those of the seed].
    #[arg(long, value_delimiter = ',', value_name = "LIST",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) depths: Option<Vec<u32>>,
    /// Software paths [default: mainline,aio-poll,aio-poll-all].
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(super) paths: Option<Vec<IoPath>>,
    /// Most I/Os that are submitted or reaped at once [default: half the depth].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) batch: Option<u32>,
    /// Processors, each with a job and a queue pair of its own.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(super) jobs: u16,
    /// Bytes of an I/O: 512B to 16MiB.
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = parse_block)]
    pub(super) block_size: u32,
    /// Writes in place of reads.
    #[arg(long)]
    pub(super) write: bool,
    /// I/Os of each job in a cell.
    #[arg(long, value_name = "N", default_value_t = model::DEFAULT_IOS,
          value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub(super) ios: u64,
    /// Seed of the device's draws.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Predicts for each of several values (depth=1,2,4): of depth, batch, jobs, block_size, slower and
    /// seed, and whatever --set takes; of several keys, each combination.
    #[arg(long, value_name = "KEY=LIST", value_parser = units::setting, conflicts_with_all = ["against", "calibrate"])]
    pub(super) sweep: Vec<(String, String)>,
    /// Prints what --sweep predicts as CSV in place of the table.
    #[arg(long, requires = "sweep", conflicts_with = "json")]
    pub(super) csv: bool,
    /// Predicts the cells of a table and shows how far off that is: a name in configs/tables/, or a
    /// path. Each device has the profile of its name.
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["calibrate", "profile", "depths", "paths", "batch", "jobs", "block_size",
                                "write", "seed"])]
    against: Option<String>,
    /// Fits costs and profiles to a table, from a start that knows neither, and keeps them in the
    /// result folder.
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["profile", "depths", "paths", "batch", "jobs", "block_size", "write",
                                "seed", "costs", "set", "slower"])]
    calibrate: Option<String>,
    /// Depths that the fit does not see: they show what it is worth.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "DEPTHS",
        requires = "calibrate"
    )]
    holdout: Vec<u32>,
    /// Units of a device that is fitted [default: those of the profile of its name, or 16].
    #[arg(long, value_name = "DEVICE=N", requires = "calibrate", value_parser = units::setting)]
    units: Vec<(String, String)>,
    /// Searches of the fit, each from another point; the best counts.
    #[arg(long, value_name = "N", requires = "calibrate", default_value_t = Effort::default().starts)]
    starts: usize,
    /// Steps of each search; each costs some tens of milliseconds.
    #[arg(long, value_name = "N", requires = "calibrate", default_value_t = Effort::default().generations)]
    generations: usize,
    /// Prints one JSON document on stdout in place of the table.
    #[arg(long)]
    pub(super) json: bool,
    /// Writes a page with charts into this file, too; a file of that name is replaced.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The result folder; must be empty or new [default: results/<UTC>-model with --calibrate].
    #[arg(long, env = "HIPRI_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Models and shows it.
///
/// # Errors
/// Exit 2 for options and files that are wrong.
pub fn run(options: &ModelOptions) -> anyhow::Result<ExitCode> {
    let repository = Repository::find()?;
    if let Some(table) = &options.calibrate {
        calibrate(options, &repository, table)?;
    } else if let Some(table) = &options.against {
        against(options, &repository, table)?;
    } else {
        super::predict::run(options, &repository)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn against(options: &ModelOptions, repository: &Repository, name: &str) -> anyhow::Result<()> {
    let cells = table::load(&repository.config("tables", "csv", name)?)?;
    let (costs, calibration) = costs(options, repository)?;
    let calibration = calibration.filter(|calibration| calibration.table == name);
    let mut profiles = BTreeMap::new();
    for cell in &cells {
        if !profiles.contains_key(&cell.device) {
            let profile = profile(repository, &cell.device).map_err(|error| {
                let device = &cell.device;
                Failure::usage(format!(
                    "device {device} of table {name}: {error}; hipri model --calibrate {name} makes one"
                ))
            })?;
            profiles.insert(cell.device.clone(), options.changed(&profile)?);
        }
    }
    let calibration = calibration.as_ref();
    let costs = costs.slower(options.slower);
    let comparison = model::compare(&cells, &costs, &profiles, calibration, options.ios);
    options.show(&comparison, report::comparison_table)?;
    options.keep_page(|| report::comparison_page(name, &comparison))
}

fn calibrate(options: &ModelOptions, repository: &Repository, name: &str) -> anyhow::Result<()> {
    let cells = table::load(&repository.config("tables", "csv", name)?)?;
    // What is held out is not even handed over.
    let (held_out, seen): (Vec<Cell>, Vec<Cell>) = cells
        .iter()
        .cloned()
        .partition(|cell| options.holdout.contains(&cell.depth));
    if seen.is_empty() {
        return Err(Failure::usage("--holdout leaves no cell to fit to").into());
    }
    let devices = options.devices(repository, &seen)?;
    let folder = report::make_folder(options.out.as_deref(), "model")?;
    let effort = Effort {
        starts: options.starts,
        generations: options.generations,
        ..Effort::default()
    };
    let found = model::calibrate(&seen, &Costs::unknown(), &devices, effort);
    let calibration = Calibration {
        table: name.to_owned(),
        held_out: options.holdout.clone(),
    };
    let mut profiles = BTreeMap::new();
    for device in &found.devices {
        let file = folder.join(format!("{}.toml", device.name));
        write(&file, &device.to_toml())?;
        profiles.insert(
            device.name.clone(),
            profile(repository, &file.display().to_string())?,
        );
    }
    let told = toml::to_string(&calibration).context("writing the costs")?;
    let costs_text = format!("{}\n[calibration]\n{told}", found.costs.to_toml());
    write(&folder.join("costs.toml"), &costs_text)?;
    let comparison = model::compare(
        &cells,
        &found.costs,
        &profiles,
        Some(&calibration),
        options.ios,
    );
    let document = serde_json::to_string_pretty(&comparison).context("writing the document")?;
    write(&folder.join("model.json"), &document)?;
    options.show(&comparison, report::comparison_table)?;
    options.keep_page(|| report::comparison_page(name, &comparison))?;
    eprintln!(
        "fitted to {} cells, {} held out; costs and profiles are in {}",
        seen.len(),
        held_out.len(),
        folder.display()
    );
    Ok(())
}

impl ModelOptions {
    /// Prints the result: as a table, or as a document.
    pub(super) fn show<T: Serialize>(
        &self,
        result: &T,
        table: fn(&T) -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            let text = serde_json::to_string_pretty(result).context("writing the document")?;
            tell!("{text}")
        } else {
            tell!("{}", table(result))
        }
    }

    /// Writes the page, if one is wanted.
    pub(super) fn keep_page(&self, page: impl FnOnce() -> String) -> anyhow::Result<()> {
        match &self.html {
            Some(file) => write(file, &page()),
            None => Ok(()),
        }
    }

    /// The profile with the values that `--set` has for it.
    pub(super) fn changed(&self, profile: &Profile) -> anyhow::Result<Profile> {
        let of_profile = |(key, _): &&(String, String)| !key.starts_with(OF_COSTS);
        let changes: Vec<_> = self.set.iter().filter(of_profile).cloned().collect();
        if changes.is_empty() {
            return Ok(profile.clone());
        }
        Ok(profile.with(&changes).map_err(usage)?)
    }

    /// Where the fit begins. Of the profiles that there are it takes the number of units alone.
    fn devices(&self, repository: &Repository, cells: &[Cell]) -> anyhow::Result<Vec<Device>> {
        let mut devices: Vec<Device> = Vec::new();
        for cell in cells {
            if devices.iter().any(|device| device.name == cell.device) {
                continue;
            }
            let units = match repository.config("profiles", "toml", &cell.device) {
                Ok(_) => profile(repository, &cell.device)?.units(),
                Err(_) => UNITS,
            };
            devices.push(Device::unknown(&cell.device, units, cells));
        }
        for (name, units) in &self.units {
            let device = devices.iter_mut().find(|device| device.name == *name);
            let device = device.ok_or_else(|| {
                Failure::usage(format!("--units {name}: the table has no such device"))
            })?;
            device.units = match units.parse() {
                Ok(units) if (1..=1024).contains(&units) => units,
                _ => {
                    let message = format!("--units {name}: {units} is not between 1 and 1024");
                    return Err(Failure::usage(message).into());
                }
            };
        }
        Ok(devices)
    }
}

/// As the other commands find it.
pub(super) fn profile(repository: &Repository, name: &str) -> Result<Profile, Failure> {
    let file = repository.config("profiles", "toml", name)?;
    Profile::load(&file.display().to_string()).map_err(usage)
}

/// Units of a device that has no profile yet.
const UNITS: u16 = 16;

/// What keys of `--set` begin with that are no profile's.
pub(super) const OF_COSTS: &str = "costs.";

/// With the changes of `--set`, but not slowed down. What is changed is not what was fitted.
pub(super) fn costs(
    options: &ModelOptions,
    repository: &Repository,
) -> anyhow::Result<(Costs, Option<Calibration>)> {
    let file = repository.config("costs", "toml", &options.costs)?;
    let (mut costs, mut calibration) = Costs::load(&file)?;
    for (key, value) in &options.set {
        if let Some(key) = key.strip_prefix(OF_COSTS) {
            costs.set(key, value)?;
            calibration = None;
        }
    }
    if (options.slower - 1.0).abs() > f64::EPSILON {
        calibration = None;
    }
    Ok((costs, calibration))
}

fn write(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::usage(error.to_string())
}

pub(super) fn parse_factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.01..=100.0).contains(&factor) => Ok(factor),
        _ => Err("write a number between 0.01 and 100".into()),
    }
}

pub(super) fn parse_block(text: &str) -> Result<u32, String> {
    let size = units::size(text)?;
    match u32::try_from(size) {
        Ok(size) if size.is_multiple_of(512) && (512..=16 << 20).contains(&size) => Ok(size),
        _ => Err("write a multiple of 512B between 512B and 16MiB".into()),
    }
}

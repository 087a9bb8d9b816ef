// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Options that several subcommands have. All are optional here: what is not given comes from
//! `hipri.toml` or is a default ([`super::settings`]).

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use emulator::cli::{Doorbells, HugePagesChoice};
use emulator::timing::{Nanos, units};
use serde::{Deserialize, Serialize};

use crate::machine::Pin;
use crate::machine::accel::AccelChoice;
use crate::sweep::{IoPath, Reference};

/// How the guest and its device are made.
#[derive(Clone, Debug, Default, Args)]
pub struct MachineOptions {
    /// How fast the device is: a name in configs/profiles/ or a path [default: high-iops].
    #[arg(long, env = "HIPRI_PROFILE", value_name = "NAME|PATH")]
    pub profile: Option<String>,
    /// What the device is: a name in configs/devices/ or a path [default: default].
    #[arg(long, env = "HIPRI_DEVICE", value_name = "NAME|PATH")]
    pub device: Option<String>,
    /// How the guest runs [default: auto].
    #[arg(long, env = "HIPRI_ACCEL", value_enum)]
    pub accel: Option<AccelChoice>,
    /// The guest's memory, such as 768M or 2G [default: 512M; on debug and kcsan
    /// kernels 1G].
    #[arg(long, env = "HIPRI_MEM", value_name = "SIZE", value_parser = parse_memory)]
    pub mem: Option<u64>,
    /// The guest's processors, 1 to 16 [default: 2 on qemu, 1 on uml, which has no more].
    #[arg(long, env = "HIPRI_CPUS", value_name = "N",
          value_parser = clap::value_parser!(u32).range(CPUS))]
    pub cpus: Option<u32>,
    /// Threads that serve the device's I/O queues, each its share of them; more than 1 on kvm only
    /// [default: 1].
    #[arg(long, env = "HIPRI_POLLERS", value_name = "N",
          value_parser = clap::value_parser!(u16).range(POLLERS))]
    pub pollers: Option<u16>,
    /// Cores of the host: one for each of the device's pollers, then one for each of the guest's
    /// processors, such as 3,0,1; or none, for the scheduler to decide [default: chosen, see `hipri probe`].
    #[arg(long, env = "HIPRI_PIN", value_name = "CORES", value_parser = Pin::parse)]
    pub pin: Option<Pin>,
    /// How doorbells reach the device [default: auto].
    #[arg(long, env = "HIPRI_DOORBELLS", value_enum)]
    pub doorbells: Option<Doorbells>,
    /// What the guest's memory is made of, on kvm [default: transparent].
    #[arg(long, env = "HIPRI_HUGE_PAGES", value_enum)]
    pub huge_pages: Option<HugePagesChoice>,
    /// The host's time, or simulated time, exact and repeatable, on uml [default: real; the main job
    /// on uml: virtual].
    #[arg(long, env = "HIPRI_TIME", value_enum)]
    pub time: Option<TimeChoice>,
    /// What the guest kernel's operations cost in virtual time: a name in configs/costs/ or a path
    /// [default: seed].
    #[arg(long, env = "HIPRI_COSTS", value_name = "NAME|PATH")]
    pub costs: Option<String>,
    /// What the way of a command to the device and back takes, which is subtracted from the
    /// profile's times in real time: auto (measured before), off, or a time such as 130ns [default:
    /// auto].
    #[arg(long, env = "HIPRI_FLOOR", value_name = "TIME")]
    pub floor: Option<FloorChoice>,
    /// Keeps a trace of every command that the device gets, in the result folder; on uml.
    #[arg(long, env = "HIPRI_TRACE")]
    pub trace: bool,
    /// Words added to the guest kernel's command line; may be repeated.
    #[arg(long, env = "HIPRI_APPEND", value_name = "WORDS")]
    pub append: Vec<String>,
    /// A directory of the host, seen in the guest as /mnt/share.
    #[arg(long, env = "HIPRI_SHARE", value_name = "DIR")]
    pub share: Option<PathBuf>,
    /// A kernel tree or tarball in place of the distribution's linux-source-6.12 package.
    #[arg(long, env = "HIPRI_KERNEL_SOURCE", value_name = "PATH")]
    pub kernel_source: Option<PathBuf>,
    /// Seed of the device's service times and of fio's offsets [default: 1].
    #[arg(long, env = "HIPRI_SEED", value_name = "N")]
    pub seed: Option<u64>,
    /// The result folder; must be empty or new [default: results/<UTC>-<profile>].
    #[arg(long, env = "HIPRI_OUT", value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Shows what would be done and with which settings, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Whose time passes in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TimeChoice {
    /// The host's.
    Real,
    /// Simulated.
    Virtual,
}

/// What is subtracted from a profile's times for the way of a command to the device and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloorChoice {
    /// What is measured.
    #[default]
    Auto,
    /// Nothing.
    Off,
    /// So much.
    Told(Nanos),
}

impl FromStr for FloorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            time => match units::duration(time) {
                Ok(nanos) => Ok(Self::Told(nanos)),
                Err(message) => Err(format!("is neither auto nor off nor a time: {message}")),
            },
        }
    }
}

/// A depth sweep.
#[derive(Clone, Debug, Default, Args)]
pub struct SweepOptions {
    #[command(flatten)]
    pub machine: MachineOptions,
    /// Software paths to measure [default: mainline,aio-poll,aio-poll-all].
    #[arg(long, env = "HIPRI_PATHS", value_enum, value_delimiter = ',')]
    pub paths: Option<Vec<IoPath>>,
    /// Queue depths [default: the seed's for the profile].
    #[arg(long, env = "HIPRI_DEPTHS", value_delimiter = ',', value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=MAX_DEPTH))]
    pub depths: Option<Vec<u32>>,
    /// Seconds for each cell [default: the workload's, or 1].
    #[arg(long, env = "HIPRI_RUNTIME", value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub runtime: Option<u32>,
    /// I/Os of each cell in virtual time, which takes the place of --runtime [default: 10000].
    #[arg(long, env = "HIPRI_IOS", value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=MAX_IOS))]
    pub ios: Option<u64>,
    /// The fio job: a name in configs/workloads/ or a path [default: seed].
    #[arg(long, env = "HIPRI_WORKLOAD", value_name = "NAME|PATH")]
    pub workload: Option<String>,
    /// Also runs each cell on a device of the guest's kernel in the same boot and shows the ratio.
    #[arg(long, env = "HIPRI_REFERENCE", value_enum)]
    pub reference: Option<Reference>,
    /// Prints one JSON document on stdout in place of the table.
    #[arg(long)]
    pub json: bool,
}

/// Processors that the guest kernels are built for.
pub const CPUS: RangeInclusive<i64> = 1..=16;

/// Threads that may serve the device's I/O queues.
pub const POLLERS: RangeInclusive<i64> = 1..=64;

/// fio and the block layer take more, but no table is readable with it.
const MAX_DEPTH: i64 = 1 << 16;

/// A sweep of so many takes hours.
const MAX_IOS: u64 = 100_000_000;

/// A size in MiB from a number with an optional unit: `512`, `512M`, `1G`, `1GiB`.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    const LOWEST: u64 = 64;
    const HIGHEST: u64 = 1 << 20;
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits
        .parse()
        .map_err(|_| "wants a size such as 768M or 2G".to_owned())?;
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => 1024,
        other => return Err(format!("does not know the unit {other}: use M or G")),
    };
    match number.checked_mul(unit) {
        Some(size) if (LOWEST..=HIGHEST).contains(&size) => Ok(size),
        _ => Err(format!("must be between {LOWEST}M and {}G", HIGHEST >> 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_memory_units_are_understood() {
        assert_eq!(parse_memory("768M"), Ok(768));
        assert_eq!(parse_memory("2GiB"), Ok(2048));
        assert_eq!(parse_memory("512"), Ok(512));
    }

    #[test]
    fn parse_memory_nonsense_is_refused() {
        for text in ["", "much", "5T", "1", "99999999999999999999G"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn floor_is_auto_or_off_or_a_time() {
        assert_eq!("auto".parse(), Ok(FloorChoice::Auto));
        assert_eq!("off".parse(), Ok(FloorChoice::Off));
        assert_eq!("0.2us".parse(), Ok(FloorChoice::Told(200)));
        assert!("5".parse::<FloorChoice>().unwrap_err().contains("neither"));
    }
}

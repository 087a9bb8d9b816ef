// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fits costs of the host and one profile for each device to a table.

use std::fmt::Write as _;

use emulator::timing::{Nanos, Profile, Service, Spread, Work};

use super::search::minimise;
use super::table::Cell;
use super::{Costs, Scenario, simulate};

/// Seed of the device's draws: the same table gives the same values.
const SEED: u64 = 1;
/// How much it costs, against the squares of the relative errors, to leave the start by e times. It
/// holds values in place that the table does not determine. Whoever takes figures for exact within
/// 5 % and the start for right within a factor of two would take as much (0.05² / ln(2)²).
const INERTIA: f64 = 0.005;
/// Nanoseconds from an I/O to the next where no figure tells.
const TURN: f64 = 7500.0;
/// Widest distribution of service times: above it, costs nothing if not needed.
const WIDEST: f64 = 0.3;

/// A device as far as it is fitted: reads of one stripe.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// The table's name for it.
    pub name: String,
    /// See the profile's keys.
    pub front_end: Nanos,
    /// Given, not fitted: whole numbers are no matter of small steps.
    pub units: u16,
    /// Median service time of a read.
    pub time: Nanos,
    /// Of its lognormal distribution.
    pub sigma: f64,
}

/// The result.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    /// Of the host.
    pub costs: Costs,
    /// In the order in which they were given.
    pub devices: Vec<Device>,
    /// Sum of squares of the logarithms of figure / prediction, and what it cost to leave the start.
    pub loss: f64,
}

/// How hard to search.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Searches, each from another point near the start; the best counts.
    pub starts: usize,
    /// Steps of each search.
    pub generations: usize,
    /// I/Os that are simulated for each cell.
    pub ios: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            starts: 10,
            generations: 400,
            ios: 2500,
        }
    }
}

impl Device {
    /// Where the search begins, from a profile: its reads.
    pub fn of_profile(name: &str, profile: &Profile) -> Self {
        let service = profile.service(Work::Read);
        Self {
            name: name.to_owned(),
            front_end: profile.front_end(),
            units: profile.units(),
            time: service.median(),
            sigma: match service.spread() {
                Spread::LogNormal { sigma, .. } => *sigma,
                _ => 0.05,
            },
        }
    }

    /// Where the search begins for a device of which no more is known than `cells`: a front end that
    /// limits nothing, and reads that take two thirds of the shortest turn of a single I/O.
    pub fn unknown(name: &str, units: u16, cells: &[Cell]) -> Self {
        let of_this = cells.iter().filter(|cell| cell.device == name);
        let turn = of_this.map(|cell| f64::from(cell.depth) * 1e9 / cell.iops);
        let shortest = turn.reduce(f64::min).unwrap_or(TURN);
        Self {
            name: name.to_owned(),
            front_end: 50,
            units,
            time: as_nanos(shortest * 2.0 / 3.0),
            sigma: 0.1,
        }
    }

    /// As the model takes it.
    pub fn profile(&self) -> Profile {
        let service = Service::log_normal(self.time, self.sigma);
        Profile::uniform(&self.name, self.units, self.front_end, &service)
    }

    /// As a file of `configs/profiles/`. Writes take what reads take: tables of reads say nothing
    /// about them.
    pub fn to_toml(&self) -> String {
        let Self {
            front_end,
            units,
            time,
            sigma,
            ..
        } = self;
        let mut text =
            format!("front_end = \"{front_end}ns\"\nunits = {units}\nstripe = \"4KiB\"\n");
        for work in ["read", "write"] {
            let _ = write!(
                text,
                "\n[{work}]\ntime = \"{time}ns\"\nsigma = {sigma:.3}\n"
            );
        }
        let _ = write!(text, "\n[other]\ntime = \"{front_end}ns\"\n");
        text
    }
}

/// Fits to `cells`; whoever wants to hold some back does not give them here. Devices without cells
/// keep their values.
pub fn calibrate(cells: &[Cell], costs: &Costs, devices: &[Device], effort: Effort) -> Calibrated {
    let start = pack(costs, devices);
    let loss = |point: &[f64]| {
        let (costs, devices) = unpack(point, costs, devices);
        let moved = start.iter().zip(point).map(|(a, b)| (a - b).powi(2));
        let too_wide = |device: &Device| (device.sigma - WIDEST).max(0.0).powi(2);
        INERTIA * moved.sum::<f64>()
            + devices.iter().map(too_wide).sum::<f64>()
            + misfit(cells, &costs, &devices, effort.ios)
    };
    let (point, loss) = minimise(&start, effort.starts, effort.generations, loss);
    let (costs, devices) = unpack(&point, costs, devices);
    Calibrated {
        costs,
        devices,
        loss,
    }
}

fn misfit(cells: &[Cell], costs: &Costs, devices: &[Device], ios: u64) -> f64 {
    let mut sum = 0.0;
    for device in devices {
        let profile = device.profile();
        for cell in cells.iter().filter(|cell| cell.device == device.name) {
            let Some(scenario) = scenario_of(cell, costs, &profile, ios) else {
                continue;
            };
            let outcome = simulate(&scenario);
            sum += (outcome.iops / cell.iops).ln().powi(2);
            if let Some(latency) = cell.lat_p50_us {
                sum += (outcome.median_us() / latency).ln().powi(2);
            }
        }
    }
    sum
}

/// What to simulate for a cell of a table; nothing for a path that the model does not know.
pub fn scenario_of(cell: &Cell, costs: &Costs, profile: &Profile, ios: u64) -> Option<Scenario> {
    Some(Scenario {
        block_size: cell.block_size,
        seed: SEED,
        ios,
        ..Scenario::of_seed(profile, costs, cell.path, cell.depth)?
    })
}

/// The logarithms of what is searched for: all are positive, and errors are relative.
fn pack(costs: &Costs, devices: &[Device]) -> Vec<f64> {
    let log = |nanos: Nanos| as_f64(nanos.max(1)).ln();
    let mut costs = *costs;
    let mut point: Vec<f64> = costs
        .named()
        .into_iter()
        .filter(|(name, _)| is_searched(name))
        .map(|(_, value)| log(*value))
        .collect();
    for device in devices {
        point.extend([
            log(device.front_end),
            log(device.time),
            device.sigma.max(0.001).ln(),
        ]);
    }
    point
}

fn unpack(point: &[f64], costs: &Costs, devices: &[Device]) -> (Costs, Vec<Device>) {
    let mut values = point.iter().map(|value| value.exp());
    let mut next = || values.next().unwrap_or(1.0);
    let mut costs = *costs;
    for (name, value) in costs.named() {
        if is_searched(name) {
            *value = as_nanos(next());
        }
    }
    let fit = |device: &Device| Device {
        front_end: as_nanos(next()),
        time: as_nanos(next()),
        sigma: next().min(2.0),
        ..device.clone()
    };
    (costs, devices.iter().map(fit).collect())
}

/// A clock read is known (some 20 ns), and no table could tell it from the rest.
fn is_searched(cost: &str) -> bool {
    cost != "clock_read"
}

#[expect(clippy::cast_precision_loss, reason = "costs are at most a minute")]
fn as_f64(nanos: Nanos) -> f64 {
    nanos as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and limited to a second"
)]
fn as_nanos(value: f64) -> Nanos {
    value.min(1e9).round() as Nanos
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn start() -> (Costs, Device) {
        let costs = Costs {
            system_call: 300,
            clock_read: 20,
            access: 150,
            io: 370,
            completion: 500,
            wake_up: 3500,
            warm_up: 1500,
            idle: 1600,
        };
        let device = Device {
            name: "low-latency".into(),
            front_end: 200,
            units: 4,
            time: 4200,
            sigma: 0.1,
        };
        (costs, device)
    }

    const QUICK: Effort = Effort {
        starts: 1,
        generations: 40,
        ios: 500,
    };

    fn cells() -> Vec<Cell> {
        let of_this = |cell: &Cell| cell.device == "low-latency" && cell.depth != 2;
        table::seed().into_iter().filter(of_this).collect()
    }

    #[test]
    fn pack_is_undone_by_unpack() {
        let (costs, device) = start();
        let devices = [device];
        let (again, fitted) = unpack(&pack(&costs, &devices), &costs, &devices);
        assert_eq!(again, costs);
        assert_eq!((fitted[0].front_end, fitted[0].time), (200, 4200));
        assert!((fitted[0].sigma - 0.1).abs() < 1e-9);
    }

    #[test]
    fn calibrate_comes_closer_than_the_start() {
        let (costs, device) = start();
        let before = misfit(&cells(), &costs, std::slice::from_ref(&device), QUICK.ios);
        let found = calibrate(&cells(), &costs, std::slice::from_ref(&device), QUICK);
        assert!(found.loss < before, "{} {before}", found.loss);
        assert_eq!(found.costs.clock_read, 20);
        assert_eq!(found.devices[0].units, 4);
        let again = calibrate(&cells(), &costs, &[device], QUICK);
        assert_eq!(again, found);
    }

    /// The figures that it is fitted to decide: one that is 10 % higher gives another prediction.
    #[test]
    fn calibrate_to_another_figure_predicts_otherwise() {
        // Until it has settled: on its way there, two searches may pass the same place.
        let effort = Effort {
            generations: 200,
            ..QUICK
        };
        let (costs, device) = start();
        let held_out = Cell {
            depth: 2,
            ..cells()[0].clone()
        };
        let predict = |cells: &[Cell]| {
            let found = calibrate(cells, &costs, std::slice::from_ref(&device), effort);
            let profile = found.devices[0].profile();
            let scenario = scenario_of(&held_out, &found.costs, &profile, 5000).unwrap();
            simulate(&scenario).iops
        };
        let mut changed = cells();
        changed[0].iops *= 1.1;
        let (first, second) = (predict(&cells()), predict(&changed));
        assert!((second / first - 1.0).abs() > 0.002, "{first} {second}");
    }

    #[test]
    fn to_toml_is_a_profile() {
        let (_, device) = start();
        let profile = Profile::parse(&device.to_toml(), "low-latency.toml").unwrap();
        assert_eq!(Device::of_profile("low-latency", &profile), device);
    }
}

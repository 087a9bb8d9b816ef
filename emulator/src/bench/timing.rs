// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether the device keeps the word that a profile gives: when completions are seen beside when the
//! timing model has them due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use serde::Serialize;

use super::driver::median;
use super::floor::{AREA, READ, device, measure_floor, setup, whole};
use super::{BenchError, Latencies};
use crate::drive::PollerOptions;
use crate::frontend::kvm::micro::{Doorbells, Measurement, MicroGuest, Scenario};
use crate::observe::Summary;
use crate::reference::{Windows, round_trip_nanos, two_cores};
use crate::timing::{Floor, Model, Nanos, Profile, Request, Work};

/// How it is measured.
#[derive(Clone, Debug)]
pub struct TimingOptions {
    /// How fast the device is to be.
    pub profile: Profile,
    /// Seed of its service times.
    pub seed: u64,
    /// Commands of each row.
    pub commands: u64,
    /// Commands in flight, a row each.
    pub depths: Vec<u16>,
    /// Whether a micro-guest is asked too: there is KVM.
    pub micro_guest: bool,
    /// Cores of driver and poller; chosen if not given.
    pub cores: Option<(usize, usize)>,
}

/// Reads of 512 bytes, delivered and modelled.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimingRow {
    /// Who drives the device: `in-process` or `micro-guest`.
    pub driver: &'static str,
    /// Commands in flight.
    pub depth: u16,
    /// Commands.
    pub commands: u64,
    /// Median time from doorbell until the completion was seen, in nanoseconds.
    pub delivered_p50_ns: Nanos,
    /// The same with a driver that takes no time, by the model alone.
    pub modelled_p50_ns: Nanos,
    /// Commands a second.
    pub iops: f64,
    /// The same with a driver that takes no time, by the model alone.
    pub modelled_iops: f64,
    /// Completions before their time: a fault of the device.
    pub early: u64,
    /// How long after their time completions were posted, median, in nanoseconds.
    pub lateness_p50_ns: Nanos,
    /// The 99th percentile.
    pub lateness_p99_ns: Nanos,
    /// The longest.
    pub lateness_max_ns: Nanos,
    /// What part of all lateness is the host's doing, 0 to 1.
    pub lateness_host_share: f64,
}

impl TimingRow {
    /// Delivered less modelled median, in nanoseconds.
    pub fn difference(&self) -> i64 {
        self.delivered_p50_ns.cast_signed() - self.modelled_p50_ns.cast_signed()
    }
}

/// All rows of a run, and what was subtracted.
#[derive(Clone, Debug, Serialize)]
pub struct TimingReport {
    /// The profile.
    pub profile: String,
    /// The emulator's floor from doorbell to completion, in nanoseconds.
    pub floor_response_ns: Nanos,
    /// The part of it that is added to what takes time, and is subtracted; in nanoseconds.
    pub floor_way_ns: Nanos,
    /// The emulator's floor for each of many commands, in nanoseconds.
    pub floor_command_ns: Nanos,
    /// A cache line from one of the two cores to the other and back, in nanoseconds.
    pub core_round_trip_ns: f64,
    /// The rows.
    pub rows: Vec<TimingRow>,
}

/// Measures. Takes about a second for each row of 100,000 commands.
///
/// # Errors
/// When the profile is faster than the emulator, or the host cannot do what is wanted.
pub fn bench_timing(options: &TimingOptions) -> Result<TimingReport, BenchError> {
    let cores = match options.cores {
        Some(cores) => cores,
        None => two_cores()?,
    };
    let floor = measure_floor(cores)?;
    options.profile.check_floor(floor)?;
    let mut rows = Vec::new();
    for &depth in &options.depths {
        rows.push(in_process(options, depth, cores, floor)?);
        if options.micro_guest {
            rows.push(micro_guest(options, depth, cores, floor)?);
        }
    }
    Ok(TimingReport {
        profile: options.profile.name().to_owned(),
        floor_response_ns: floor.response,
        floor_way_ns: floor.way,
        floor_command_ns: floor.command,
        core_round_trip_ns: round_trip_nanos(cores)?,
        rows,
    })
}

fn in_process(
    options: &TimingOptions,
    depth: u16,
    cores: (usize, usize),
    floor: Floor,
) -> Result<TimingRow, BenchError> {
    let profile = options.profile.clone();
    let mut driver = device(profile, options.seed, floor.way, cores.1)?;
    let mut latencies = Latencies::default();
    let commands = options.commands;
    let spent = driver.run(
        cores.0,
        READ,
        depth,
        commands,
        &mut Windows::default(),
        &mut latencies,
    )?;
    let median = latencies.median();
    let rate = per_second(commands, spent.as_secs_f64());
    let counted = driver.counters()?.summary();
    Ok(row(options, "in-process", depth, (median, rate), &counted))
}

fn micro_guest(
    options: &TimingOptions,
    depth: u16,
    cores: (usize, usize),
    floor: Floor,
) -> Result<TimingRow, BenchError> {
    let profile = options.profile.clone();
    let function = setup(profile, options.seed, floor.way)
        .build()
        .map_err(|error| BenchError::Device(error.to_string()))?;
    let scenario = Scenario::Bench(Measurement {
        depth,
        bytes: 512,
        writes: false,
        commands: options.commands,
        batch: 1,
    });
    let guest = MicroGuest {
        cores: vec![cores.0],
        poller: PollerOptions {
            cpu: Some(cores.1),
            ..PollerOptions::default()
        },
        ..MicroGuest::new(scenario, Doorbells::Shadow, 512, AREA / 512)
    };
    let (report, function) = guest.run(function, |_| {})?;
    if let Some(failure) = report.failure() {
        return Err(BenchError::Device(format!("the micro-guest: {failure}")));
    }
    let measured = report.vcpus.first().and_then(|vcpu| vcpu.measured.as_ref());
    let measured =
        measured.ok_or_else(|| BenchError::Device("the micro-guest measured nothing".into()))?;
    let delivered = (whole(measured.latency_p50_ns), measured.mean_rate());
    let counted = function.engine().counters().summary();
    Ok(row(options, "micro-guest", depth, delivered, &counted))
}

fn row(
    options: &TimingOptions,
    driver: &'static str,
    depth: u16,
    (delivered_p50_ns, iops): (Nanos, f64),
    counted: &Summary,
) -> TimingRow {
    let (modelled_p50_ns, modelled_iops) = modelled(options, depth);
    TimingRow {
        driver,
        depth,
        commands: options.commands,
        delivered_p50_ns,
        modelled_p50_ns,
        iops,
        modelled_iops,
        early: counted.early,
        lateness_p50_ns: counted.lateness.p50_ns,
        lateness_p99_ns: counted.lateness.p99_ns,
        lateness_max_ns: counted.lateness.max_ns,
        lateness_host_share: counted.lateness_host_share(),
    }
}

/// Median latency and commands a second of a driver that takes no time: a command is rung in the
/// moment in which another one is due.
fn modelled(options: &TimingOptions, depth: u16) -> (Nanos, f64) {
    let mut model = Model::new(options.profile.clone(), options.seed);
    let mut in_flight = BinaryHeap::new();
    let mut latencies = Vec::new();
    let mut now = 0;
    for sequence in 0..options.commands {
        if in_flight.len() == usize::from(depth)
            && let Some(Reverse(due)) = in_flight.pop()
        {
            now = due;
        }
        let due = model.admit(now, &read(sequence));
        latencies.push(due - now);
        in_flight.push(Reverse(due));
    }
    let last = in_flight.into_iter().map(|Reverse(due)| due).max();
    let spent = std::time::Duration::from_nanos(last.unwrap_or(0));
    let rate = per_second(options.commands, spent.as_secs_f64());
    (median(&mut latencies), rate)
}

fn read(sequence: u64) -> Request {
    Request {
        nsid: 1,
        queue: 1,
        queue_creation: 0,
        sequence,
        work: Work::Read,
        bytes: 512,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(commands: u64, seconds: f64) -> f64 {
    commands as f64 / seconds
}

impl fmt::Display for TimingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "profile {}, 512-byte reads, real time; p50 in ns, IOPS in thousands",
            self.profile
        )?;
        writeln!(
            f,
            "driver       depth  p50 modelled  delivered  difference    IOPS modelled  delivered    \
             late p50    p99        max   the host's  early"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<11}  {:>5}  {:>12}  {:>9}  {:>+10}    {:>13.1}  {:>9.1}    {:>8}  {:>5}  {:>9}   {:>8.0} %  {:>5}",
                row.driver,
                row.depth,
                row.modelled_p50_ns,
                row.delivered_p50_ns,
                row.difference(),
                row.modelled_iops / 1e3,
                row.iops / 1e3,
                row.lateness_p50_ns,
                row.lateness_p99_ns,
                row.lateness_max_ns,
                100.0 * row.lateness_host_share,
                row.early,
            )?;
        }
        write!(
            f,
            "floor: {} ns from doorbell to completion, {} ns of it on the way (subtracted); {} ns for each of many \
             commands; a core-to-core round trip takes {:.0} ns",
            self.floor_response_ns,
            self.floor_way_ns,
            self.floor_command_ns,
            self.core_round_trip_ns
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::Service;

    fn options(units: u16, depths: Vec<u16>) -> TimingOptions {
        TimingOptions {
            profile: Profile::uniform("test", units, 100, &Service::uniform(1_900, 0)),
            seed: 1,
            commands: 2_000,
            depths,
            micro_guest: false,
            cores: None,
        }
    }

    /// Depth 1 sees front end and service; many commands see the units.
    #[test]
    fn modelled_is_that_of_a_driver_without_time_of_its_own() {
        let (median, iops) = modelled(&options(4, vec![]), 1);
        assert_eq!(median, 2_000);
        assert!((iops - 500_000.0).abs() < 1.0, "{iops}");
        let (median, iops) = modelled(&options(4, vec![]), 8);
        assert!((iops / (4e9 / 1_900.0) - 1.0).abs() < 0.01, "{iops}");
        assert!((3_700..4_000).contains(&median), "{median}");
    }

    /// How near is for the bench to tell; here no completion may be early, and all must be there.
    #[test]
    fn bench_timing_measures_each_depth() {
        let mut options = options(4, vec![1, 8]);
        options.profile = Profile::uniform("test", 4, 100, &Service::uniform(200_000, 0));
        let report = bench_timing(&options).unwrap();
        assert_eq!(report.rows.len(), 2);
        for row in &report.rows {
            assert_eq!(row.early, 0, "{report}");
            assert!(row.delivered_p50_ns > 190_000, "{report}");
            assert!(row.iops > 0.0, "{report}");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device does under KVM, in every doorbell mode, beside what the machine does at best.
//!
//! One vCPU on one core, the poller on another. Rates are of the quietest tenth of windows of 1024
//! commands, as the yardsticks are ([`crate::reference`]); latencies are medians over all commands.
//!
//! The row of depth 1 reads from a medium that stays in the poller's cache: it is the device that is
//! measured, not the host's memory. Beside it stands what the same reads take where each of them
//! waits for that memory. All other rows read from the large medium.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::device::DeviceSetup;
use super::guest::{MicroError, MicroGuest};
use super::scenario::{Doorbells, Measurement, Scenario};
use crate::controller::BlockSize;
use crate::drive::PollerOptions;
use crate::media::Backing;
use crate::pci::NvmeFunction;
use crate::reference::{Reference, round_trip_nanos, two_cores};
use crate::timing::Profile;

/// The profile that adds no time.
const FLOOR: &str = include_str!("../../../../../configs/profiles/floor.toml");

/// How it is measured.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Bytes of the large namespace and of the area that the yardstick copies from: far more than
    /// any cache.
    pub area: u64,
    /// Bytes of the small namespace: half of a usual second-level cache.
    pub cached_area: u64,
    /// Commands of each row without traps; rows with traps have a fiftieth.
    pub commands: u64,
    /// Modes, in order.
    pub doorbells: Vec<Doorbells>,
    /// Cores of vCPU and poller; chosen if not given.
    pub cores: Option<(usize, usize)>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            area: 1 << 30,
            cached_area: 256 << 10,
            commands: 1_000_000,
            doorbells: Doorbells::ALL.to_vec(),
            cores: None,
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BenchRow {
    /// How the guest rang.
    pub doorbells: Doorbells,
    /// Commands in flight.
    pub depth: u16,
    /// Bytes of a command.
    pub block_size: u32,
    /// Commands a second.
    pub iops: f64,
    /// Median latency in nanoseconds; at depth 1 out of a cached medium.
    pub lat_p50_ns: f64,
    /// At depth 1: the same, when each read waits for the host's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncached_lat_p50_ns: Option<f64>,
    /// Exits that the guest caused, per command.
    pub exits_per_io: f64,
    /// A cache line from one of the two cores to the other and back, in nanoseconds, measured just
    /// before and just after: the mean.
    pub core_round_trip_ns: f64,
}

impl BenchRow {
    /// The latency in core-to-core round trips.
    pub fn round_trips(&self) -> f64 {
        self.lat_p50_ns / self.core_round_trip_ns
    }
}

/// All measurements of a run and its yardsticks.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The measurements.
    pub rows: Vec<BenchRow>,
    /// A cache line from one of the two cores to the other and back, in nanoseconds: the shortest
    /// of this run.
    pub core_round_trip_ns: f64,
    /// 4 KiB copies a second out of a large area.
    pub memcpy_4k_per_s: f64,
}

/// Depth and bytes of each mode's measurements on the small medium, and on the large one.
const CACHED: (u16, u32) = (1, 512);
const UNCACHED: [(u16, u32); 3] = [CACHED, (32, 512), (32, 4096)];

/// Measures. Takes some seconds.
///
/// # Errors
/// When there is no KVM, or a guest's check fails.
pub fn bench_device(options: &BenchOptions) -> Result<BenchReport, MicroError> {
    let cores = match options.cores {
        Some(cores) => cores,
        None => two_cores().map_err(MicroError::Reference)?,
    };
    let reference = Reference::measure(cores, options.area).map_err(MicroError::Reference)?;
    let mut rows = Vec::new();
    for &doorbells in &options.doorbells {
        let plan = |(depth, bytes), area| Plan {
            doorbells,
            depth,
            bytes,
            area,
            commands: options.commands,
            cores,
        };
        let small = plan(CACHED, options.cached_area);
        let (mut first, _) = small.run_undisturbed(small.device()?)?;
        let mut function = plan(CACHED, options.area).device()?;
        for shape in UNCACHED {
            let (row, back) = plan(shape, options.area).run_undisturbed(function)?;
            function = back;
            if shape == CACHED {
                first.uncached_lat_p50_ns = Some(row.lat_p50_ns);
                rows.push(first);
            } else {
                rows.push(row);
            }
        }
    }
    let round_trips = rows.iter().map(|row| row.core_round_trip_ns);
    Ok(BenchReport {
        core_round_trip_ns: round_trips.fold(reference.round_trip_nanos, f64::min),
        rows,
        memcpy_4k_per_s: reference.copies_per_second(),
    })
}

/// One row to be.
struct Plan {
    doorbells: Doorbells,
    depth: u16,
    bytes: u32,
    /// Bytes of the namespace.
    area: u64,
    commands: u64,
    cores: (usize, usize),
}

/// So often a row is taken again because the machine was changed under it.
const ATTEMPTS: usize = 8;
/// The machine is the same before and after a row when a round trip takes at most so much longer.
const SAME: f64 = 1.15;

impl Plan {
    /// A new device for this measurement.
    fn device(&self) -> Result<NvmeFunction, MicroError> {
        let profile = Profile::parse(FLOOR, "floor");
        let setup = DeviceSetup {
            doorbells: self.doorbells,
            media: Backing::Ram,
            bytes: self.area,
            block: BlockSize::B512,
            queue_pairs: 2,
            profile: profile.map_err(|error| {
                MicroError::Failed(format!("the profile without delays: {error}"))
            })?,
            seed: 1,
            floor: 0,
            filled: true,
        };
        Ok(setup.build()?)
    }

    /// A row during which the distance between the two cores did not change; the last one that was
    /// tried when it always does.
    fn run_undisturbed(
        &self,
        mut function: NvmeFunction,
    ) -> Result<(BenchRow, NvmeFunction), MicroError> {
        for _ in 1..ATTEMPTS {
            let (row, same, back) = self.run(function)?;
            if same {
                return Ok((row, back));
            }
            function = back;
        }
        let (row, same, function) = self.run(function)?;
        if !same {
            log::warn!("the distance between the cores changed during every attempt");
        }
        Ok((row, function))
    }

    /// A row, and whether the distance between the cores was the same before and after.
    fn run(&self, function: NvmeFunction) -> Result<(BenchRow, bool, NvmeFunction), MicroError> {
        let round_trip = || round_trip_nanos(self.cores).map_err(MicroError::Reference);
        let before = round_trip()?;
        let commands = match self.doorbells {
            Doorbells::Exit => self.commands / 50,
            Doorbells::Shadow | Doorbells::Mapped => self.commands,
        };
        let measurement = Measurement {
            depth: self.depth,
            bytes: self.bytes,
            writes: false,
            commands,
            batch: (self.depth / 4).max(1),
        };
        let scenario = Scenario::Bench(measurement);
        let guest = MicroGuest {
            cores: vec![self.cores.0],
            poller: PollerOptions {
                cpu: Some(self.cores.1),
                lanes: Vec::new(),
                idle_sleep: None,
            },
            limit: Duration::from_secs(120),
            ..MicroGuest::new(scenario, self.doorbells, 512, self.area / 512)
        };
        let (report, function) = guest.run(function, |_| {})?;
        if let Some(failure) = report.failure() {
            return Err(MicroError::Failed(failure));
        }
        let measured = report
            .vcpus
            .into_iter()
            .next()
            .and_then(|vcpu| vcpu.measured);
        let exits = report.measured_exits;
        let (Some(mut measured), Some(exits)) = (measured, exits) else {
            return Err(MicroError::Failed("the guest measured nothing".into()));
        };
        let after = round_trip()?;
        let same = before.max(after) <= SAME * before.min(after);
        let row = BenchRow {
            doorbells: self.doorbells,
            depth: self.depth,
            block_size: self.bytes,
            iops: measured.rate(),
            lat_p50_ns: measured.latency_p50_ns,
            uncached_lat_p50_ns: None,
            exits_per_io: exits.per_command(measured.commands).unwrap_or(0.0),
            core_round_trip_ns: f64::midpoint(before, after),
        };
        Ok((row, same, function))
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "doorbells  depth  block    IOPS       latency p50                            exits/IO    beside"
        )?;
        for row in &self.rows {
            let beside = if let Some(uncached) = row.uncached_lat_p50_ns {
                format!("    {uncached:.0} ns where reads wait for memory")
            } else if row.block_size == 4096 {
                format!(
                    "    {:.2} of the rate of 4 KiB copies",
                    row.iops / self.memcpy_4k_per_s
                )
            } else {
                format!("    {:.2} of 3.0 M/s", row.iops / 3e6)
            };
            writeln!(
                f,
                "{:<9}  {:>5}  {:>5}  {:>7.3} M  {:>7.0} ns = {:>5.1} round trips of {:>3.0} ns  {:>8.6}{beside}",
                row.doorbells,
                row.depth,
                row.block_size,
                row.iops / 1e6,
                row.lat_p50_ns,
                row.round_trips(),
                row.core_round_trip_ns,
                row.exits_per_io,
            )?;
        }
        write!(
            f,
            "this run's own yardsticks: core-to-core round trips beside each row; {:.2} M copies of 4 KiB a second",
            self.memcpy_4k_per_s / 1e6
        )
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table beside what the model says about the same cells.

use std::collections::BTreeMap;

use emulator::timing::Profile;
use serde::Serialize;

use super::calibrate::scenario_of;
use super::table::Cell;
use super::{Calibration, Costs, simulate};
use crate::sweep::IoPath;

/// One cell, measured and modelled. "Seed" is whatever table it is compared with.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedCell {
    /// The device.
    pub device: String,
    /// The software path.
    pub path: IoPath,
    /// Queue depth.
    pub depth: u32,
    /// Bytes of an I/O.
    pub block_size: u32,
    /// I/Os a second of the table.
    pub seed_iops: f64,
    /// I/Os a second of the model.
    pub model_iops: f64,
    /// Of the I/Os a second: model / table - 1.
    pub error: f64,
    /// Median completion latency of the table, where it has one.
    pub seed_p50_us: Option<f64>,
    /// Median completion latency of the model.
    pub model_p50_us: f64,
    /// Of the latency, where the table has one.
    pub p50_error: Option<f64>,
    /// Whether the costs were fitted to this cell.
    pub calibrated: bool,
}

/// All cells and how far off the model is.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// In the table's order.
    pub cells: Vec<ComparedCell>,
    /// Mean of the errors of I/Os a second, signs dropped.
    pub mean_abs_error: f64,
    /// The largest of them.
    pub max_abs_error: f64,
    /// The largest error of a latency, where the table has any.
    pub max_abs_p50_error: Option<f64>,
    /// Of the host, in nanoseconds.
    pub parameters: Costs,
    /// Of the devices.
    pub profiles: BTreeMap<String, toml::Table>,
}

/// Simulates each cell with so many I/Os. Devices without a profile, and paths that the model does
/// not know, are left out.
pub fn compare(
    cells: &[Cell],
    costs: &Costs,
    profiles: &BTreeMap<String, Profile>,
    calibration: Option<&Calibration>,
    ios: u64,
) -> Comparison {
    let compared: Vec<_> = cells
        .iter()
        .filter_map(|cell| {
            let scenario = scenario_of(cell, costs, profiles.get(&cell.device)?, ios)?;
            let outcome = simulate(&scenario);
            let off = |model: f64, table: f64| model / table - 1.0;
            Some(ComparedCell {
                device: cell.device.clone(),
                path: cell.path,
                depth: cell.depth,
                block_size: cell.block_size,
                seed_iops: cell.iops,
                model_iops: outcome.iops,
                error: off(outcome.iops, cell.iops),
                seed_p50_us: cell.lat_p50_us,
                model_p50_us: outcome.median_us(),
                p50_error: cell.lat_p50_us.map(|table| off(outcome.median_us(), table)),
                calibrated: calibration.is_some_and(|of| !of.held_out.contains(&cell.depth)),
            })
        })
        .collect();
    let worst = |errors: &mut dyn Iterator<Item = f64>| errors.map(f64::abs).reduce(f64::max);
    let count = u32::try_from(compared.len())
        .map_or(1.0, f64::from)
        .max(1.0);
    Comparison {
        mean_abs_error: compared.iter().map(|cell| cell.error.abs()).sum::<f64>() / count,
        max_abs_error: worst(&mut compared.iter().map(|cell| cell.error)).unwrap_or(0.0),
        max_abs_p50_error: worst(&mut compared.iter().filter_map(|cell| cell.p50_error)),
        parameters: *costs,
        profiles: profiles
            .iter()
            .map(|(name, profile)| (name.clone(), profile.values().clone()))
            .collect(),
        cells: compared,
    }
}

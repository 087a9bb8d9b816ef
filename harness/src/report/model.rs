// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the model says, as tables.

use super::table::{Style, render};
use crate::model::{Comparison, Prediction};

/// A row for each cell: what is predicted, and where the processors' time goes.
pub fn prediction_table(prediction: &Prediction) -> String {
    let header = [
        "Depth",
        "Path",
        "IOPS",
        "p50",
        "p99",
        "submission",
        "completion",
        "waiting",
    ];
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let rows = prediction.cells.iter().map(|cell| {
        vec![
            cell.depth.to_string(),
            cell.path.to_string(),
            thousands(cell.iops),
            microseconds(cell.lat_p50_us),
            microseconds(cell.lat_p99_us),
            percent(cell.submission),
            percent(cell.completion),
            percent(cell.waiting),
        ]
    });
    let Prediction {
        profile,
        jobs,
        block_size,
        ..
    } = prediction;
    let jobs = match jobs {
        1 => String::new(),
        several => format!(", {several} jobs"),
    };
    format!(
        "Model, virtual time; profile {profile}, {block_size} bytes an I/O{jobs}\n{}",
        render(Style::Markdown, header.map(str::to_owned).to_vec(), rows)
    )
}

/// A row for each cell: the table's figures, the model's, and the errors. Cells that the parameters
/// were fitted to have a star.
pub fn comparison_table(comparison: &Comparison) -> String {
    let header = [
        "Device", "Depth", "Path", "IOPS", "model", "error", "p50", "model", "error",
    ];
    let signed = |error: f64| format!("{:+.1} %", error * 100.0);
    let rows = comparison.cells.iter().map(|cell| {
        let star = if cell.calibrated { " *" } else { "" };
        vec![
            cell.device.clone(),
            cell.depth.to_string(),
            cell.path.to_string(),
            thousands(cell.seed_iops),
            thousands(cell.model_iops),
            format!("{}{star}", signed(cell.error)),
            cell.seed_p50_us.map_or_else(String::new, microseconds),
            microseconds(cell.model_p50_us),
            cell.p50_error.map_or_else(String::new, signed),
        ]
    });
    let percent = |error: f64| format!("{:.1} %", error * 100.0);
    let latency = comparison
        .max_abs_p50_error
        .map_or_else(String::new, |error| {
            format!("; worst median latency {}", percent(error))
        });
    format!(
        "{}\nerror of IOPS: mean {}, worst {}{latency}   (*: fitted to this cell)",
        render(Style::Markdown, header.map(str::to_owned).to_vec(), rows),
        percent(comparison.mean_abs_error),
        percent(comparison.max_abs_error),
    )
}

fn thousands(iops: f64) -> String {
    format!("{:.0}K", iops / 1000.0)
}

fn microseconds(time: f64) -> String {
    format!("{time:.1} us")
}

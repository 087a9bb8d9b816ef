// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the model says, as tables.

use super::table::{Style, render};
use crate::model::{Comparison, Grid, GridCell, PredictedCell, Prediction};

/// A row for each cell: what is predicted, and where the processors' time goes.
pub fn prediction_table(prediction: &Prediction) -> String {
    let (header, rows) = prediction_rows(prediction);
    format!(
        "Model, virtual time; {}\n{}",
        prediction_subject(prediction),
        render(Style::Markdown, header, rows.into_iter())
    )
}

/// What was predicted, in a heading's words.
pub(super) fn prediction_subject(prediction: &Prediction) -> String {
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
    format!("profile {profile}, {block_size} bytes an I/O{jobs}")
}

/// A table's header and rows.
pub(super) type Rows = (Vec<String>, Vec<Vec<String>>);

pub(super) fn prediction_rows(prediction: &Prediction) -> Rows {
    let rows = prediction.cells.iter().map(prediction_row).collect();
    (PREDICTED.map(str::to_owned).to_vec(), rows)
}

/// Of what is predicted.
const PREDICTED: [&str; 8] = [
    "Depth",
    "Path",
    "IOPS",
    "p50",
    "p99",
    "submission",
    "completion",
    "waiting",
];

fn prediction_row(cell: &PredictedCell) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
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
}

/// A row for each cell of each point, its keys first. The depth stands where it always does.
pub fn grid_table(grid: &Grid) -> String {
    let (header, rows) = grid_rows(grid, &grid.cells.iter().collect::<Vec<_>>());
    format!(
        "Model, virtual time; profile {}\n{}",
        grid.profile,
        render(Style::Markdown, header, rows.into_iter())
    )
}

/// Of some of its cells.
pub(super) fn grid_rows(grid: &Grid, cells: &[&GridCell]) -> Rows {
    let keys: Vec<&String> = keys_but(grid, &["depth"]);
    let header = keys.iter().copied().cloned();
    let header = header.chain(PREDICTED.map(str::to_owned)).collect();
    let rows = cells.iter().map(|cell| {
        let at = keys.iter().map(|key| cell.at[*key].clone());
        at.chain(prediction_row(&cell.predicted)).collect()
    });
    (header, rows.collect())
}

/// The same as CSV, in whole I/Os a second and in microseconds.
///
/// # Errors
/// None that memory does not make.
pub fn grid_csv(grid: &Grid) -> anyhow::Result<String> {
    let own = [
        "depth",
        "path",
        "batch",
        "jobs",
        "block_size",
        "iops",
        "lat_p50_us",
        "lat_p99_us",
        "submission",
        "completion",
        "waiting",
    ];
    let keys = keys_but(grid, &own);
    let mut text = csv::Writer::from_writer(Vec::new());
    text.write_record(keys.iter().map(|key| key.as_str()).chain(own))?;
    for cell in &grid.cells {
        let predicted = &cell.predicted;
        let figures = [
            predicted.depth.to_string(),
            predicted.path.to_string(),
            predicted.batch.to_string(),
            cell.jobs.to_string(),
            cell.block_size.to_string(),
            format!("{:.0}", predicted.iops),
            format!("{:.3}", predicted.lat_p50_us),
            format!("{:.3}", predicted.lat_p99_us),
            format!("{:.4}", predicted.submission),
            format!("{:.4}", predicted.completion),
            format!("{:.4}", predicted.waiting),
        ];
        let at = keys.iter().map(|key| cell.at[*key].clone());
        text.write_record(at.chain(figures))?;
    }
    Ok(String::from_utf8(text.into_inner()?)?.trim_end().to_owned())
}

/// What is varied, without what has a column anyway.
fn keys_but<'a>(grid: &'a Grid, columns: &[&str]) -> Vec<&'a String> {
    let keys = grid.sweep.iter().map(|axis| &axis.key);
    keys.filter(|key| !columns.contains(&key.as_str()))
        .collect()
}

/// A row for each cell: the table's figures, the model's, and the errors. Cells that the parameters
/// were fitted to have a star.
pub fn comparison_table(comparison: &Comparison) -> String {
    let (header, rows) = comparison_rows(comparison);
    format!(
        "{}\n{}",
        render(Style::Markdown, header, rows.into_iter()),
        comparison_errors(comparison)
    )
}

pub(super) fn comparison_rows(comparison: &Comparison) -> Rows {
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
    (header.map(str::to_owned).to_vec(), rows.collect())
}

/// How far off the model is, in a sentence.
pub(super) fn comparison_errors(comparison: &Comparison) -> String {
    let percent = |error: f64| format!("{:.1} %", error * 100.0);
    let latency = comparison
        .max_abs_p50_error
        .map_or_else(String::new, |error| {
            format!("; worst median latency {}", percent(error))
        });
    format!(
        "error of IOPS: mean {}, worst {}{latency}   (*: fitted to this cell)",
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A comparison as tables.

use super::table::{Style, microseconds, render, thousands};
use crate::compare::{ComparedCell, Comparison, Figure};

/// A row for each cell: I/Os per second of both sides, how they differ, and the verdict.
pub fn iops_table(comparison: &Comparison, style: Style) -> String {
    let header = ["Depth", "Path", "A", "B", "B / A", "p", "verdict"];
    let rows = comparison.cells.iter().map(|cell| {
        let mut row = place(cell);
        row.extend([
            shown(cell.a.iops, thousands),
            shown(cell.b.iops, thousands),
            shown(cell.ratio, ratio),
            cell.p_adjusted.map_or_else(|| "-".to_owned(), probability),
            cell.verdict.to_string(),
        ]);
        row
    });
    let overall = comparison.overall;
    let last = vec![
        "all".to_owned(),
        "geometric mean".to_owned(),
        String::new(),
        String::new(),
        shown(overall.ratio, ratio),
        overall.p_value.map_or_else(|| "-".to_owned(), probability),
        String::new(),
    ];
    let rows = rows.chain(std::iter::once(last));
    render(style, header.map(str::to_owned).to_vec(), rows)
}

/// A row for each cell: completion latency of both sides.
pub fn latency_table(comparison: &Comparison, style: Style) -> String {
    let header = ["Depth", "Path", "p50 A", "p50 B", "p99 A", "p99 B"];
    let rows = comparison.cells.iter().map(|cell| {
        let mut row = place(cell);
        let (a, b) = (cell.a, cell.b);
        for figure in [a.lat_p50_ns, b.lat_p50_ns, a.lat_p99_ns, b.lat_p99_ns] {
            row.push(shown(figure, microseconds));
        }
        row
    });
    render(style, header.map(str::to_owned).to_vec(), rows)
}

fn place(cell: &ComparedCell) -> Vec<String> {
    vec![cell.depth.to_string(), cell.path.to_string()]
}

/// A figure with its interval: `0.96 [0.93, 0.99]`.
fn shown(figure: Figure, text: fn(f64) -> String) -> String {
    match figure.interval {
        None => text(figure.value),
        Some(interval) => {
            let (value, low, high) = (text(figure.value), text(interval.low), text(interval.high));
            format!("{value} [{low}, {high}]")
        }
    }
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}")
}

fn probability(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("{p:.3}")
    }
}

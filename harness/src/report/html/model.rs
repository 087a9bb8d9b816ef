// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the model says about single points and about tables, as pages.

use std::collections::BTreeSet;

use super::chart::ascending;
use super::depth;
use super::figures::{count, nanoseconds, time};
use super::frame::Format;
use super::markup::{Escaped, table};
use super::{Section, document};
use crate::model::{ComparedCell, Comparison, Costs, PredictedCell, Prediction};
use crate::report::model::{
    comparison_errors, comparison_rows, prediction_rows, prediction_subject,
};
use crate::sweep::IoPath;

/// An axis of I/Os per second.
pub(super) const IOPS: (&str, Format) = ("I/Os per second", count);
/// An axis of latencies in nanoseconds.
pub(super) const LATENCY: (&str, Format) = ("completion latency", time);

/// I/Os per second and latencies over the depth, with a line for each path.
pub fn prediction_page(prediction: &Prediction) -> String {
    let figures = |path, figure: fn(&PredictedCell) -> f64| {
        let cells = prediction.cells.iter().filter(|cell| cell.path == path);
        ascending(cells.map(|cell| (cell.depth.into(), figure(cell))))
    };
    let (mut iops, mut latency) = (Vec::new(), Vec::new());
    for path in paths(prediction.cells.iter().map(|cell| cell.path)) {
        iops.push(depth::line(path, "", figures(path, |cell| cell.iops)));
        let p50 = figures(path, |cell| cell.lat_p50_us * 1e3);
        latency.push(depth::line(path, " p50", p50));
        let p99 = figures(path, |cell| cell.lat_p99_us * 1e3);
        latency.push(depth::beside(path, "p99", p99));
    }
    let (header, rows) = prediction_rows(prediction);
    document(
        &format!("Model, {}", prediction_subject(prediction)),
        [
            Section {
                title: "I/Os per second",
                body: format!(
                    "{}<p>In virtual time. Submission, completion and waiting are shares of the processors' time.</p>\n{}",
                    depth::chart("I/Os per second over queue depth", IOPS, iops),
                    table(&header, &rows)
                ),
            },
            Section {
                title: "Completion latency",
                body: depth::chart("Completion latency over queue depth", LATENCY, latency),
            },
            parameters(prediction.parameters),
        ],
    )
}

/// For each device of the table of that name, the model's figures beside the table's; and the errors.
pub fn comparison_page(name: &str, comparison: &Comparison) -> String {
    let mut devices: Vec<(&str, u32)> = Vec::new();
    for cell in &comparison.cells {
        let device = (&*cell.device, cell.block_size);
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    let charts = |title, y_title, figures: Figures| -> String {
        let chart = |&(device, block_size): &(&str, u32)| {
            let of_device =
                |cell: &&ComparedCell| cell.device == device && cell.block_size == block_size;
            let cells: Vec<_> = comparison.cells.iter().filter(of_device).collect();
            let title = format!("{title}: {device}, {block_size} bytes an I/O");
            compared(&cells, &title, y_title, figures)
        };
        devices.iter().map(chart).collect()
    };
    let iops = |cell: &ComparedCell| (cell.model_iops, Some(cell.seed_iops));
    let latency = |cell: &ComparedCell| {
        (
            cell.model_p50_us * 1e3,
            cell.seed_p50_us.map(|p50| p50 * 1e3),
        )
    };
    let (header, rows) = comparison_rows(comparison);
    document(
        &format!("Model beside table {name}"),
        [
            Section {
                title: "I/Os per second",
                body: format!("{}{DASHED}", charts("I/Os per second", IOPS, iops)),
            },
            Section {
                title: "Median completion latency",
                body: format!("{}{DASHED}", charts("p50", LATENCY, latency)),
            },
            Section {
                title: "Errors",
                body: format!(
                    "{}<p>{}</p>\n",
                    table(&header, &rows),
                    Escaped(comparison_errors(comparison))
                ),
            },
            parameters(comparison.parameters),
        ],
    )
}

/// The model's figure of a cell, and the table's where it has one.
type Figures = fn(&ComparedCell) -> (f64, Option<f64>);

const DASHED: &str = "<p>Dashed: the table's, where it has any.</p>\n";

fn compared(
    cells: &[&ComparedCell],
    title: &str,
    y_title: (&str, Format),
    figures: Figures,
) -> String {
    let mut series = Vec::new();
    for path in paths(cells.iter().map(|cell| cell.path)) {
        let cells = || cells.iter().filter(move |cell| cell.path == path);
        let of_model = cells().map(|cell| (cell.depth.into(), figures(cell).0));
        series.push(depth::line(path, "", ascending(of_model)));
        let of_table = cells().filter_map(|cell| Some((cell.depth.into(), figures(cell).1?)));
        series.push(depth::beside(path, "table", ascending(of_table)));
    }
    depth::chart(title, y_title, series)
}

/// Each once, in the seed's order.
pub(super) fn paths(all: impl Iterator<Item = IoPath>) -> BTreeSet<IoPath> {
    all.collect()
}

/// Of the host.
pub(super) fn parameters(mut costs: Costs) -> Section {
    let costs = costs.named().map(|(name, cost)| {
        let cost = time(nanoseconds(*cost));
        format!("<li>{name}: <code>{cost}</code></li>\n")
    });
    Section {
        title: "Costs of the host",
        body: format!("<ul>\n{}</ul>\n", costs.concat()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::Content;
    use super::*;

    /// A predicted cell.
    pub(in super::super) fn cell(depth: u32, path: IoPath, iops: f64) -> PredictedCell {
        PredictedCell {
            path,
            depth,
            batch: 1,
            iops,
            lat_p50_us: 12.5,
            lat_p99_us: 20.0,
            submission: 0.25,
            completion: 0.25,
            waiting: 0.5,
        }
    }

    fn compared(device: &str, depth: u32, seed_p50_us: Option<f64>) -> ComparedCell {
        ComparedCell {
            device: device.into(),
            path: IoPath::Mainline,
            depth,
            block_size: 4096,
            seed_iops: 90_000.0,
            model_iops: 100_000.0,
            error: 0.111,
            seed_p50_us,
            model_p50_us: 9.0,
            p50_error: seed_p50_us.map(|_| -0.05),
            calibrated: false,
        }
    }

    #[test]
    fn prediction_has_a_line_for_each_path_from_left_to_right() {
        let page = prediction_page(&Prediction {
            time: "virtual",
            profile: "<mine>".into(),
            jobs: 2,
            block_size: 4096,
            parameters: Costs {
                io: 250,
                ..Costs::default()
            },
            cells: vec![
                cell(8, IoPath::Mainline, 80_000.0),
                cell(1, IoPath::Mainline, 10_000.0),
                cell(1, IoPath::AioPollAll, 20_000.0),
            ],
        });
        let content = Content::of(&page);
        assert_eq!(content.number_of("svg"), 2);
        // I/Os per second, p50 and p99 of three cells.
        assert_eq!(content.number_of("circle"), 9);
        for text in [
            "Model, profile &lt;mine&gt;, 4096 bytes an I/O, 2 jobs",
            "mainline: 80K at 8",
            "aio-poll-all p99: 20 \u{b5}s at 1",
            "io: 250 ns",
        ] {
            assert!(content.text.contains(text), "{text}");
        }
        let (first, last) = (
            page.find("mainline: 10K at 1"),
            page.find("mainline: 80K at 8"),
        );
        assert!(first < last);
    }

    #[test]
    fn comparison_has_charts_for_each_device_with_the_tables_figures() {
        let mut large = compared("b", 1, None);
        large.block_size = 65_536;
        let page = comparison_page(
            "mine",
            &Comparison {
                cells: vec![
                    compared("a", 1, Some(9.5)),
                    compared("a", 4, None),
                    compared("b", 1, None),
                    large,
                ],
                mean_abs_error: 0.111,
                max_abs_error: 0.111,
                max_abs_p50_error: Some(0.05),
                parameters: Costs::default(),
                profiles: BTreeMap::new(),
            },
        );
        let content = Content::of(&page);
        assert_eq!(content.number_of("svg"), 6);
        // Four cells of the model twice, four of the table's IOPS, one of its latencies.
        assert_eq!(content.number_of("circle"), 13);
        for text in [
            "Model beside table mine",
            "p50: b, 65536 bytes an I/O",
            "mainline table: 90K at 4",
            "mainline table: 9.5 \u{b5}s at 1",
            "+11.1 %",
            "error of IOPS: mean 11.1 %",
        ] {
            assert!(content.text.contains(text), "{text}");
        }
    }
}

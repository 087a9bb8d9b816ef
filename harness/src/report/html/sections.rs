// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the page shows of a run.

use std::collections::BTreeMap;

use super::Section;
use super::chart::{Chart, Series, ascending};
use super::depth::{self, HALF};
use super::figures::{count, nanoseconds, share, time};
use super::markup::{Escaped, table};
use super::scale::{Axis, Scale};
use crate::exit::Failure;
use crate::report::read::Run;
use crate::report::table::{microseconds, percent, thousands};
use crate::sweep::{DeviceCounts, Document, IoPath, Row, host_share};

/// I/Os per second over the depth, the seed's beside them.
pub(super) fn iops(run: &Run) -> Section {
    let document = &run.document;
    let mut series = Vec::new();
    for path in document.paths() {
        series.push(over_depth(document, path, "", |row| Some(row.iops)));
        let of_seed = document.seed_rows.iter().filter(|row| row.path == path);
        let points = of_seed.map(|row| (f64::from(row.depth), f64::from(row.iops)));
        series.push(depth::beside(path, "seed", points.collect()));
    }
    let chart = depth::chart(
        "I/Os per second over queue depth",
        ("I/Os per second", count),
        series,
    );
    let seed = if document.seed_rows.is_empty() {
        "The 2018 series has no figures for this profile."
    } else {
        "Dashed: what the cover letter of the 2018 series reported, from real drives."
    };
    Section {
        title: "I/Os per second",
        body: format!("{chart}<p>{seed}</p>\n{}", depth_table(document)),
    }
}

/// Median and 99th percentile of the completion latency over the depth.
pub(super) fn latency(run: &Run) -> Section {
    let document = &run.document;
    let mut series = Vec::new();
    for path in document.paths() {
        let p50 = |row: &Row| Some(nanoseconds(row.lat_p50_ns));
        let p99 = |row: &Row| Some(nanoseconds(row.lat_p99_ns));
        series.push(over_depth(document, path, " p50", p50));
        series.push(depth::beside(path, "p99", points(document, path, p99)));
    }
    let chart = depth::chart(
        "Completion latency over queue depth",
        ("completion latency", time),
        series,
    );
    Section {
        title: "Completion latency",
        body: format!("{chart}<p>fio's clat: from the end of the submission to the reap.</p>\n"),
    }
}

/// How the latencies of each depth are distributed; nothing where fio's own output was not kept.
pub(super) fn distributions(run: &Run) -> Result<Option<Section>, Failure> {
    let mut charts = String::new();
    for depth in run.document.depths() {
        let mut series = Vec::new();
        for row in run.document.rows.iter().filter(|row| row.depth == depth) {
            let bins = run.latencies(row)?.unwrap_or_default();
            if !bins.is_empty() {
                series.push(Series {
                    name: row.path.to_string(),
                    class: row.path.name(),
                    dashed: false,
                    marks: false,
                    points: shares(&bins),
                });
            }
        }
        if series.is_empty() {
            continue;
        }
        let points = || series.iter().flat_map(|series| &series.points);
        let chart = Chart {
            title: format!("Depth {depth}"),
            size: HALF,
            x: Axis::covering(Scale::Log10, points().map(|point| point.0)),
            x_title: ("completion latency", time),
            y: Axis::covering(Scale::Tail, points().map(|point| point.1)),
            y_title: ("share of I/Os that took no longer", share),
            series,
        };
        charts.push_str(&chart.svg());
    }
    let section = Section {
        title: "Distribution of completion latencies",
        body: format!(
            "<p>Cumulative, from fio's bins. The vertical axis is stretched towards 100 %: as far as from 0 to 90 % it is from 90 to 99 %; what is beyond 99.999 % is drawn there.</p>\n\
             <div class=\"charts\">\n{charts}</div>\n"
        ),
    };
    Ok((!charts.is_empty()).then_some(section))
}

/// How long after their modelled time the device posted completions; nothing where it does not say.
pub(super) fn lateness(run: &Run) -> Option<Section> {
    let document = &run.document;
    let counted = |row: &Row| row.counted.is_some();
    if !document.rows.iter().any(counted) {
        return None;
    }
    let mut series = Vec::new();
    for path in document.paths() {
        let of = |row: &Row, field: fn(&DeviceCounts) -> u64| {
            let counted = row.counted.as_ref()?;
            Some(nanoseconds(field(counted)))
        };
        let p50 = |row: &Row| of(row, |counted| counted.lateness_p50_ns);
        let p99 = |row: &Row| of(row, |counted| counted.lateness_p99_ns);
        series.push(over_depth(document, path, " p99", p99));
        series.push(depth::beside(path, "p50", points(document, path, p50)));
    }
    let chart = depth::chart(
        "Lateness over queue depth",
        ("posted after the modelled time", time),
        series,
    );
    let header = [
        "Depth",
        "Path",
        "p50",
        "p99",
        "longest",
        "the host's",
        "early",
    ]
    .map(str::to_owned);
    let rows = document.rows.iter().filter_map(|row| {
        let counted = row.counted.as_ref()?;
        let unknown = || "-".to_owned();
        let longest = counted.lateness_max_ns.map(nanoseconds);
        Some(vec![
            row.depth.to_string(),
            row.path.to_string(),
            time(nanoseconds(counted.lateness_p50_ns)),
            time(nanoseconds(counted.lateness_p99_ns)),
            longest.map_or_else(unknown, time),
            host_share([counted]).map_or_else(unknown, percent),
            counted
                .early
                .map_or_else(unknown, |early| early.to_string()),
        ])
    });
    Some(Section {
        title: "Lateness of the device",
        body: format!(
            "{chart}<p>How long after its modelled time a completion was posted; what is below 1 ns is drawn at 1 ns. \
             None may be early. \"The host's\" is the part of it during which the host ran something else on the \
             device's core.</p>\n{}",
            table(&header, &rows.collect::<Vec<_>>())
        ),
    })
}

/// What somebody else needs to judge the figures.
pub(super) fn circumstances(run: &Run) -> Section {
    let about = &run.circumstances;
    let mut items = vec![
        ("accel", run.document.accel.clone()),
        ("time", run.document.time.clone()),
        ("device", run.document.device.to_string()),
        (
            "host",
            format!("{}, Linux {}", about.host.cpu, about.host.kernel),
        ),
        ("cores", about.placement_note.clone()),
        (
            "subtracted for the way to the device",
            format!("{} ns", about.floor_ns),
        ),
    ];
    let mut kernels: Vec<String> = Vec::new();
    for row in &run.document.rows {
        let kernel = &row.kernel;
        let text = format!(
            "{} {}, SHA-256 {}",
            kernel.flavour, kernel.release, kernel.sha256
        );
        if !kernels.contains(&text) {
            kernels.push(text);
        }
    }
    items.extend(kernels.into_iter().map(|kernel| ("kernel", kernel)));
    let revision = about.revision.as_deref().unwrap_or("unknown");
    items.push((
        "hipri",
        format!("{}, revision {revision}, seed {}", about.hipri, about.seed),
    ));
    items.push(("command", about.command.join(" ")));
    let items: String = items
        .iter()
        .map(|(name, text)| format!("<li>{name}: <code>{}</code></li>\n", Escaped(text)))
        .collect();
    Section {
        title: "Circumstances",
        body: format!("<ul>\n{items}</ul>\n"),
    }
}

fn depth_table(document: &Document) -> String {
    let paths = document.paths();
    let mut header = vec!["Depth".to_owned()];
    for path in &paths {
        header.extend([path.to_string(), "p50".into(), "p99".into(), "seed".into()]);
    }
    let cells = |depth, path: &IoPath| match document.row(depth, *path) {
        Some(row) => [
            thousands(row.iops),
            microseconds(nanoseconds(row.lat_p50_ns)),
            microseconds(nanoseconds(row.lat_p99_ns)),
        ],
        None => [const { String::new() }; 3],
    };
    let rows = document.depths().into_iter().map(|depth| {
        let mut line = vec![depth.to_string()];
        for path in &paths {
            line.extend(cells(depth, path));
            let seed = document.seed_row(depth, *path);
            line.push(seed.map_or_else(String::new, |row| thousands(row.iops.into())));
        }
        line
    });
    table(&header, &rows.collect::<Vec<_>>())
}

fn over_depth(
    document: &Document,
    path: IoPath,
    suffix: &str,
    figure: impl Fn(&Row) -> Option<f64>,
) -> Series {
    depth::line(path, suffix, points(document, path, figure))
}

fn points(
    document: &Document,
    path: IoPath,
    figure: impl Fn(&Row) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let rows = document.rows.iter().filter(|row| row.path == path);
    let point = |row: &Row| Some((f64::from(row.depth), figure(row)?));
    ascending(rows.filter_map(point))
}

/// The share of all I/Os that took no longer than each bin. The last is drawn half an I/O below
/// 100 %, which the axis does not have.
fn shares(bins: &BTreeMap<u64, u64>) -> Vec<(f64, f64)> {
    let total = nanoseconds(bins.values().sum());
    let mut seen = 0.0;
    bins.iter()
        .map(|(&time, &count)| {
            seen += nanoseconds(count);
            (nanoseconds(time), seen.min(total - 0.5) / total)
        })
        .collect()
}

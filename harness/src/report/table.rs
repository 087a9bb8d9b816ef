// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sweep as tables: what was measured beside what the seed reported.

use comfy_table::{CellAlignment, Table, presets};

use crate::sweep::seed::{SUBMIT_NS, SeedRow};
use crate::sweep::{DeviceCounts, Document, Exits, IoPath, Row, RunSummary, host_share};

/// Where a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// On a terminal.
    Terminal,
    /// In a Markdown file.
    Markdown,
}

/// A row for each depth: for each path what was measured, and what the seed reported where it has
/// a figure. I/Os per second in thousands, median completion latency in microseconds.
pub fn depth_table(document: &Document, style: Style) -> String {
    let paths = document.paths();
    let with_seed = |path: &IoPath| document.seed_rows.iter().any(|row| row.path == *path);
    let mut header = vec!["Depth".to_owned()];
    for path in &paths {
        header.push(path.to_string());
        if with_seed(path) {
            header.push("seed".to_owned());
        }
    }
    let rows = document.depths().into_iter().map(|depth| {
        let mut cells = vec![depth.to_string()];
        for path in &paths {
            cells.push(
                document
                    .row(depth, *path)
                    .map_or_else(String::new, measured),
            );
            if with_seed(path) {
                cells.push(
                    document
                        .seed_row(depth, *path)
                        .map_or_else(String::new, seeded),
                );
            }
        }
        cells
    });
    render(style, header, rows)
}

/// For each path: mean submission time over all depths beside the seed's.
pub fn submission(document: &Document, style: Style) -> String {
    let header = ["Path", "mean submission", "seed"]
        .map(str::to_owned)
        .to_vec();
    let rows = document.paths().into_iter().map(|path| {
        let times: Vec<f64> = rows_of(document, path).map(|row| row.submit_ns).collect();
        let count = u32::try_from(times.len()).map_or(1.0, f64::from);
        let mean = times.iter().sum::<f64>() / count;
        vec![path.to_string(), microseconds(mean), seed_submission(path)]
    });
    render(style, header, rows)
}

/// For each path: what the device and the guest's kernel counted, all depths together. What was
/// not counted is a dash; exits have columns only where they were counted.
pub fn counters(document: &Document, style: Style) -> String {
    let mut columns: Vec<Column> = vec![
        ("polled", |rows| sum(rows, |d| d.polled_commands)),
        ("by interrupt", |rows| sum(rows, |d| d.irq_commands)),
        ("interrupts", |rows| sum(rows, |d| d.interrupts)),
        ("taken by the guest", |rows| {
            let taken: Option<u64> = rows.iter().map(|row| row.guest_interrupts).sum();
            taken.map(|taken| taken.to_string())
        }),
        ("doorbell traps", |rows| sum(rows, |d| d.doorbell_traps)),
        ("late p50 / p99 / max, worst depth", |rows| {
            Some(format!(
                "{} / {} / {}",
                worst(rows, |d| Some(d.lateness_p50_ns))?,
                worst(rows, |d| Some(d.lateness_p99_ns))?,
                worst(rows, |d| d.lateness_max_ns)?,
            ))
        }),
        ("by the host", |rows| {
            host_share(counted(rows)?).map(percent)
        }),
        ("early", |rows| {
            let early: Option<u64> = counted(rows)?.iter().map(|d| d.early).sum();
            early.map(|early| early.to_string())
        }),
    ];
    if document.summary.exits.is_some() {
        columns.push(("exits per I/O", |rows| {
            let exits = exits(rows)?;
            Some(format!("{:.4}", exits.exits_per_io))
        }));
        columns.push(("host interruptions", |rows| {
            Some(exits(rows)?.host_interruptions.to_string())
        }));
    }
    let header = std::iter::once("Path").chain(columns.iter().map(|(name, _)| *name));
    let rows = document.paths().into_iter().map(|path| {
        let rows: Vec<Row> = rows_of(document, path).cloned().collect();
        let cells = columns
            .iter()
            .map(|(_, cell)| cell(&rows).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(path.to_string()).chain(cells).collect()
    });
    render(style, header.map(str::to_owned).collect(), rows)
}

/// A column's name and its cell for the rows of a path; `None` is a figure that was not counted.
type Column = (&'static str, fn(&[Row]) -> Option<String>);

fn counted(rows: &[Row]) -> Option<Vec<&DeviceCounts>> {
    rows.iter().map(|row| row.counted.as_ref()).collect()
}

fn sum(rows: &[Row], field: fn(&DeviceCounts) -> u64) -> Option<String> {
    let total: u64 = counted(rows)?.into_iter().map(field).sum();
    Some(total.to_string())
}

fn worst(rows: &[Row], field: fn(&DeviceCounts) -> Option<u64>) -> Option<String> {
    let all: Option<Vec<_>> = counted(rows)?.into_iter().map(field).collect();
    let worst = all?.into_iter().max()?;
    Some(match u32::try_from(worst) {
        Ok(worst) if worst >= 10_000 => microseconds(worst.into()),
        _ => format!("{worst} ns"),
    })
}

/// What part of all lateness is the host's doing, in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn exits(rows: &[Row]) -> Option<Exits> {
    RunSummary::of(rows).exits
}

fn rows_of(document: &Document, path: IoPath) -> impl Iterator<Item = &Row> {
    document.rows.iter().filter(move |row| row.path == path)
}

pub(super) fn render(
    style: Style,
    header: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(match style {
        Style::Terminal => presets::UTF8_HORIZONTAL_ONLY,
        Style::Markdown => presets::ASCII_MARKDOWN,
    });
    let columns = header.len();
    table.set_header(header);
    table.add_rows(rows);
    for index in 0..columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn measured(row: &Row) -> String {
    let nanoseconds = u32::try_from(row.lat_p50_ns).map_or(f64::INFINITY, f64::from);
    let mut text = format!("{} / {}", thousands(row.iops), microseconds(nanoseconds));
    if let Some(ratio) = row.ratio_to_reference {
        text.push_str(&format!(" / {ratio:.2}"));
    }
    text
}

fn seeded(row: &SeedRow) -> String {
    let iops = thousands(row.iops.into());
    match row.lat_p50_ns {
        Some(nanoseconds) => format!("{iops} / {}", microseconds(nanoseconds.into())),
        None => iops,
    }
}

fn seed_submission(path: IoPath) -> String {
    let found = SUBMIT_NS.iter().find(|(of, _, _)| *of == path);
    match found {
        None => String::new(),
        Some((_, low, high)) if low == high => microseconds((*low).into()),
        Some((_, low, high)) => format!(
            "{:.1} to {}",
            f64::from(*low) / 1000.0,
            microseconds((*high).into())
        ),
    }
}

pub(super) fn thousands(iops: f64) -> String {
    if iops < 10_000.0 {
        format!("{:.1}K", iops / 1000.0)
    } else {
        format!("{:.0}K", iops / 1000.0)
    }
}

pub(super) fn microseconds(nanoseconds: f64) -> String {
    let precision = if nanoseconds < 1000.0 { 2 } else { 1 };
    format!("{:.precision$} us", nanoseconds / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Flavour;
    use crate::machine::DeviceKind;
    use crate::sweep::{KernelIdentity, seed};

    fn row(depth: u32, path: IoPath, iops: f64) -> Row {
        Row {
            depth,
            path,
            kernel: KernelIdentity {
                flavour: Flavour::Patched,
                release: "6.12".into(),
                sha256: "0".into(),
            },
            iops,
            lat_p50_ns: 8500,
            lat_p99_ns: 9000,
            submit_ns: 660.0,
            ios: 5,
            guest_interrupts: Some(3),
            counted: Some(DeviceCounts {
                polled_commands: 5,
                irq_commands: 0,
                interrupts: 0,
                doorbell_traps: 0,
                lateness_p50_ns: 100,
                lateness_p99_ns: 200,
                lateness_max_ns: Some(300),
                early: Some(0),
                lateness_sum_ns: Some(1000),
                lateness_host_ns: Some(250),
                exits: None,
            }),
            ratio_to_reference: None,
        }
    }

    fn document(profile: &str) -> Document {
        Document {
            profile: Some(profile.into()),
            accel: "uml".into(),
            device: DeviceKind::Hipri,
            summary: RunSummary::default(),
            time: "real".into(),
            rows: vec![
                row(1, IoPath::Mainline, 77_400.0),
                row(2, IoPath::Mainline, 145_000.0),
            ],
            seed_rows: seed::rows(profile),
        }
    }

    #[test]
    fn depth_table_markdown_has_seed_beside_measured() {
        let table = depth_table(&document("low-latency"), Style::Markdown);
        assert_eq!(
            table,
            "\
| Depth |      mainline |          seed |
|-------|---------------|---------------|
|     1 |  77K / 8.5 us |  84K / 8.5 us |
|     2 | 145K / 8.5 us | 201K / 7.4 us |"
        );
    }

    #[test]
    fn depth_table_profile_without_seed_has_no_seed_column() {
        assert!(!depth_table(&document("floor"), Style::Terminal).contains("seed"));
    }

    #[test]
    fn depth_table_reference_shows_ratio() {
        let mut document = document("floor");
        document.rows[0].ratio_to_reference = Some(0.9);
        assert!(depth_table(&document, Style::Markdown).contains("77K / 8.5 us / 0.90"));
    }

    #[test]
    fn submission_has_the_seeds_range() {
        let table = submission(&document("high-iops"), Style::Markdown);
        assert!(table.contains("0.66 us"), "{table}");
        assert!(table.contains("1.8 to 2.1 us"), "{table}");
    }

    #[test]
    fn counters_are_summed_over_depths() {
        let table = counters(&document("high-iops"), Style::Markdown);
        assert!(table.contains("| mainline |     10 |"), "{table}");
        assert!(
            table.contains("100 ns / 200 ns / 300 ns |        25 % |     0 |"),
            "{table}"
        );
        assert!(!table.contains("exits"), "{table}");
    }

    #[test]
    fn counters_that_were_not_counted_are_dashes() {
        let mut document = document("high-iops");
        document.rows[1].counted = None;
        let table = counters(&document, Style::Markdown);
        let cells: Vec<&str> = table
            .lines()
            .last()
            .unwrap()
            .split('|')
            .map(str::trim)
            .collect();
        assert_eq!(cells[1..5], ["mainline", "-", "-", "-"], "{table}");
        assert_eq!(cells[5], "6", "{table}");
    }

    #[test]
    fn counters_exits_have_columns_where_they_are_counted() {
        let mut document = document("high-iops");
        for row in &mut document.rows {
            row.counted.as_mut().unwrap().exits = Some(Exits {
                exits_per_io: 0.2,
                host_interruptions: 4,
                exits: 1,
                kernel_exits: None,
            });
        }
        document.summary = RunSummary::of(&document.rows);
        let table = counters(&document, Style::Markdown);
        assert!(table.contains("exits per I/O"), "{table}");
        assert!(table.contains("0.2000"), "{table}");
    }
}

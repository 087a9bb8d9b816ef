// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the model says about a grid, as a page.

use std::collections::{BTreeMap, BTreeSet};

use emulator::timing::units;

use super::chart::{Chart, Series, ascending};
use super::depth::{self, WIDE};
use super::figures::{bytes, count, nanoseconds, time};
use super::frame::Format;
use super::markup::{Escaped, table};
use super::model::{IOPS, LATENCY, parameters, paths};
use super::scale::{Axis, Scale};
use super::{Section, document};
use crate::model::{self, Grid, GridCell, PredictedCell};
use crate::report::model::grid_rows;
use crate::sweep::IoPath;

/// Classes of lines that are no path's. There are no more lines than these in a chart.
const LINES: [&str; 8] = [
    "line-0", "line-1", "line-2", "line-3", "line-4", "line-5", "line-6", "line-7",
];

/// Figures over the depth, or over the first key with numbers where there is one depth: a chart for
/// each path with a line for each combination of the other keys, or one with a line for each path
/// where there are none.
pub fn grid_page(grid: &Grid) -> String {
    let drawing = Drawing::of(grid);
    let (header, rows) = grid_rows(grid, &drawing.cells);
    document(
        &format!("Model, profile {}", grid.profile),
        [
            Section {
                title: "I/Os per second",
                body: format!(
                    "<p>In virtual time{}.{}</p>\n{}",
                    drawing.depth(),
                    drawing.left_out(),
                    drawing.charts("I/Os per second", IOPS, |cell| cell.iops)
                ),
            },
            Section {
                title: "Median completion latency",
                body: drawing.charts("p50", LATENCY, |cell| cell.lat_p50_us * 1e3),
            },
            Section {
                title: "What is drawn",
                body: table(&header, &rows),
            },
            parameters(grid.parameters),
        ],
    )
}

/// What is drawn of a grid.
struct Drawing<'a> {
    across: Across<'a>,
    /// Keys that have lines in place of an axis.
    keys: Vec<&'a str>,
    /// Their values, a line each.
    lines: Vec<Vec<&'a str>>,
    /// How many there are, drawn or not.
    all: usize,
    /// The cells of the lines.
    cells: Vec<&'a GridCell>,
}

/// What the horizontal axis shows.
enum Across<'a> {
    Depth,
    Key {
        key: &'a str,
        format: Format,
        /// What its values, as they were told, are as figures.
        figures: BTreeMap<&'a str, f64>,
    },
}

impl<'a> Drawing<'a> {
    fn of(grid: &'a Grid) -> Self {
        let across = Across::of(grid);
        let keys = grid.sweep.iter().map(|axis| &*axis.key);
        let keys: Vec<&str> = keys.filter(|key| !across.shows(key)).collect();
        let (mut all, mut lines) = (BTreeSet::new(), Vec::new());
        for cell in &grid.cells {
            let values = values(cell, &keys);
            if all.insert(values.clone()) && lines.len() < LINES.len() {
                lines.push(values);
            }
        }
        let drawn = |cell: &&GridCell| lines.contains(&values(cell, &keys));
        Self {
            cells: grid.cells.iter().filter(drawn).collect(),
            across,
            keys,
            lines,
            all: all.len(),
        }
    }

    /// Where the axis does not show it.
    fn depth(&self) -> String {
        match (&self.across, self.cells.first()) {
            (Across::Key { .. }, Some(cell)) => format!(", at depth {}", cell.predicted.depth),
            _ => String::new(),
        }
    }

    fn left_out(&self) -> String {
        if self.all == self.lines.len() {
            return String::new();
        }
        format!(
            " Of {} combinations of {} the first {} are drawn: sweep fewer values to see others. hipri model --csv prints all.",
            self.all,
            Escaped(self.keys.join(" and ")),
            self.lines.len()
        )
    }

    fn charts(
        &self,
        title: &str,
        y_title: (&str, Format),
        figure: fn(&PredictedCell) -> f64,
    ) -> String {
        let points = |path, values_of_line: &[&str]| {
            let of_line = |cell: &&&GridCell| {
                cell.predicted.path == path && values(cell, &self.keys) == values_of_line
            };
            let cells = self.cells.iter().filter(of_line);
            ascending(cells.map(|cell| (self.across.figure(cell), figure(&cell.predicted))))
        };
        let paths = paths(self.cells.iter().map(|cell| cell.predicted.path));
        let figures = self.cells.iter().map(|cell| figure(&cell.predicted));
        // The same for all, so that paths can be compared.
        let y = Axis::covering(Scale::Log10, figures);
        let chart = |title: String, series| {
            let across = self.cells.iter().map(|cell| self.across.figure(cell));
            Chart {
                title,
                size: WIDE,
                x: self.across.axis(across),
                x_title: self.across.title(),
                y: y.clone(),
                y_title,
                series,
            }
            .svg()
        };
        if self.keys.is_empty() {
            let line = |path| depth::line(path, "", points(path, &[]));
            let title = format!("{title} over {}", self.across.title().0);
            return chart(title, paths.into_iter().map(line).collect());
        }
        let of_path = |path: IoPath| {
            let lines = self.lines.iter().zip(LINES);
            let line = |(values, class): (&Vec<&str>, &'static str)| Series {
                name: self.named(values),
                class,
                dashed: false,
                marks: true,
                points: points(path, values),
            };
            let title = format!("{title} over {}, {path}", self.across.title().0);
            chart(title, lines.map(line).collect())
        };
        paths.into_iter().map(of_path).collect()
    }

    /// A line's name.
    fn named(&self, values: &[&str]) -> String {
        let pairs = self.keys.iter().zip(values);
        let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(", ")
    }
}

impl<'a> Across<'a> {
    fn of(grid: &'a Grid) -> Self {
        let depths: BTreeSet<u32> = grid.cells.iter().map(|cell| cell.predicted.depth).collect();
        let key = |axis: &'a model::Axis| {
            let (figures, format) = numbers(&axis.values)?;
            let told = axis.values.iter().map(String::as_str);
            Some(Self::Key {
                key: &axis.key,
                format,
                figures: told.zip(figures).collect(),
            })
        };
        let mut several = grid.sweep.iter().filter(|axis| axis.values.len() > 1);
        match several.find_map(key) {
            Some(key) if depths.len() == 1 => key,
            _ => Self::Depth,
        }
    }

    /// Whether a key is on the axis, so that it needs no lines. The depth never does: it is on the
    /// axis, or the same everywhere.
    fn shows(&self, key: &str) -> bool {
        key == "depth" || matches!(self, Self::Key { key: own, .. } if *own == key)
    }

    fn title(&self) -> (&str, Format) {
        match self {
            Self::Depth => depth::X_TITLE,
            Self::Key { key, format, .. } => (key, *format),
        }
    }

    fn figure(&self, cell: &GridCell) -> f64 {
        match self {
            Self::Depth => cell.predicted.depth.into(),
            Self::Key { key, figures, .. } => figures[&*cell.at[*key]],
        }
    }

    fn axis(&self, figures: impl Iterator<Item = f64>) -> Axis {
        match self {
            Self::Depth => Axis::of_depths(figures),
            Self::Key { .. } => Axis::of_choices(figures),
        }
    }
}

/// What a cell has for some keys.
fn values<'a>(cell: &'a GridCell, keys: &[&str]) -> Vec<&'a str> {
    keys.iter().map(|key| &*cell.at[*key]).collect()
}

/// Reads a value with a unit.
type Parse = fn(&str) -> Result<u64, String>;

/// Values as figures, and how those are written; `None` where they are not all of one kind.
fn numbers(values: &[String]) -> Option<(Vec<f64>, Format)> {
    let plain = |text: &String| text.parse().ok().filter(|figure: &f64| figure.is_finite());
    let plain: Option<Vec<f64>> = values.iter().map(plain).collect();
    if let Some(figures) = plain {
        return Some((figures, |figure| figure.to_string()));
    }
    let kinds: [(Parse, Format); 4] = [
        (units::duration, time),
        (units::size, bytes),
        (units::rate, count),
        (units::bandwidth, count),
    ];
    kinds.into_iter().find_map(|(parse, format)| {
        let figures = values.iter().map(|text| parse(text).ok().map(nanoseconds));
        Some((figures.collect::<Option<_>>()?, format))
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::cell;
    use super::super::tests::Content;
    use super::*;
    use crate::model::Costs;

    /// Two paths at each point.
    fn grid(told: &[(&str, &[&str])], depths: &[u32]) -> Grid {
        let own = |(key, values): &(&str, &[&str])| model::Axis {
            key: (*key).to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let sweep: Vec<_> = told.iter().map(own).collect();
        let mut cells = Vec::new();
        for point in model::points(&sweep) {
            for depth in depths {
                for path in [IoPath::Mainline, IoPath::AioPollAll] {
                    let own = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
                    cells.push(GridCell {
                        at: point.iter().map(own).collect(),
                        jobs: 1,
                        block_size: 4096,
                        predicted: cell(*depth, path, 50_000.0),
                    });
                }
            }
        }
        Grid {
            time: "virtual",
            profile: "<mine>".into(),
            parameters: Costs::default(),
            sweep,
            cells,
        }
    }

    #[test]
    fn grid_of_several_depths_has_a_chart_for_each_path() {
        let grid = grid(&[("units", &["4", "8"]), ("slower", &["1", "2"])], &[1, 4]);
        let page = grid_page(&grid);
        let content = Content::of(&page);
        assert_eq!(content.number_of("svg"), 4);
        assert_eq!(content.number_of("circle"), 4 * 4 * 2);
        for text in [
            "Model, profile &lt;mine&gt;",
            "I/Os per second over queue depth, aio-poll-all",
            "units=8, slower=2: 50K at 4",
        ] {
            assert!(content.text.contains(text), "{text}");
        }
        assert!(!content.text.contains("are drawn"));
        assert_eq!(content.number_of("td"), 16 * 10);
    }

    #[test]
    fn grid_of_one_depth_goes_over_the_first_key_with_numbers() {
        let told: [(&str, &[&str]); 3] = [
            ("kind", &["one", "other"]),
            ("costs.io", &["0.2us", "1.6us"]),
            ("units", &["4", "8"]),
        ];
        let content = Content::of(&grid_page(&grid(&told, &[32])));
        for text in [
            "over costs.io, mainline",
            "In virtual time, at depth 32.",
            "kind=other, units=8: 50K at 1.6 \u{b5}s",
        ] {
            assert!(content.text.contains(text), "{text}");
        }
        // Nothing else is swept: one chart with the paths.
        let content = Content::of(&grid_page(&grid(&told[1..2], &[32])));
        assert_eq!(content.number_of("svg"), 2);
        assert!(content.text.contains("aio-poll-all: 50K at 200 ns"));
        // Nothing has numbers.
        let content = Content::of(&grid_page(&grid(&told[..1], &[32])));
        assert!(content.text.contains("kind=one: 50K at 32"));
    }

    #[test]
    fn grid_of_too_many_lines_says_what_is_left_out() {
        let told: [(&str, &[&str]); 2] = [
            ("units", &["1", "2", "4", "8", "16"]),
            ("slower", &["1", "2"]),
        ];
        let content = Content::of(&grid_page(&grid(&told, &[1, 4])));
        let text = "Of 10 combinations of units and slower the first 8 are drawn: sweep fewer";
        assert!(content.text.contains(text), "{}", content.text);
        assert!(content.text.contains("units=8, slower=2"));
        assert!(!content.text.contains("units=16"));
        assert_eq!(content.number_of("circle"), 8 * 2 * 4);
    }

    #[test]
    fn numbers_are_of_one_kind() {
        let of = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
            let (figures, format) = numbers(&values)?;
            Some((figures[0], format(figures[0])))
        };
        assert_eq!(of(&["0.25", "4"]), Some((0.25, "0.25".into())));
        assert_eq!(of(&["6.2us", "7ns"]), Some((6_200.0, "6.2 \u{b5}s".into())));
        assert_eq!(of(&["4KiB", "1MiB"]), Some((4096.0, "4 KiB".into())));
        assert_eq!(of(&["1.25M/s"]), Some((1_250_000.0, "1.25M".into())));
        assert_eq!(of(&["4", "7us"]), None);
        assert_eq!(of(&["inf"]), None);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Model, virtual time and real time beside each other.

use std::fmt::Write as _;

use super::table::{Style, microseconds, render, thousands};
use crate::agree::{AgreedCell, Agreement, Difference, Side};

/// Whatever differs by less is not explained.
const NOTABLE: f64 = 0.01;

/// For each path a table of all depths and sides, and in words what the largest differences are.
pub fn agreement(agreement: &Agreement, style: Style) -> String {
    let mut text = format!(
        "Model, guest in virtual time, guest in real time ({}); profile {}\n\
         Mean time of an I/O in us, and its parts; a dash: not known there, and part of waiting\n",
        agreement.accel, agreement.profile
    );
    for cells in agreement.cells.chunk_by(|a, b| a.path == b.path) {
        let path = cells[0].path;
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{path}\n{}", table(cells, style));
        for cell in cells {
            let _ = writeln!(text, "{}", explanation(cell));
        }
    }
    let _ = write!(text, "\n{}", summary(agreement));
    text
}

const HEADER: [&str; 11] = [
    "Depth",
    "side",
    "IOPS",
    "/ model",
    "p50",
    "an I/O",
    "submission",
    "device",
    "late",
    "completion",
    "waiting",
];

fn table(cells: &[AgreedCell], style: Style) -> String {
    let rows = cells.iter().flat_map(|cell| {
        [
            row(cell.depth.to_string(), "model", &cell.model, None),
            row(
                String::new(),
                "virtual",
                &cell.virtual_time,
                Some(cell.virtual_to_model),
            ),
            row(String::new(), "real", &cell.real, Some(cell.real_to_model)),
        ]
    });
    render(style, HEADER.map(str::to_owned).to_vec(), rows)
}

fn row(depth: String, name: &str, side: &Side, to_model: Option<f64>) -> Vec<String> {
    let parts = &side.parts;
    let known = |part: Option<f64>| part.map_or_else(|| "-".to_owned(), number);
    vec![
        depth,
        name.to_owned(),
        thousands(side.iops),
        to_model.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        microseconds(u32::try_from(side.lat_p50_ns).map_or(f64::INFINITY, f64::from)),
        number(side.mean_ns),
        number(parts.submission_ns),
        known(parts.device_ns),
        known(parts.late_ns),
        known(parts.completion_ns),
        number(parts.waiting_ns),
    ]
}

/// Microseconds of a column of times: its head says so.
fn number(nanoseconds: f64) -> String {
    format!("{:.2}", nanoseconds / 1000.0)
}

/// What differs from the model, the larger difference first.
fn explanation(cell: &AgreedCell) -> String {
    let far = |difference: &Difference| difference.times.ln().abs();
    let mut sides = [
        ("real", &cell.real, &cell.real_less_model),
        ("virtual", &cell.virtual_time, &cell.virtual_less_model),
    ];
    sides.sort_by(|a, b| far(b.2).total_cmp(&far(a.2)));
    let told: Vec<String> = sides
        .into_iter()
        .filter(|(_, _, difference)| far(difference) >= NOTABLE)
        .map(|(name, side, difference)| sentence(name, side, &cell.model, difference))
        .collect();
    if told.is_empty() {
        return format!("depth {}: all three within 1 %", cell.depth);
    }
    format!("depth {}: {}", cell.depth, told.join("\n    "))
}

/// Every part of a difference, and whether a few slow I/Os make it.
fn sentence(name: &str, side: &Side, model: &Side, difference: &Difference) -> String {
    let parts: Vec<String> = difference
        .parts
        .iter()
        .map(|part| format!("{} {}", part.part, signed(part.ns)))
        .collect();
    let mut text = format!(
        "{name} takes {} times as long as the model, {} in place of {}: {}",
        factor(difference.times),
        microseconds(side.mean_ns),
        microseconds(model.mean_ns),
        parts.join(", ")
    );
    if difference.mean_ns > 0.0 && difference.slowest_ns > difference.mean_ns / 10.0 {
        let _ = write!(
            text,
            "; {} of that in the slowest 1 % of all I/Os",
            microseconds(difference.slowest_ns)
        );
    }
    text
}

fn signed(nanoseconds: f64) -> String {
    let sign = if nanoseconds < 0.0 { '-' } else { '+' };
    format!("{sign}{}", microseconds(nanoseconds.abs()))
}

fn factor(times: f64) -> String {
    let precision = if times < 10.0 { 2 } else { 0 };
    format!("{times:.precision$}")
}

/// How close virtual time is to the model, over all cells.
fn summary(agreement: &Agreement) -> String {
    let off = agreement.cells.iter().map(AgreedCell::percent_off);
    let least = off.clone().fold(f64::INFINITY, f64::min);
    let most = off.fold(f64::NEG_INFINITY, f64::max);
    let mut text = format!("I/Os per second, virtual less model: {least:+.1} to {most:+.1} %");
    if let Some(within) = &agreement.within {
        let (all, beyond) = (agreement.cells.len(), within.beyond.len());
        let _ = write!(
            text,
            "; {} of {all} cells within {} %",
            all - beyond,
            within.percent
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agree::Parts;
    use crate::model::Costs;
    use crate::sweep::{Cell, IoPath, Target};

    fn side(submission_ns: f64, completion_ns: Option<f64>, waiting_ns: f64) -> Side {
        let parts = Parts {
            submission_ns,
            device_ns: Some(6000.0),
            late_ns: Some(0.0),
            completion_ns,
            waiting_ns,
        };
        Side {
            iops: 1e9 / parts.total_ns(),
            lat_p50_ns: 6700,
            mean_ns: parts.total_ns(),
            slowest_ns: 0.0,
            parts,
        }
    }

    fn shown(virtual_time: Side, real: Side) -> String {
        let model = side(750.0, Some(400.0), 350.0);
        let cell = Cell {
            depth: 1,
            path: IoPath::AioPollAll,
            target: Target::Nvme,
        };
        let cells = vec![AgreedCell::new(cell, model, virtual_time, real)];
        let agreed = Agreement::new("any".into(), "uml", Costs::unknown(), cells, Some(3.0));
        agreement(&agreed, Style::Markdown)
    }

    #[test]
    fn agreement_has_a_row_for_each_side_and_explains_what_differs() {
        let real = Side {
            slowest_ns: 20_000.0,
            ..side(10_750.0, None, 73_250.0)
        };
        let text = shown(side(760.0, Some(400.0), 350.0), real);
        for part in [
            "| Depth |    side |",
            "|     1 |   model | 133K |         | 6.7 us |   7.50 |       0.75 |   6.00 | 0.00 |       0.40 |    0.35 |",
            "| virtual | 133K |   0.999 |",
            "|    real |  11K |   0.083 | 6.7 us |  90.00 |      10.75 |   6.00 | 0.00 |          - |   73.25 |",
            "depth 1: real takes 12 times as long as the model, 90.0 us in place of 7.5 us: \
             completion and waiting +72.5 us, submission +10.0 us, device +0.00 us, late +0.00 us; \
             20.0 us of that in the slowest 1 % of all I/Os\n",
            "virtual less model: -0.1 to -0.1 %; 1 of 1 cells within 3 %",
        ] {
            assert!(text.contains(part), "{part}\nin\n{text}");
        }
        // 0.1 % are not worth a sentence.
        assert!(!text.contains("virtual takes"), "{text}");
    }

    #[test]
    fn agreement_without_a_difference_says_so() {
        let same = side(750.0, Some(400.0), 350.0);
        let text = shown(same, same);
        assert!(text.contains("depth 1: all three within 1 %"), "{text}");
    }

    #[test]
    fn agreement_tells_the_larger_difference_first() {
        let text = shown(
            side(1500.0, Some(400.0), 350.0),
            side(800.0, Some(400.0), 350.0),
        );
        let of = |name: &str| text.find(&format!("{name} takes")).unwrap_or(usize::MAX);
        assert!(
            of("virtual") < of("real") && of("real") == usize::MAX,
            "{text}"
        );
    }
}

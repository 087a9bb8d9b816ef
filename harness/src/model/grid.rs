// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What-if over several values of several keys: each combination is a point.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Costs, PredictedCell};
use crate::exit::Failure;

/// Most points of a grid.
const MOST: usize = 10_000;

/// A key, and the values that it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Axis {
    /// As it was told.
    pub key: String,
    /// As they were told, one at least.
    pub values: Vec<String>,
}

/// One cell of one point.
#[derive(Clone, Debug, Serialize)]
pub struct GridCell {
    /// Each key's value here.
    pub at: BTreeMap<String, String>,
    /// Processors, each with a job and a queue pair of its own.
    pub jobs: u16,
    /// Bytes of an I/O.
    pub block_size: u32,
    /// What is predicted.
    #[serde(flatten)]
    pub predicted: PredictedCell,
}

/// All points.
#[derive(Clone, Debug, Serialize)]
pub struct Grid {
    /// Always "virtual".
    pub time: &'static str,
    /// The profile's name, with what was changed at all points.
    pub profile: String,
    /// Of the host, in nanoseconds, before a point changes them.
    pub parameters: Costs,
    /// What is varied, in the order in which it was told.
    pub sweep: Vec<Axis>,
    /// The last key varies fastest, then depth, then path.
    pub cells: Vec<GridCell>,
}

/// The axes of several `KEY=VALUE,VALUE`.
///
/// # Errors
/// Exit 2, with key and value.
pub fn axes(told: &[(String, String)]) -> Result<Vec<Axis>, Failure> {
    let mut axes: Vec<Axis> = Vec::new();
    for (key, list) in told {
        let wrong = |message: &str| Failure::usage(format!("--sweep {key}={list}: {message}"));
        if key.is_empty() {
            return Err(wrong("write a key before the \"=\""));
        }
        if axes.iter().any(|axis| axis.key == *key) {
            return Err(wrong("this key is swept already"));
        }
        let values: Vec<_> = list
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        if values.iter().any(String::is_empty) {
            return Err(wrong("a value is missing"));
        }
        if (1..values.len()).any(|at| values[..at].contains(&values[at])) {
            return Err(wrong("a value is there twice"));
        }
        axes.push(Axis {
            key: key.clone(),
            values,
        });
    }
    let lengths = axes.iter().map(|axis| axis.values.len());
    match lengths.fold(1, usize::saturating_mul) {
        points if points > MOST => Err(Failure::usage(format!(
            "--sweep makes {points} points; {MOST} is the most"
        ))),
        _ => Ok(axes),
    }
}

/// All combinations; the last axis varies fastest.
pub fn points(axes: &[Axis]) -> Vec<Vec<(&str, &str)>> {
    axes.iter().fold(vec![Vec::new()], |points, axis| {
        let with = |point: &Vec<(_, _)>, value| [point.as_slice(), &[(&*axis.key, value)]].concat();
        points
            .iter()
            .flat_map(|point| axis.values.iter().map(move |value| with(point, &**value)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(all: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(key, list): &(&str, &str)| ((*key).to_owned(), (*list).to_owned());
        all.iter().map(own).collect()
    }

    #[test]
    fn points_are_all_combinations() {
        let axes = axes(&told(&[("units", "4, 8"), ("slower", "1,2,3")])).unwrap();
        let points = points(&axes);
        assert_eq!(points.len(), 6);
        assert_eq!(points[0], [("units", "4"), ("slower", "1")]);
        assert_eq!(points[5], [("units", "8"), ("slower", "3")]);
        assert_eq!(super::points(&[]), [[]]);
    }

    #[test]
    fn axes_that_make_no_sense_are_refused_with_key_and_value() {
        let many: Vec<_> = (0..200).map(|value| value.to_string()).collect();
        let many = many.join(",");
        for (all, part) in [
            (
                vec![("units", "4,")],
                "--sweep units=4,: a value is missing",
            ),
            (vec![("units", "")], "--sweep units=: a value is missing"),
            (vec![("", "4")], "--sweep =4: write a key"),
            (
                vec![("units", "4,8,4")],
                "units=4,8,4: a value is there twice",
            ),
            (vec![("a", "1"), ("a", "2")], "a=2: this key is swept"),
            (vec![("a", &*many), ("b", &*many)], "makes 40000 points"),
        ] {
            let text = axes(&told(&all)).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}

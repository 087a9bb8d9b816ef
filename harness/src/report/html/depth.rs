// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Charts over the queue depth, with a line for each path in its colour.

use super::chart::{Chart, Series};
use super::frame::Format;
use super::scale::{Axis, Scale};
use crate::sweep::IoPath;

/// Size of a chart as wide as the page.
pub const WIDE: (f64, f64) = (920.0, 440.0);

/// Size of one of two beside each other.
pub const HALF: (f64, f64) = (460.0, 330.0);

/// The chart of some lines; those without points are left out.
pub fn chart(title: &str, y_title: (&str, Format), mut series: Vec<Series>) -> String {
    series.retain(|series| !series.points.is_empty());
    let points = || series.iter().flat_map(|series| &series.points);
    Chart {
        title: title.to_owned(),
        size: WIDE,
        x: Axis::of_depths(points().map(|point| point.0)),
        x_title: X_TITLE,
        y: Axis::covering(Scale::Log10, points().map(|point| point.1)),
        y_title,
        series,
    }
    .svg()
}

/// Title of the axis of depths, and how they are written.
pub const X_TITLE: (&str, Format) = ("queue depth", |depth| format!("{depth:.0}"));

/// A path's line; its name has `suffix` behind it.
pub fn line(path: IoPath, suffix: &str, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: format!("{path}{suffix}"),
        class: path.name(),
        dashed: false,
        marks: true,
        points,
    }
}

/// The dashed line of what it is compared with.
pub fn beside(path: IoPath, what: &str, points: Vec<(f64, f64)>) -> Series {
    Series {
        dashed: true,
        ..line(path, &format!(" {what}"), points)
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Line charts in SVG. Colours and fonts are the style sheet's.

use super::frame::{Format, Frame, begin, legend, put};
use super::markup::Escaped;
use super::scale::Axis;

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its colour: a class of the style sheet.
    pub class: &'static str,
    /// Dashed, with hollow points: what it is compared with.
    pub dashed: bool,
    /// Whether its points are marked.
    pub marks: bool,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What it shows; read out where it is not seen.
    pub title: String,
    /// Width and height in the picture's own units.
    pub size: (f64, f64),
    /// The horizontal axis.
    pub x: Axis,
    /// Its title and unit, and how its figures are written.
    pub x_title: (&'a str, Format),
    /// The vertical axis.
    pub y: Axis,
    /// Its title and unit, and how its figures are written.
    pub y_title: (&'a str, Format),
    /// The lines.
    pub series: Vec<Series>,
}

impl Chart<'_> {
    /// The picture.
    pub fn svg(&self) -> String {
        let sample =
            |series: &Series| (format!("series {}", series.classes()), series.name.clone());
        let (legend, top) = legend(self.size.0, self.series.iter().map(sample));
        let frame = Frame::below(top, self.size);
        let mut svg = begin(self.size, &self.title);
        svg.push_str(&legend);
        self.axes(&mut svg, &frame);
        for series in &self.series {
            self.line(&mut svg, &frame, series);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, frame: &Frame) {
        frame.plot(svg);
        frame.grid(svg, &self.x, self.x_title.1);
        let Frame {
            left, top, width, ..
        } = *frame;
        for &tick in &self.y.ticks {
            let y = frame.y(self.y.position(tick));
            put(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M{left},{y:.1}h{width}\"/>\n\
                     <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    left - 6.0,
                    y + 4.0,
                    Escaped((self.y_title.1)(tick))
                ),
            );
        }
        frame.title(svg, self.x_title.0);
        put(
            svg,
            format_args!(
                "<text transform=\"translate(13,{:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                top + frame.height / 2.0,
                Escaped(self.y_title.0)
            ),
        );
    }

    fn line(&self, svg: &mut String, frame: &Frame, series: &Series) {
        let place = |&(x, y): &(f64, f64)| {
            let x = frame.x(self.x.position(x));
            (x, frame.y(self.y.position(y)))
        };
        let places: Vec<(f64, f64)> = series.points.iter().map(place).collect();
        let class = series.classes();
        let name = Escaped(&series.name);
        put(
            svg,
            format_args!(
                "<path class=\"series {class}\" d=\"{}\"><title>{name}</title></path>\n",
                path(&places)
            ),
        );
        if !series.marks {
            return;
        }
        for ((x, y), figures) in places.iter().zip(&series.points) {
            put(
                svg,
                format_args!(
                    "<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{name}: {} at {}</title></circle>\n",
                    Escaped((self.y_title.1)(figures.1)),
                    Escaped((self.x_title.1)(figures.0))
                ),
            );
        }
    }
}

impl Series {
    fn classes(&self) -> String {
        let dashed = if self.dashed { " dashed" } else { "" };
        format!("{}{dashed}", self.class)
    }
}

/// A line through the places. Places that nobody can tell from the one before are left out, but
/// for the last.
fn path(places: &[(f64, f64)]) -> String {
    const TOLD_APART: f64 = 0.7;
    let mut path = String::new();
    let mut drawn: Option<(f64, f64)> = None;
    for (index, &(x, y)) in places.iter().enumerate() {
        let near = drawn.is_some_and(|(last_x, last_y)| {
            (x - last_x).abs() < TOLD_APART && (y - last_y).abs() < TOLD_APART
        });
        if near && index + 1 < places.len() {
            continue;
        }
        let command = if drawn.is_none() { 'M' } else { 'L' };
        put(&mut path, format_args!("{command}{x:.1},{y:.1}"));
        drawn = Some((x, y));
    }
    path
}

/// The points of a line, from left to right.
pub fn ascending(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = points.collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}

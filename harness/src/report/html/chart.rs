// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Line charts in SVG. Colours and fonts are the style sheet's.

use std::fmt::Write;

use super::markup::Escaped;
use super::scale::Axis;

/// How a figure is written beside an axis or a point.
pub type Format = fn(f64) -> String;

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
pub struct Chart {
    /// What it shows; read out where it is not seen.
    pub title: String,
    /// Width and height in the picture's own units.
    pub size: (f64, f64),
    /// The horizontal axis.
    pub x: Axis,
    /// Its title and unit, and how its figures are written.
    pub x_title: (&'static str, Format),
    /// The vertical axis.
    pub y: Axis,
    /// Its title and unit, and how its figures are written.
    pub y_title: (&'static str, Format),
    /// The lines.
    pub series: Vec<Series>,
}

const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
const BOTTOM: f64 = 46.0;
/// Height of the title, and of each line of the legend.
const LINE: f64 = 20.0;

/// Where the axes are.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Chart {
    /// The picture.
    pub fn svg(&self) -> String {
        let (width, height) = self.size;
        let (legend, lines) = self.legend(width);
        let top = LINE * (lines + 1.0) + 8.0;
        let frame = Frame {
            left: LEFT,
            top,
            width: width - LEFT - RIGHT,
            height: height - top - BOTTOM,
        };
        let title = Escaped(&self.title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"15\">{title}</text>\n{legend}"
        );
        self.axes(&mut svg, &frame);
        for series in &self.series {
            self.line(&mut svg, &frame, series);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Names and samples of the lines, in as many rows as they need.
    fn legend(&self, width: f64) -> (String, f64) {
        const SAMPLE: f64 = 26.0;
        const LETTER: f64 = 7.0;
        const GAP: f64 = 16.0;
        let (mut svg, mut x, mut lines) = (String::new(), LEFT, 1.0);
        for series in &self.series {
            let letters = u32::try_from(series.name.chars().count()).unwrap_or(0);
            let needs = SAMPLE + f64::from(letters) * LETTER;
            if x + needs > width - RIGHT && x > LEFT {
                (x, lines) = (LEFT, lines + 1.0);
            }
            let y = LINE * lines + 15.0;
            let class = series.classes();
            put(
                &mut svg,
                format_args!(
                    "<path class=\"series {class}\" d=\"M{x:.0},{0:.0}h20\"/>\n\
                     <text x=\"{1:.0}\" y=\"{y:.0}\">{2}</text>\n",
                    y - 4.0,
                    x + SAMPLE,
                    Escaped(&series.name)
                ),
            );
            x += needs + GAP;
        }
        (svg, lines)
    }

    fn axes(&self, svg: &mut String, frame: &Frame) {
        let Frame {
            left,
            top,
            width,
            height,
        } = *frame;
        let bottom = top + height;
        put(
            svg,
            format_args!(
                "<rect class=\"plot\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n"
            ),
        );
        for &tick in &self.x.ticks {
            let x = frame.x(self.x.position(tick));
            put(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M{x:.1},{top}V{bottom}\"/>\n\
                     <text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    bottom + 16.0,
                    Escaped((self.x_title.1)(tick))
                ),
            );
        }
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
        let (across, down) = (left + width / 2.0, top + height / 2.0);
        put(
            svg,
            format_args!(
                "<text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
                 <text transform=\"translate(13,{down:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                bottom + 36.0,
                Escaped(self.x_title.0),
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

impl Frame {
    fn x(&self, position: f64) -> f64 {
        self.left + position * self.width
    }

    fn y(&self, position: f64) -> f64 {
        self.top + (1.0 - position) * self.height
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

/// Writing to a string does not fail.
fn put(to: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = to.write_fmt(what);
}

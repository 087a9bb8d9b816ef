// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What pictures in SVG have in common: title, legend, frame and horizontal axis.

use std::fmt::{Arguments, Write};

use super::markup::Escaped;
use super::scale::Axis;

/// How a figure is written beside an axis or a point.
pub type Format = fn(f64) -> String;

const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
/// Room below the frame.
pub const BOTTOM: f64 = 46.0;
/// Height of the title, and of each line of the legend.
const LINE: f64 = 20.0;

/// Where the axes are.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

/// A picture's beginning: how large it is, and its title, which is also read out.
pub fn begin((width, height): (f64, f64), title: &str) -> String {
    let title = Escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"15\">{title}</text>\n"
    )
}

/// Samples and names of what is drawn, each with its classes, in as many rows as they need; and
/// where the plot begins below them.
pub fn legend(width: f64, entries: impl Iterator<Item = (String, String)>) -> (String, f64) {
    const SAMPLE: f64 = 26.0;
    const LETTER: f64 = 7.0;
    const GAP: f64 = 16.0;
    let (mut svg, mut x, mut lines) = (String::new(), LEFT, 1.0);
    for (class, name) in entries {
        let letters = u32::try_from(name.chars().count()).unwrap_or(0);
        let needs = SAMPLE + f64::from(letters) * LETTER;
        if x + needs > width - RIGHT && x > LEFT {
            (x, lines) = (LEFT, lines + 1.0);
        }
        let y = LINE * lines + 15.0;
        put(
            &mut svg,
            format_args!(
                "<path class=\"{class}\" d=\"M{x:.0},{0:.0}h20\"/>\n\
                 <text x=\"{1:.0}\" y=\"{y:.0}\">{2}</text>\n",
                y - 4.0,
                x + SAMPLE,
                Escaped(name)
            ),
        );
        x += needs + GAP;
    }
    (svg, LINE * (lines + 1.0) + 8.0)
}

impl Frame {
    /// Below a legend that ends at `top`, with room for the axes in a picture of that size.
    pub fn below(top: f64, (width, height): (f64, f64)) -> Self {
        Self {
            left: LEFT,
            top,
            width: width - LEFT - RIGHT,
            height: height - top - BOTTOM,
        }
    }

    /// Its background.
    pub fn plot(&self, svg: &mut String) {
        let Self {
            left,
            top,
            width,
            height,
        } = self;
        put(
            svg,
            format_args!(
                "<rect class=\"plot\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n"
            ),
        );
    }

    /// The horizontal axis's ticks.
    pub fn grid(&self, svg: &mut String, axis: &Axis, format: Format) {
        let (top, bottom) = (self.top, self.top + self.height);
        for &tick in &axis.ticks {
            let x = self.x(axis.position(tick));
            put(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M{x:.1},{top}V{bottom}\"/>\n\
                     <text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    bottom + 16.0,
                    Escaped(format(tick))
                ),
            );
        }
    }

    /// The horizontal axis's title.
    pub fn title(&self, svg: &mut String, title: &str) {
        put(
            svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                self.left + self.width / 2.0,
                self.top + self.height + 36.0,
                Escaped(title)
            ),
        );
    }

    /// Where a position of the horizontal axis is.
    pub fn x(&self, position: f64) -> f64 {
        self.left + position * self.width
    }

    /// Where a position of the vertical axis is.
    pub fn y(&self, position: f64) -> f64 {
        self.top + (1.0 - position) * self.height
    }
}

/// Writing to a string does not fail.
pub fn put(to: &mut String, what: Arguments<'_>) {
    let _ = to.write_fmt(what);
}

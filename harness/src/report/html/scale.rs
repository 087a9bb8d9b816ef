// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Axes: where a figure lies, and which figures are written beside it.

/// How figures are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equally far apart.
    Linear,
    /// Powers of two are equally far apart.
    Log2,
    /// Powers of ten are equally far apart.
    Log10,
    /// Shares below 1: 90 %, 99 % and 99.9 % are equally far apart.
    Tail,
}

/// The most ticks that an axis gets.
const MOST_TICKS: usize = 11;

/// The most steps between the ticks of a linear axis: with a part of one at either end they have
/// as many ticks as an axis may.
const MOST_STEPS: f64 = 9.0;

/// Shares beyond it are drawn here: so few I/Os are no distribution.
const FARTHEST: f64 = 0.99999;

/// An axis that is long enough for its figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    /// Ends, as [`Scale::place`] gives them.
    low: f64,
    high: f64,
    /// Figures that are written, ascending.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// Where a figure lies, in units of its own. Figures that the scale does not have are at the
    /// nearest that it has.
    fn place(self, figure: f64) -> f64 {
        match self {
            Self::Linear => figure,
            Self::Log2 => figure.max(f64::MIN_POSITIVE).log2(),
            Self::Log10 => figure.max(1.0).log10(),
            Self::Tail => -(1.0 - figure.min(FARTHEST)).log10(),
        }
    }

    /// Ticks of which the first is at most `low` and the last at least `high`.
    fn ticks(self, low: f64, high: f64) -> Vec<f64> {
        let covering = |candidates: Vec<f64>| -> Vec<f64> {
            let first = candidates.iter().rposition(|tick| *tick <= low);
            let last = candidates.iter().position(|tick| *tick >= high);
            let last = last.unwrap_or(candidates.len() - 1);
            candidates[first.unwrap_or(0).min(last)..=last].to_vec()
        };
        match self {
            Self::Linear => {
                let wide = |step: &f64| high - low <= step * MOST_STEPS;
                let step = decades(&[1.0, 2.0, 5.0]).find(wide).unwrap_or(high);
                let first = (low / step).floor() * step;
                covering((0..=10).map(|n| first + f64::from(n) * step).collect())
            }
            Self::Log2 => {
                let ticks = covering((0..=32).map(|power| 2_f64.powi(power)).collect());
                let step = ticks.len().div_ceil(MOST_TICKS);
                ticks.into_iter().step_by(step).collect()
            }
            Self::Log10 => {
                let fine = covering(decades(&[1.0, 2.0, 5.0]).collect());
                if fine.len() <= MOST_TICKS {
                    fine
                } else {
                    covering(decades(&[1.0]).collect())
                }
            }
            Self::Tail => covering(vec![0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, FARTHEST]),
        }
    }
}

impl Axis {
    /// An axis from a tick at or below the lowest figure to one at or above the highest.
    pub fn covering(scale: Scale, figures: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(figures);
        // A share is seen against none at all.
        let low = if scale == Scale::Tail { 0.0 } else { low };
        let ticks = scale.ticks(low, high);
        let ends = |tick: Option<&f64>| tick.map_or(0.0, |tick| scale.place(*tick));
        Self {
            scale,
            low: ends(ticks.first()),
            high: ends(ticks.last()).max(scale.place(high)),
            ticks,
        }
        .widened()
    }

    /// The same for depths, with a little room beside the first and the last.
    pub fn of_depths(figures: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(figures.map(|depth| depth.max(1.0)));
        let ticks = Scale::Log2.ticks(low, high).into_iter();
        let inside = ticks.filter(|tick| (low..=high).contains(tick));
        Self::around(Scale::Log2, (low, high), inside.collect())
    }

    /// The same for figures that somebody has chosen, and that are written beside it. Those that
    /// differ by orders of magnitude are laid out as powers of two.
    pub fn of_choices(figures: impl Iterator<Item = f64>) -> Self {
        let mut ticks: Vec<f64> = figures.collect();
        ticks.sort_by(f64::total_cmp);
        let (low, high) = extent(ticks.iter().copied());
        let scale = if low > 0.0 && high / low >= 8.0 {
            Scale::Log2
        } else {
            Scale::Linear
        };
        let step = ticks.len().div_ceil(MOST_TICKS).max(1);
        Self::around(
            scale,
            (low, high),
            ticks.into_iter().step_by(step).collect(),
        )
    }

    fn around(scale: Scale, (low, high): (f64, f64), ticks: Vec<f64>) -> Self {
        let (low, high) = (scale.place(low), scale.place(high));
        let least = if scale == Scale::Log2 { 0.1 } else { 0.0 };
        let room = ((high - low) * 0.04).max(least);
        Self {
            scale,
            low: low - room,
            high: high + room,
            ticks,
        }
        .widened()
    }

    /// From 0 to `length`, ends included, neither of which need be a tick.
    pub fn of_span(length: f64) -> Self {
        let ticks = Scale::Linear.ticks(0.0, length);
        Self {
            scale: Scale::Linear,
            low: 0.0,
            high: length,
            ticks: ticks.into_iter().filter(|tick| *tick <= length).collect(),
        }
        .widened()
    }

    /// An axis of one figure has no length.
    fn widened(self) -> Self {
        if self.high > self.low {
            return self;
        }
        Self {
            low: self.low - 0.5,
            high: self.high + 0.5,
            ..self
        }
    }

    /// Where a figure lies: 0 at the axis's beginning, 1 at its end.
    pub fn position(&self, figure: f64) -> f64 {
        let place = (self.scale.place(figure) - self.low) / (self.high - self.low);
        place.clamp(0.0, 1.0)
    }
}

/// Those digits in each decade, ascending.
fn decades(digits: &[f64]) -> impl Iterator<Item = f64> {
    let of = |power| digits.iter().map(move |digit| digit * 10_f64.powi(power));
    (0..=15).flat_map(of)
}

fn extent(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    let figures: Vec<f64> = figures.filter(|figure| figure.is_finite()).collect();
    let low = figures.iter().copied().reduce(f64::min).unwrap_or(1.0);
    let high = figures.iter().copied().reduce(f64::max).unwrap_or(1.0);
    (low, high)
}

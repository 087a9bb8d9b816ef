// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Confidence intervals by bootstrap: the samples are drawn again, with replacement, and the
//! interval leaves out both tails of what the figure is then.
//!
//! Of few samples the plain percentile interval is too narrow: a drawn sample varies by
//! sqrt((n-1)/n) too little, and the normal distribution stands where Student's does. Its tails are therefore
//! cut as the expanded percentile interval does it (T. Hesterberg, "What Teachers Should Know
//! About the Bootstrap", The American Statistician 69, 2015, section 5.4).

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::draw::Draw;
use super::{Interval, count, mean};

/// Fewest samples that an interval is given of: of fewer, all that can be drawn lies between the
/// smallest and the largest, and that misses the mean too often.
pub const FEWEST: usize = 4;

/// How often is drawn.
const RESAMPLES: usize = 9999;

/// Intervals at one confidence.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap {
    /// How often an interval holds the true figure: between 0 and 1.
    pub confidence: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Bootstrap {
    /// The interval of the mean; `None` of fewer than [`FEWEST`] samples.
    pub fn mean(&self, samples: &[f64]) -> Option<Interval> {
        let mut draw = Draw::new(self.seed);
        self.interval(samples.len(), || Some(drawn_mean(samples, &mut draw)))
    }

    /// The interval of `of`'s mean divided by `to`'s, which are independent; `None` of fewer than
    /// [`FEWEST`] samples on a side, or where 0 may be divided by.
    pub fn ratio_of_means(&self, of: &[f64], to: &[f64]) -> Option<Interval> {
        let mut draw = Draw::new(self.seed);
        self.interval(of.len().min(to.len()), || {
            let (of, to) = (drawn_mean(of, &mut draw), drawn_mean(to, &mut draw));
            (to > 0.0).then(|| of / to)
        })
    }

    fn interval(&self, fewest: usize, mut figure: impl FnMut() -> Option<f64>) -> Option<Interval> {
        if fewest < FEWEST {
            return None;
        }
        let tail = self.tail(fewest)?;
        let mut figures: Vec<f64> = (0..RESAMPLES).map(|_| figure()).collect::<Option<_>>()?;
        figures.sort_unstable_by(f64::total_cmp);
        let left_out = whole(tail * count(RESAMPLES)).min(RESAMPLES / 2);
        Some(Interval {
            low: figures[left_out],
            high: figures[RESAMPLES - 1 - left_out],
        })
    }

    /// The share of the draws that lies beyond each end.
    fn tail(&self, samples: usize) -> Option<f64> {
        let samples = count(samples);
        let student = StudentsT::new(0.0, 1.0, samples - 1.0).ok()?;
        let reach = student.inverse_cdf(f64::midpoint(1.0, self.confidence));
        let wider = (samples / (samples - 1.0)).sqrt();
        Some(Normal::standard().cdf(-reach * wider))
    }
}

fn drawn_mean(samples: &[f64], draw: &mut Draw) -> f64 {
    let drawn = samples.iter().map(|_| samples[draw.below(samples.len())]);
    drawn.sum::<f64>() / count(samples.len())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a positive number of draws"
)]
fn whole(figure: f64) -> usize {
    figure.max(0.0) as usize
}

/// How far the means of two sets are apart.
pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    (mean(a) - mean(b)).abs()
}

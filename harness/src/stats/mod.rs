// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be said of figures that vary from run to run: intervals by bootstrap, and tests by
//! relabelling. Pure functions; the same samples and the same seed give the same answer.
//!
//! `docs/compare.md` says what is assumed of the samples.

mod bootstrap;
mod draw;
mod permutation;
mod rank;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use bootstrap::{Bootstrap, FEWEST};
pub use permutation::{Significance, family, holm, smallest_p, two_sided};
pub use rank::percentile_interval;

/// A confidence interval, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a figure lies in it.
    pub fn contains(&self, figure: f64) -> bool {
        self.low <= figure && figure <= self.high
    }

    /// Whether all of it lies in another one.
    pub fn lies_in(&self, other: &Self) -> bool {
        other.contains(self.low) && other.contains(self.high)
    }
}

/// The mean; 0 of nothing.
pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / count(samples.len()).max(1.0)
}

/// A number of samples as a figure to calculate with.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn count(samples: usize) -> f64 {
    samples as f64
}

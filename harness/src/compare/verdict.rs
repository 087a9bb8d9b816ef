// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What follows from a cell's figures.

use std::fmt;

use serde::Serialize;

use super::{Figure, Samples, Settings};
use crate::stats::Interval;

/// What can be said about a cell's I/Os per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// B does more, and that is not chance.
    Faster,
    /// B does less, and that is not chance.
    Slower,
    /// They differ by less than matters.
    Same,
    /// The samples do not tell.
    Undecided,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "same",
            Self::Undecided => "undecided",
        })
    }
}

impl Verdict {
    /// Judges B / A. `p` is the adjusted one.
    pub fn of(samples: Samples, ratio: Figure, p: Option<f64>, settings: Settings) -> Self {
        let same = Interval {
            low: 1.0 - settings.margin,
            high: 1.0 + settings.margin,
        };
        let direction = if ratio.value < 1.0 {
            Self::Slower
        } else {
            Self::Faster
        };
        // To the last digit: that is one run, or a repeated one.
        if ratio.value == 1.0 && ratio.interval.is_none() {
            return Self::Same;
        }
        match (samples, ratio.interval) {
            (Samples::Exact, _) if same.contains(ratio.value) => Self::Same,
            (Samples::Exact, _) => direction,
            (_, Some(interval)) if interval.lies_in(&same) => Self::Same,
            (_, Some(interval)) => {
                let chance = p.is_none_or(|p| settings.is_chance(p));
                if chance || interval.contains(1.0) {
                    Self::Undecided
                } else {
                    direction
                }
            }
            (_, None) => Self::Undecided,
        }
    }
}

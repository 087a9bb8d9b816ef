// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Percentiles of counted values, and how sure they are.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, Normal};

use super::Interval;

/// The smallest value that at least the share `share` of all samples does not exceed; `None`
/// without samples. `bins` is value and how often.
#[cfg(test)]
pub(super) fn percentile(bins: &BTreeMap<u64, u64>, share: f64) -> Option<u64> {
    at_rank(bins, share * total(bins))
}

/// The interval of a percentile. Drawn again from the bins, the percentile's rank is binomially
/// distributed: its bootstrap interval can be written down, and nothing has to be drawn. The
/// binomial distribution is taken for normal, which needs ten samples beyond the percentile:
/// `None` with fewer.
pub fn percentile_interval(
    bins: &BTreeMap<u64, u64>,
    share: f64,
    confidence: f64,
) -> Option<Interval> {
    const BEYOND: f64 = 10.0;
    let total = total(bins);
    if total * share.min(1.0 - share) < BEYOND {
        return None;
    }
    let reach = Normal::standard().inverse_cdf(f64::midpoint(1.0, confidence));
    let around = reach * (total * share * (1.0 - share)).sqrt();
    Some(Interval {
        low: figure(at_rank(bins, total * share - around)?),
        high: figure(at_rank(bins, total * share + around)?),
    })
}

/// The value of the sample of this rank, counted from 1 and rounded up.
fn at_rank(bins: &BTreeMap<u64, u64>, rank: f64) -> Option<u64> {
    let mut seen = 0.0;
    for (&value, &count) in bins {
        seen += figure(count);
        if count > 0 && seen >= rank {
            return Some(value);
        }
    }
    bins.keys().next_back().copied()
}

fn total(bins: &BTreeMap<u64, u64>) -> f64 {
    figure(bins.values().sum())
}

#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds")]
fn figure(number: u64) -> f64 {
    number as f64
}

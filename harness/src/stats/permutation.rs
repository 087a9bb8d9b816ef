// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Permutation tests: if two sides do not differ, it is chance which sample bears which label. The
//! p-value is the share of all labellings that set the means at least as far apart as the real one.
//!
//! Where there are few labellings, each is looked at, and p is exact. Otherwise 9999 random ones
//! and the real one are: p is then never 0 (B. Phipson and G. Smyth, "Permutation p-values should
//! never be zero", 2010).

use super::bootstrap::distance;
use super::draw::Draw;
use super::{count, mean};

/// Most labellings that are all looked at.
const EACH: u64 = 20_000;

/// How many are drawn where there are more.
const DRAWN: usize = 9999;

/// Sums in another order differ in their last digits: what is that close, in standard deviations,
/// is not less extreme.
const ROUNDING: f64 = 1e-9;

/// How likely a difference as large is by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Significance {
    /// In this one comparison.
    pub p: f64,
    /// In any of all comparisons that were made together.
    pub adjusted: f64,
}

/// The two-sided p-value of the difference of two means; 1 where a side is empty.
pub fn two_sided(a: &[f64], b: &[f64], seed: u64) -> f64 {
    family(&[(a, b)], seed).first().map_or(1.0, |one| one.p)
}

/// Tests many figures of the same runs at once: sample i of a side is run i's in each pair. Whole
/// runs are relabelled, so that what a run does to all its figures is not taken for many findings;
/// each figure's distance is held against the largest of all (P. Westfall and S. Young, 1993, the
/// single-step maxT procedure). Distances count in standard deviations of their own figure.
///
/// # Panics
/// When pairs differ in their numbers of samples.
pub fn family(pairs: &[(&[f64], &[f64])], seed: u64) -> Vec<Significance> {
    let Some((first_a, first_b)) = pairs.first() else {
        return Vec::new();
    };
    let (of_a, all) = (first_a.len(), first_a.len() + first_b.len());
    for (a, b) in pairs {
        assert!(a.len() == of_a && a.len() + b.len() == all, "whole runs");
    }
    if of_a == 0 || of_a == all {
        let chance = Significance {
            p: 1.0,
            adjusted: 1.0,
        };
        return vec![chance; pairs.len()];
    }
    let figures: Vec<Figure> = pairs.iter().map(|(a, b)| Figure::new(a, b)).collect();
    let mut as_far = vec![0_u32; figures.len()];
    let mut any_as_far = as_far.clone();
    let labellings = each_labelling(all, of_a, seed, |labelled_a| {
        let distances: Vec<f64> = figures.iter().map(|f| f.distance(labelled_a)).collect();
        let farthest = distances.iter().copied().fold(0.0, f64::max);
        for (index, figure) in figures.iter().enumerate() {
            let observed = figure.observed - ROUNDING;
            as_far[index] += u32::from(distances[index] >= observed);
            any_as_far[index] += u32::from(farthest >= observed);
        }
    });
    let share = |number: u32| f64::from(number) / labellings;
    let pairs = as_far.into_iter().zip(any_as_far);
    pairs
        .map(|(own, any)| Significance {
            p: share(own),
            adjusted: share(any),
        })
        .collect()
}

/// Adjusts p-values of comparisons that share nothing (S. Holm, 1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|one, other| p_values[*one].total_cmp(&p_values[*other]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        let left = count(p_values.len() - rank);
        highest = highest.max(p_values[index] * left).min(1.0);
        adjusted[index] = highest;
    }
    adjusted
}

/// The smallest p-value that so many samples can have.
pub fn smallest_p(a: usize, b: usize) -> f64 {
    match combinations(a + b, a) {
        // With sides of one size, the mirror image is as extreme.
        Some(labellings) if a == b => 2.0_f64.min(labellings) / labellings,
        Some(labellings) => 1.0 / labellings,
        None => 1.0 / count(DRAWN + 1),
    }
}

/// One figure of all runs, a's first.
struct Figure {
    /// In standard deviations from their mean.
    samples: Vec<f64>,
    /// How far the sides are apart as they are labelled.
    observed: f64,
}

impl Figure {
    fn new(a: &[f64], b: &[f64]) -> Self {
        let mut samples = [a, b].concat();
        let middle = mean(&samples);
        let squares: Vec<f64> = samples.iter().map(|s| (s - middle).powi(2)).collect();
        let deviation = mean(&squares).sqrt();
        for sample in &mut samples {
            // What does not vary is nowhere apart; but for rounding errors of the mean.
            *sample = if deviation > middle.abs() * 1e-12 {
                (*sample - middle) / deviation
            } else {
                0.0
            };
        }
        let (of_a, of_b) = samples.split_at(a.len());
        Self {
            observed: distance(of_a, of_b),
            samples,
        }
    }

    fn distance(&self, labelled_a: &[usize]) -> f64 {
        let all = count(self.samples.len());
        let of_a = count(labelled_a.len());
        let sum: f64 = labelled_a.iter().map(|&index| self.samples[index]).sum();
        // The samples add up to 0.
        sum.abs() * (1.0 / of_a + 1.0 / (all - of_a))
    }
}

/// Shows `look` the sets of `chosen` out of `all` indices, and gives how many labellings p is a
/// share of: each is shown, or the real one and [`DRAWN`] others.
fn each_labelling(all: usize, chosen: usize, seed: u64, mut look: impl FnMut(&[usize])) -> f64 {
    if let Some(labellings) = combinations(all, chosen) {
        let mut set: Vec<usize> = (0..chosen).collect();
        loop {
            look(&set);
            if !next_set(&mut set, all) {
                return labellings;
            }
        }
    }
    let mut indices: Vec<usize> = (0..all).collect();
    look(&indices[..chosen]);
    let mut draw = Draw::new(seed);
    for _ in 0..DRAWN {
        draw.choose(&mut indices, chosen);
        look(&indices[..chosen]);
    }
    count(DRAWN + 1)
}

/// The next set of as many indices below `all`, in lexicographic order; false after the last.
fn next_set(set: &mut [usize], all: usize) -> bool {
    let size = set.len();
    let Some(place) = (0..size).rfind(|&place| set[place] < all - size + place) else {
        return false;
    };
    set[place] += 1;
    for later in place + 1..size {
        set[later] = set[later - 1] + 1;
    }
    true
}

/// How many sets of `chosen` out of `all` there are; `None` for more than [`EACH`].
#[expect(clippy::cast_precision_loss, reason = "at most EACH")]
fn combinations(all: usize, chosen: usize) -> Option<f64> {
    let mut number = 1_u64;
    for step in 0..chosen.min(all - chosen) {
        number = number.checked_mul((all - step) as u64)? / (step as u64 + 1);
        if number > EACH {
            return None;
        }
    }
    Some(number as f64)
}

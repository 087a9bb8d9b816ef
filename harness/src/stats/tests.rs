// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Known answers, and how often what is promised holds on samples of known distributions.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use statrs::distribution::{ContinuousCDF, Normal};

use super::rank::percentile;
use super::*;

const BOOTSTRAP: Bootstrap = Bootstrap {
    confidence: 0.95,
    seed: 1,
};

/// Samples of a normal distribution.
struct Samples(Pcg64Mcg, Normal);

impl Samples {
    fn new(mean: f64, deviation: f64, seed: u64) -> Self {
        let normal = Normal::new(mean, deviation).unwrap();
        Self(Pcg64Mcg::seed_from_u64(seed), normal)
    }

    fn take(&mut self, number: usize) -> Vec<f64> {
        let one = |_| {
            let uniform = (f64::from(self.0.next_u32()) + 0.5) / 2_f64.powi(32);
            self.1.inverse_cdf(uniform)
        };
        (0..number).map(one).collect()
    }
}

/// How many of 400 intervals hold the true mean, for a number of samples.
fn coverage(number: usize) -> f64 {
    let mut samples = Samples::new(100.0, 5.0, 7);
    let holds = |_: &i32| {
        BOOTSTRAP
            .mean(&samples.take(number))
            .unwrap()
            .contains(100.0)
    };
    count((0..400).filter(holds).count()) / 400.0
}

#[test]
fn mean_interval_holds_the_mean_as_often_as_promised() {
    for number in [10, 20] {
        let coverage = coverage(number);
        assert!((0.92..=0.98).contains(&coverage), "{number}: {coverage}");
    }
}

#[test]
fn mean_interval_of_four_samples_is_too_narrow_as_documented() {
    let coverage = coverage(4);
    assert!((0.80..=0.95).contains(&coverage), "{coverage}");
}

#[test]
fn ratio_interval_holds_the_ratio_as_often_as_promised() {
    let (mut of, mut to) = (Samples::new(90.0, 4.0, 7), Samples::new(100.0, 6.0, 8));
    let holds = |_: &i32| {
        let interval = BOOTSTRAP.ratio_of_means(&of.take(8), &to.take(8));
        interval.unwrap().contains(0.9)
    };
    let held = (0..400).filter(holds).count();
    assert!((364..=394).contains(&held), "{held} of 400");
}

#[test]
fn intervals_of_too_few_samples_are_none() {
    assert_eq!(BOOTSTRAP.mean(&[1.0, 2.0, 3.0]), None);
    assert_eq!(BOOTSTRAP.ratio_of_means(&[1.0; 9], &[1.0; 3]), None);
    assert_eq!(BOOTSTRAP.ratio_of_means(&[1.0; 9], &[0.0; 9]), None);
}

#[test]
fn two_sided_known_answers() {
    // Fully apart: of the 70 labellings this one and its mirror image.
    let (low, high) = ([1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]);
    assert_eq!(two_sided(&low, &high, 1), 2.0 / 70.0);
    assert_eq!(smallest_p(4, 4), 2.0 / 70.0);
    // Of the 10 labellings of 2 and 3, only the real one is as far apart.
    assert_eq!(two_sided(&[1.0, 2.0], &[8.0, 9.0, 10.0], 1), 0.1);
    assert_eq!(smallest_p(2, 3), 0.1);
    assert_eq!(two_sided(&[5.0; 4], &[5.0; 4], 1), 1.0);
    assert_eq!(two_sided(&[], &[1.0], 1), 1.0);
    assert_eq!(smallest_p(1, 1), 1.0);
}

#[test]
fn two_sided_many_samples_apart_is_the_smallest_p_that_is_drawn() {
    let low: Vec<f64> = (0..30).map(f64::from).collect();
    let high: Vec<f64> = low.iter().map(|sample| sample + 1000.0).collect();
    assert_eq!(two_sided(&low, &high, 1), 1.0 / 10_000.0);
    assert_eq!(smallest_p(30, 30), 1.0 / 10_000.0);
}

/// Without a difference, p is at most x in a share x of all tests.
#[test]
fn two_sided_without_difference_is_uniform() {
    let mut samples = Samples::new(100.0, 5.0, 7);
    let p_values: Vec<f64> = (0..1000)
        .map(|_| two_sided(&samples.take(5), &samples.take(5), 1))
        .collect();
    for limit in [0.05, 0.1, 0.25, 0.5, 0.75] {
        let share = count(p_values.iter().filter(|p| **p <= limit).count()) / 1000.0;
        // Three standard deviations, and p comes in steps of 2/252.
        let around = 3.0 * (limit * (1.0 - limit) / 1000.0_f64).sqrt() + 0.008;
        assert!((share - limit).abs() < around, "p <= {limit}: {share}");
    }
}

/// Twenty figures without a difference: any of them is significant in 5 % of the tests only.
#[test]
fn family_without_difference_rarely_finds_one() {
    let mut samples = Samples::new(100.0, 5.0, 7);
    let mut found = 0;
    for _ in 0..200 {
        let figures: Vec<_> = (0..20)
            .map(|_| (samples.take(4), samples.take(4)))
            .collect();
        let pairs: Vec<_> = figures.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let any = family(&pairs, 1).iter().any(|one| one.adjusted <= 0.05);
        found += u32::from(any);
    }
    assert!(found <= 20, "{found} of 200");
}

#[test]
fn family_finds_the_figure_that_differs() {
    let quiet = ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0]);
    let apart = ([1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]);
    let found = family(&[(&quiet.0, &quiet.1), (&apart.0, &apart.1)], 1);
    assert_eq!(found[1].adjusted, 2.0 / 70.0);
    assert_eq!((found[0].p, found[0].adjusted), (1.0, 1.0));
    assert_eq!(family(&[], 1), []);
}

#[test]
fn holm_known_answer() {
    assert_eq!(holm(&[0.04, 0.01, 0.03]), [0.06, 0.03, 0.06]);
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
}

#[test]
fn percentile_interval_is_that_of_the_ranks() {
    let bins: BTreeMap<u64, u64> = (1..=10_000).map(|value| (value, 1)).collect();
    assert_eq!(percentile(&bins, 0.5), Some(5000));
    let interval = percentile_interval(&bins, 0.5, 0.95).unwrap();
    // 1.96 times the root of 10000 * 0.25 around it.
    assert_eq!((interval.low, interval.high), (4903.0, 5098.0));
    let few = BTreeMap::from([(1, 500), (2, 400)]);
    assert_eq!(percentile_interval(&few, 0.99, 0.95), None);
    assert_eq!(percentile(&BTreeMap::new(), 0.5), None);
}

fn samples() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(1.0..1e6_f64, 4..9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn p_is_a_probability_and_the_same_from_both_sides(a in samples(), b in samples()) {
        let p = two_sided(&a, &b, 1);
        prop_assert!(p > 0.0 && p <= 1.0, "{p}");
        prop_assert!(p >= smallest_p(a.len(), b.len()));
        prop_assert!((p - two_sided(&b, &a, 1)).abs() < 1e-12);
    }

    #[test]
    fn p_does_not_depend_on_the_unit(a in samples(), b in samples(), unit in 1e-3..1e3_f64) {
        let scaled = |samples: &[f64]| samples.iter().map(|s| s * unit).collect::<Vec<_>>();
        let p = two_sided(&a, &b, 1);
        prop_assert!((p - two_sided(&scaled(&a), &scaled(&b), 1)).abs() < 1e-12);
    }

    #[test]
    fn adjusted_p_is_never_below_p(figures in prop::collection::vec(
        (prop::collection::vec(1.0..1e6_f64, 4), prop::collection::vec(1.0..1e6_f64, 4)), 1..6)
    ) {
        let pairs: Vec<_> = figures.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        for one in family(&pairs, 1) {
            prop_assert!(one.p <= one.adjusted && one.adjusted <= 1.0);
        }
    }

    #[test]
    fn interval_of_the_ratio_holds_the_ratio_and_repeats(of in samples(), to in samples()) {
        let interval = BOOTSTRAP.ratio_of_means(&of, &to).unwrap();
        prop_assert!(interval.contains(mean(&of) / mean(&to)));
        prop_assert_eq!(BOOTSTRAP.ratio_of_means(&of, &to), Some(interval));
    }

    #[test]
    fn interval_of_a_percentile_holds_it(
        values in prop::collection::vec(1_u64..1_000_000, 100..300),
        share in 0.2..0.8_f64,
    ) {
        let mut bins = BTreeMap::new();
        for value in values {
            *bins.entry(value).or_default() += 1;
        }
        let interval = percentile_interval(&bins, share, 0.95).unwrap();
        let inside = u32::try_from(percentile(&bins, share).unwrap()).unwrap();
        prop_assert!(interval.contains(inside.into()));
    }
}

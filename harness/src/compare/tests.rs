// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Verdicts on figures whose answer is known.

use super::*;

const SETTINGS: Settings = Settings {
    confidence: 0.95,
    margin: 0.05,
    seed: 1,
};

fn figure(value: f64, low: f64, high: f64) -> Figure {
    Figure {
        value,
        interval: Some(Interval { low, high }),
    }
}

fn exact(value: f64) -> Figure {
    Figure {
        value,
        interval: None,
    }
}

#[test]
fn verdict_needs_interval_and_p_to_agree() {
    let of = |ratio, p| Verdict::of(Samples::Runs, ratio, Some(p), SETTINGS);
    assert_eq!(of(figure(0.8, 0.7, 0.9), 0.01), Verdict::Slower);
    assert_eq!(of(figure(1.2, 1.1, 1.3), 0.05), Verdict::Faster);
    assert_eq!(of(figure(0.8, 0.7, 0.9), 0.06), Verdict::Undecided);
    assert_eq!(of(figure(0.8, 0.6, 1.01), 0.01), Verdict::Undecided);
}

#[test]
fn verdict_within_the_margin_is_same_however_sure() {
    let of = |ratio, p| Verdict::of(Samples::Runs, ratio, Some(p), SETTINGS);
    assert_eq!(of(figure(0.97, 0.96, 0.98), 0.001), Verdict::Same);
    assert_eq!(of(figure(1.0, 0.96, 1.04), 0.9), Verdict::Same);
    assert_eq!(of(figure(1.0, 0.90, 1.04), 0.9), Verdict::Undecided);
}

#[test]
fn verdict_without_samples_is_undecided_unless_equal() {
    let of = |ratio| Verdict::of(Samples::None, exact(ratio), None, SETTINGS);
    assert_eq!(of(0.1), Verdict::Undecided);
    assert_eq!(of(1.0), Verdict::Same);
}

#[test]
fn verdict_in_virtual_time_needs_no_samples() {
    let of = |ratio| Verdict::of(Samples::Exact, exact(ratio), None, SETTINGS);
    assert_eq!(of(0.94), Verdict::Slower);
    assert_eq!(of(0.96), Verdict::Same);
    assert_eq!(of(1.06), Verdict::Faster);
}

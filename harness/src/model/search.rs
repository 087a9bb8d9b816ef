// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The search for a point where a function is small that has many hollows: covariance matrix
//! adaptation from several starts, the best of which counts. Nothing in it is left to chance.

use cmaes::{CMAESOptions, DVector};

/// How far a search looks at first, in logarithms of the values.
const REACH: f64 = 0.3;
/// How far the starts lie around the first, in logarithms: a factor of 1.5 either way.
const AROUND: f64 = 0.4;

/// The best point that was found, and the function's value there.
pub fn minimise(
    start: &[f64],
    starts: usize,
    generations: usize,
    loss: impl Fn(&[f64]) -> f64,
) -> (Vec<f64>, f64) {
    let mut best = (start.to_vec(), loss(start));
    for number in 0..starts {
        let seed = 1 + u64::try_from(number).unwrap_or(0);
        let of_this = |point: &DVector<f64>| loss(point.as_slice());
        let options = CMAESOptions::new(around(start, number), REACH)
            .seed(seed)
            .max_generations(generations);
        // It is refused for no dimensions or steps alone: then the start is what there is.
        let found = options
            .build(of_this)
            .ok()
            .and_then(|mut search| search.run().overall_best);
        if let Some(found) = found
            && found.value < best.1
        {
            best = (found.point.as_slice().to_vec(), found.value);
        }
    }
    best
}

/// A start: the first is `start` itself, the others fill the box around it evenly (an additive
/// recurrence, with an irrational step of its own for each dimension).
fn around(start: &[f64], number: usize) -> Vec<f64> {
    let number = u32::try_from(number).map_or(0.0, f64::from);
    let dimensions = u32::try_from(start.len()).map_or(1.0, f64::from);
    // The root of x^(d + 1) = x + 1, from which d steps follow that fit each other badly.
    let root = (0..50).fold(2.0_f64, |x, _| (1.0 + x).powf(1.0 / (dimensions + 1.0)));
    let mut step = 1.0;
    let move_by = |value: &f64| {
        step /= root;
        value + AROUND * (2.0 * (0.5 + number * step).fract() - 1.0)
    };
    start.iter().map(move_by).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hollows, the deeper one away from the start.
    fn hollows(point: &[f64]) -> f64 {
        let to = |x: f64, y: f64| (point[0] - x).powi(2) + (point[1] - y).powi(2);
        to(0.0, 0.0).min(to(1.0, -1.0) - 0.1)
    }

    #[test]
    fn minimise_finds_the_deeper_hollow_from_several_starts() {
        let (point, value) = minimise(&[0.1, 0.1], 8, 60, hollows);
        assert!((value + 0.1).abs() < 1e-6, "{value} at {point:?}");
        assert!((point[0] - 1.0).abs() < 1e-3 && (point[1] + 1.0).abs() < 1e-3);
        assert_eq!(minimise(&[0.1, 0.1], 8, 60, hollows), (point, value));
    }

    #[test]
    fn minimise_without_steps_stays_at_the_start() {
        assert_eq!(minimise(&[0.5, 0.5], 0, 0, hollows), (vec![0.5, 0.5], 0.5));
    }

    #[test]
    fn around_begins_at_the_start_and_stays_near_it() {
        let start = [3.0, -2.0, 0.0];
        assert_eq!(around(&start, 0), start);
        let all: Vec<_> = (1..20).map(|number| around(&start, number)).collect();
        for (number, point) in all.iter().enumerate() {
            let near = |(a, b): (&f64, &f64)| (a - b).abs() <= AROUND;
            assert!(point.iter().zip(&start).all(near), "{point:?}");
            assert!(!all[..number].contains(point));
        }
    }
}

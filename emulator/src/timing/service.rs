// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long a unit of the medium is busy with one stripe.

use std::sync::Arc;

use rand_core::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::histogram::Histogram;
use super::{LONGEST, Nanos, Request, generator, scale};

/// Service times of one kind of work: where they lie, and what happens now and then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    pub(super) spread: Spread,
    pub(super) tail: Option<Tail>,
}

/// How service times are distributed.
#[derive(Clone, Debug, PartialEq)]
pub enum Spread {
    /// All alike.
    Constant(Nanos),
    /// Evenly between `time - jitter` and `time + jitter`.
    Uniform {
        /// The mean.
        time: Nanos,
        /// At most `time`.
        jitter: Nanos,
    },
    /// `median * exp(sigma * z)` with a standard normal `z`, at most a minute.
    LogNormal {
        /// Half of the draws are below.
        median: Nanos,
        /// Standard deviation of the logarithm, 0 to 2.
        sigma: f64,
    },
    /// As somebody has measured.
    Empirical(Arc<Histogram>),
}

/// What a few commands take besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// A draw below it means that the command is one of them; see [`Tail::new`].
    below: u64,
    time: Nanos,
}

impl Default for Spread {
    fn default() -> Self {
        Self::Constant(0)
    }
}

impl Tail {
    /// With `probability` (0 to 1) a command takes `time` longer.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the product is between 0 and 2^64, and as saturates"
    )]
    pub fn new(probability: f64, time: Nanos) -> Self {
        Self {
            below: (probability * 2f64.powi(64)) as u64,
            time,
        }
    }
}

impl Service {
    /// Evenly distributed between `time - jitter` and `time + jitter`.
    pub fn uniform(time: Nanos, jitter: Nanos) -> Self {
        let spread = match jitter {
            0 => Spread::Constant(time),
            _ => Spread::Uniform { time, jitter },
        };
        Self { spread, tail: None }
    }

    /// Lognormal: half of the draws are below `median`; `sigma`, 0 to 2, is the standard deviation
    /// of the logarithm.
    pub fn log_normal(median: Nanos, sigma: f64) -> Self {
        Self {
            spread: Spread::LogNormal { median, sigma },
            tail: None,
        }
    }

    /// Whether it takes no time, ever.
    pub fn is_instant(&self) -> bool {
        self.spread == Spread::Constant(0) && self.tail.is_none()
    }

    /// How the times are distributed, apart from the tail.
    pub fn spread(&self) -> &Spread {
        &self.spread
    }

    /// The time in the middle: half of all draws are at most this long, the tail apart.
    pub fn median(&self) -> Nanos {
        match &self.spread {
            Spread::Constant(time)
            | Spread::Uniform { time, .. }
            | Spread::LogNormal { median: time, .. } => *time,
            Spread::Empirical(histogram) => histogram.median(),
        }
    }

    /// The service time of each stripe of a command. The draws come from the command's own
    /// generator, which knows its place and nothing else.
    #[inline]
    pub fn draw(&self, seed: u64, request: &Request) -> Nanos {
        match (&self.spread, self.tail) {
            (Spread::Constant(time), None) => *time,
            _ => self.draw_from(&mut generator(seed, request)),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "service times are at most a minute, which a double holds exactly"
    )]
    fn draw_from(&self, generator: &mut impl Rng) -> Nanos {
        // The tail is decided first: what the spread takes does not move its draw.
        let extra = match self.tail {
            Some(tail) if generator.next_u64() < tail.below => tail.time,
            _ => 0,
        };
        let time = match &self.spread {
            Spread::Constant(time) => *time,
            Spread::Uniform { time, jitter } => {
                let offset = scale(generator.next_u64(), jitter.saturating_mul(2));
                time.saturating_sub(*jitter).saturating_add(offset)
            }
            Spread::LogNormal { median, sigma } => {
                let z: f64 = StandardNormal.sample(generator);
                ((*median as f64 * (sigma * z).exp()) as Nanos).min(LONGEST)
            }
            Spread::Empirical(histogram) => {
                histogram.at(generator.next_u64(), generator.next_u64())
            }
        };
        time.saturating_add(extra)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_of;
    use super::*;

    fn draws(service: &Service) -> Vec<Nanos> {
        let mut all: Vec<_> = (0..100_000)
            .map(|sequence| service.draw(1, &read_of(1, sequence)))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn uniform_covers_its_range_evenly() {
        let all = draws(&Service::uniform(6000, 500));
        assert!(all[0] >= 5500 && all[all.len() - 1] <= 6500);
        for tenth in 0..10 {
            let wanted = 5500 + 100 * tenth;
            let got = all[usize::try_from(tenth).unwrap() * 10_000];
            assert!(got.abs_diff(wanted) < 10, "{got} {wanted}");
        }
    }

    /// The quantiles of a lognormal distribution: median, and e^sigma away at one standard deviation.
    #[test]
    fn log_normal_has_its_quantiles() {
        let service = Service::log_normal(10_000, 0.5);
        let all = draws(&service);
        for (at, wanted) in [(15_866, 6065.3), (50_000, 10_000.0), (84_134, 16_487.2)] {
            let got = all[at] as f64;
            assert!((got / wanted - 1.0).abs() < 0.02, "{got} {wanted}");
        }
        assert_eq!(service.median(), 10_000);
    }

    #[test]
    fn tail_comes_as_often_as_it_should_and_moves_no_other_draw() {
        let plain = Service::uniform(6000, 500);
        let tailed = |probability| Service {
            tail: Some(Tail::new(probability, 80_000)),
            ..plain.clone()
        };
        let all = draws(&tailed(0.01));
        let long = all.iter().filter(|&&time| time > 80_000).count();
        assert!((900..1100).contains(&long), "{long}");
        for sequence in 0..1000 {
            let request = read_of(1, sequence);
            let (rare, often) = (tailed(0.001), tailed(0.5));
            let without = |service: &Service| service.draw(1, &request) % 80_000;
            assert_eq!(without(&rare), without(&often));
        }
        assert!(draws(&tailed(1.0))[0] > 80_000);
    }

    #[test]
    fn draw_is_never_longer_than_a_minute_and_its_tail() {
        let service = Service {
            spread: Spread::LogNormal {
                median: LONGEST,
                sigma: 2.0,
            },
            tail: Some(Tail::new(1.0, LONGEST)),
        };
        assert_eq!(draws(&service).pop(), Some(2 * LONGEST));
    }
}

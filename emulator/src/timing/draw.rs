// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Draws that depend on a command's place alone: a generator of its own for each command, keyed by
//! seed, namespace, queue, the queue's creation count and the command's number in it.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::{Nanos, Request};

/// A draw from -`jitter` to +`jitter`, evenly distributed, as an offset: 0 to 2 * `jitter`.
pub fn jitter_offset(seed: u64, request: &Request, jitter: Nanos) -> Nanos {
    let random = generator(seed, request).next_u64();
    scale(random, jitter.saturating_mul(2))
}

/// The generator of one command.
#[inline]
pub fn generator(seed: u64, request: &Request) -> Pcg64Mcg {
    let place = u64::from(request.nsid) << 32 | u64::from(request.queue_creation);
    let mut key = mix(seed, place);
    key = mix(key, u64::from(request.queue));
    let low = mix(key, request.sequence);
    let high = mix(low, key);
    Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low))
}

/// Maps 64 random bits to 0..=`most` without a division.
pub fn scale(random: u64, most: u64) -> u64 {
    let product = u128::from(random) * (u128::from(most) + 1);
    u64::try_from(product >> 64).unwrap_or(most)
}

/// Mixes a value into a key so that each bit of either changes half of the result's bits: twice a
/// multiplication by a large odd number and a fold of the high bits into the low ones.
pub fn mix(key: u64, value: u64) -> u64 {
    let mut bits = key ^ value.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    bits = (bits ^ bits >> 32).wrapping_mul(0x9FB2_1C65_1E98_DF25);
    bits = (bits ^ bits >> 29).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    bits ^ bits >> 32
}

#[cfg(test)]
mod tests {
    use super::super::read_of;
    use super::*;

    #[test]
    fn jitter_offset_of_the_same_place_is_the_same() {
        let a = jitter_offset(7, &read_of(1, 5), 1000);
        let b = jitter_offset(7, &read_of(1, 5), 1000);
        assert_eq!(a, b);
    }

    #[test]
    fn jitter_offset_depends_on_every_part_of_the_place() {
        let base = read_of(1, 5);
        let draw = |seed, request: &Request| jitter_offset(seed, request, u64::MAX / 2);
        let first = draw(7, &base);
        assert_ne!(first, draw(8, &base));
        assert_ne!(first, draw(7, &Request { nsid: 2, ..base }));
        assert_ne!(first, draw(7, &Request { queue: 2, ..base }));
        assert_ne!(
            first,
            draw(
                7,
                &Request {
                    sequence: 6,
                    ..base
                }
            )
        );
        let recreated = Request {
            queue_creation: 1,
            ..base
        };
        assert_ne!(first, draw(7, &recreated));
    }

    #[test]
    fn jitter_offset_covers_its_range_evenly() {
        let mut counts = [0u32; 10];
        for sequence in 0..100_000 {
            let offset = jitter_offset(1, &read_of(1, sequence), 500);
            assert!(offset <= 1000);
            counts[(offset * 10 / 1001) as usize] += 1;
        }
        assert!(
            counts.iter().all(|n| (9_600..10_400).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn jitter_offset_of_neighbours_is_uncorrelated() {
        let draws: Vec<f64> = (0..20_000)
            .map(|s| jitter_offset(3, &read_of(2, s), 500) as f64 - 500.0)
            .collect();
        let variance: f64 = draws.iter().map(|d| d * d).sum::<f64>();
        let covariance: f64 = draws.windows(2).map(|w| w[0] * w[1]).sum::<f64>();
        assert!((covariance / variance).abs() < 0.03);
    }
}

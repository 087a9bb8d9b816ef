// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Draws that depend on a command's place alone: a generator of its own for each command, keyed by
//! seed, namespace, queue, the queue's creation count and the command's number in it.

use rand_pcg::Pcg64Mcg;

use super::Request;

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
    use rand_core::Rng;

    use super::super::read_of;
    use super::*;

    fn draw(seed: u64, request: &Request) -> u64 {
        generator(seed, request).next_u64()
    }

    #[test]
    fn generator_of_the_same_place_draws_the_same() {
        assert_eq!(draw(7, &read_of(1, 5)), draw(7, &read_of(1, 5)));
    }

    #[test]
    fn generator_depends_on_every_part_of_the_place() {
        let base = read_of(1, 5);
        let others = [
            (8, base),
            (7, Request { nsid: 2, ..base }),
            (7, Request { queue: 2, ..base }),
            (7, read_of(1, 6)),
            (
                7,
                Request {
                    queue_creation: 1,
                    ..base
                },
            ),
        ];
        for (seed, request) in others {
            assert_ne!(draw(7, &base), draw(seed, &request), "{seed} {request:?}");
        }
    }

    #[test]
    fn scale_covers_its_range_evenly() {
        let mut counts = [0u32; 10];
        for sequence in 0..100_000 {
            let value = scale(draw(1, &read_of(1, sequence)), 9);
            counts[usize::try_from(value).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|n| (9_600..10_400).contains(n)),
            "{counts:?}"
        );
        assert_eq!((scale(0, 9), scale(u64::MAX, 9)), (0, 9));
        assert_eq!(scale(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn generators_of_neighbours_are_uncorrelated() {
        let draws: Vec<f64> = (0..20_000)
            .map(|s| draw(3, &read_of(2, s)) as f64 / 2f64.powi(64) - 0.5)
            .collect();
        let variance: f64 = draws.iter().map(|d| d * d).sum::<f64>();
        let covariance: f64 = draws.windows(2).map(|w| w[0] * w[1]).sum::<f64>();
        assert!((covariance / variance).abs() < 0.03);
    }
}

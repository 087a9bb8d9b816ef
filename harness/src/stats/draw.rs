// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random choices that a seed repeats.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A source of random indices.
#[derive(Debug)]
pub struct Draw(Pcg64Mcg);

impl Draw {
    /// The source of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A number from 0 up to, but not including, `end`. The numbers are equally likely but for a
    /// part in 2^64 / `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.0.next_u64()) * end as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Brings `count` random elements to the front.
    pub fn choose<T>(&mut self, from: &mut [T], count: usize) {
        for place in 0..count {
            let other = place + self.below(from.len() - place);
            from.swap(place, other);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Seeded random numbers (xorshift): the same seed, the same run.

/// A generator.
#[derive(Clone, Copy)]
pub struct Random(u64);

impl Random {
    /// A generator for one purpose: `stream` tells it from others with the same seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mixed = (seed ^ stream.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = Self((mixed ^ mixed >> 29) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// 64 bits.
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which is not 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        let scaled = (u128::from(self.next()) * u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }

    /// True once in `times`.
    #[inline]
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

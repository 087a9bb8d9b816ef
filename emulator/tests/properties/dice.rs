// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small choices that follow from one seed, so that an action means the same each time.

/// A generator of numbers (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.u64() % limit
    }

    pub fn u32(&mut self) -> u32 {
        low(self.u64())
    }

    pub fn small(&mut self, limit: u32) -> u32 {
        low(self.below(u64::from(limit)))
    }

    pub fn byte(&mut self) -> u8 {
        self.u64().to_le_bytes()[0]
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    /// A number that is likely to do harm as a field of 32 bits.
    pub fn field(&mut self) -> u32 {
        match self.below(8) {
            0..4 => self.small(0x40),
            4 => u32::MAX,
            5 => self.u32() & 0xFFFF,
            6 => 1 << self.below(32),
            _ => self.u32(),
        }
    }
}

/// The low half of `value`.
pub fn low(value: u64) -> u32 {
    u32::try_from(value & 0xFFFF_FFFF).unwrap()
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What happens to a command's data.

use rand_core::Rng as _;
use rand_pcg::Pcg64Mcg;

use crate::timing::{mix, scale};

/// What happens to a command's data. It succeeds all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// Only the first logical blocks of a write reach the medium: so many.
    Torn {
        /// Logical blocks.
        blocks: u32,
    },
    /// The host gets a read's data with some bytes changed. The medium's stay.
    Corrupt(Corruption),
}

/// Which bytes of a read are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// How many.
    pub bytes: u32,
    /// The command's own draw.
    pub seed: u64,
}

impl Corruption {
    /// Offsets in a transfer of `length` bytes, in order, each with the bits that are flipped there
    /// (at least one). One byte in each of as many equal parts as bytes are wanted; all bytes
    /// when the transfer is shorter.
    pub fn places(self, length: u32) -> impl Iterator<Item = (u32, u8)> {
        let count = u64::from(self.bytes.min(length));
        let length = u64::from(length);
        let mut generator = Pcg64Mcg::new(u128::from(mix(self.seed, 1)) << 64 | 1);
        // The first outputs of near states are alike.
        generator.next_u64();
        (0..count).map(move |part| {
            let (first, end) = (part * length / count, (part + 1) * length / count);
            let at = first + scale(generator.next_u64(), end - first - 1);
            let mask = 1 + scale(generator.next_u64(), 254);
            (
                u32::try_from(at).unwrap_or(u32::MAX),
                u8::try_from(mask).unwrap_or(1),
            )
        })
    }
}

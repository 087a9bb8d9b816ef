// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `crate::dma::slots`, and the guest memory beneath.

use std::sync::Arc;

use crate::sync::atomic::AtomicU32;

/// Some words from address 0 on.
#[derive(Clone)]
pub struct GuestRam(Arc<Vec<AtomicU32>>);

pub struct OutOfRange;

pub(super) struct Slots {
    ram: GuestRam,
    first: u64,
}

impl GuestRam {
    pub fn new(words: usize) -> Self {
        Self(Arc::new((0..words).map(|_| AtomicU32::new(0)).collect()))
    }

    pub fn word(&self, address: u64) -> &AtomicU32 {
        &self.0[usize::try_from(address / 4).unwrap()]
    }
}

impl Slots {
    pub(super) fn new(ram: &GuestRam, address: u64, _count: u32) -> Result<Self, OutOfRange> {
        Ok(Self {
            ram: ram.clone(),
            first: address,
        })
    }

    pub(super) fn at(&self, slot: u32) -> &AtomicU32 {
        self.ram.word(self.first + 4 * u64::from(slot))
    }
}

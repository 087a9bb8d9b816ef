// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the namespaces hold, as far as is known: each 512-byte sector repeats a stamp of 8 bytes.
//! Commands that are outstanding at the same time on the same sectors make their outcome unknown.

use crate::issue::Status;
use crate::issue::{COMPARE_FAILURE, SUCCESS, is_aborted};
use crate::memory::Memory;

pub const SECTOR: usize = 512;
/// Sectors of the two namespaces.
pub const SECTORS: [usize; 2] = [256, 512];

/// What a transfer does with its sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Read,
    Write(Vec<u64>),
    Zero,
    Compare(Vec<u64>),
}

/// A command on sectors of a namespace.
pub struct Transfer {
    /// Index of the namespace.
    pub namespace: usize,
    pub first: usize,
    pub count: usize,
    pub deed: Deed,
    /// Where the data is: addresses and lengths.
    pub pieces: Vec<(u64, usize)>,
    /// Others are outstanding on the same sectors, and the order is the device's.
    pub raced: bool,
}

impl Transfer {
    pub fn changes(&self) -> bool {
        matches!(self.deed, Deed::Write(_) | Deed::Zero)
    }

    /// Whether the order of the two matters.
    pub fn races(&self, other: &Self) -> bool {
        (self.changes() || other.changes())
            && self.namespace == other.namespace
            && self.first < other.first + other.count
            && other.first < self.first + self.count
    }
}

/// The namespaces.
pub struct Medium {
    sectors: [Vec<Option<u64>>; 2],
    /// Block sizes as powers of two.
    pub shifts: [u32; 2],
    /// Nothing is kept: reads give zeros.
    null: bool,
    next_stamp: u64,
}

impl Medium {
    pub fn new(null: bool) -> Self {
        Self {
            sectors: SECTORS.map(|count| vec![Some(0); count]),
            shifts: [9, 12],
            null,
            next_stamp: 0xD15C_0000_0000_0000,
        }
    }

    /// Stamps that nobody has used. None of them is an address of guest RAM.
    pub fn stamps(&mut self, count: usize) -> Vec<u64> {
        let first = self.next_stamp + 1;
        self.next_stamp += count as u64;
        (first..).take(count).collect()
    }

    /// The first block was written by somebody else.
    pub fn forget_start(&mut self, namespace: usize) {
        if !self.null {
            self.sectors[namespace][..8].fill(None);
        }
    }

    /// What is known of these sectors.
    pub fn known(&self, transfer: &Transfer) -> &[Option<u64>] {
        &self.sectors[transfer.namespace][transfer.first..transfer.first + transfer.count]
    }

    /// Everything reads as zeros.
    pub fn format(&mut self, namespace: usize, shift: u32) {
        self.sectors[namespace].fill(Some(0));
        self.shifts[namespace] = shift;
    }

    /// It cannot be told whether the transfer happened.
    pub fn forget(&mut self, transfer: &Transfer) {
        if transfer.changes() && !self.null {
            let range = transfer.first..transfer.first + transfer.count;
            self.sectors[transfer.namespace][range].fill(None);
        }
    }

    /// A transfer that was well-formed has ended.
    pub fn complete(&mut self, transfer: &Transfer, status: Status, memory: &Memory) {
        if is_aborted(status) || transfer.raced {
            self.forget(transfer);
            return;
        }
        match &transfer.deed {
            Deed::Read => {
                assert_eq!(status, SUCCESS, "read");
                self.check_data(transfer, memory);
            }
            Deed::Compare(stamps) => {
                let known = self.known(transfer);
                let differs = known.iter().zip(stamps);
                let differs = differs.map(|(known, given)| known.map(|known| known != *given));
                let any = differs.clone().any(|differs| differs == Some(true));
                let all_known = differs.clone().all(|differs| differs.is_some());
                if any {
                    assert_eq!(status, COMPARE_FAILURE, "compare of other data");
                } else if all_known {
                    assert_eq!(status, SUCCESS, "compare of the same data");
                }
            }
            Deed::Write(_) | Deed::Zero => {
                assert_eq!(status, SUCCESS, "write");
                self.change(transfer);
            }
        }
    }

    fn change(&mut self, transfer: &Transfer) {
        if self.null {
            return;
        }
        let range = transfer.first..transfer.first + transfer.count;
        let sectors = &mut self.sectors[transfer.namespace][range];
        match &transfer.deed {
            Deed::Write(stamps) => {
                for (sector, stamp) in sectors.iter_mut().zip(stamps) {
                    *sector = Some(*stamp);
                }
            }
            _ => sectors.fill(Some(0)),
        }
    }

    fn check_data(&self, transfer: &Transfer, memory: &Memory) {
        let mut data = Vec::with_capacity(transfer.count * SECTOR);
        for &(address, length) in &transfer.pieces {
            data.extend_from_slice(memory.at(address, length).unwrap());
        }
        for (index, (sector, known)) in data.chunks(SECTOR).zip(self.known(transfer)).enumerate() {
            let Some(stamp) = known else { continue };
            assert!(
                sector.chunks(8).all(|word| word == stamp.to_le_bytes()),
                "sector {} of namespace {} is not what was written: {:x?} for {stamp:#x}",
                transfer.first + index,
                transfer.namespace + 1,
                &sector[..16],
            );
        }
    }
}

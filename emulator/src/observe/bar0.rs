// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The places in BAR0 that exits are counted for: registers, doorbells, MSI-X, in a small fixed
//! table.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::spec::registers::{
    ACQ, AQA, ASQ, CAP, CC, CRTO, CSTS, DOORBELLS, INTMC, INTMS, NSSR, VS,
};

/// Registers are told apart below this offset: CRTO is the last one that the controller has.
const REGISTERS_END: u64 = 0x70;
/// Where the MSI-X table lies in BAR0. `pci` checks that this is so, and the next two.
pub(crate) const MSIX_TABLE: u64 = 0x2000;
/// Where the MSI-X pending bit array lies in BAR0.
pub(crate) const MSIX_PBA: u64 = 0x3000;
/// Size of BAR0 in bytes.
pub(crate) const BAR0_SIZE: u64 = 0x4000;

const REGISTERS: usize = (REGISTERS_END / 4) as usize;
/// Queues whose doorbells are told apart: the admin queue and 64 more.
const QUEUES: usize = 65;

const FIRST_DOORBELL: usize = REGISTERS;
const OTHER_DOORBELL: usize = FIRST_DOORBELL + 2 * QUEUES;
const TABLE: usize = OTHER_DOORBELL + 1;
const PENDING: usize = TABLE + 1;
const ELSEWHERE: usize = PENDING + 1;

/// Number of places.
pub(super) const PLACES: usize = ELSEWHERE + 1;

/// A place in BAR0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bar0Place {
    /// The dword of registers at this offset, a multiple of 4 below 70h.
    Register(u16),
    /// The tail doorbell of a queue, at most 64.
    SqTail(u16),
    /// The head doorbell of a queue, at most 64.
    CqHead(u16),
    /// A doorbell of a queue beyond these.
    OtherDoorbell,
    /// The MSI-X table.
    MsixTable,
    /// The MSI-X pending bits.
    MsixPba,
    /// Where nothing is.
    Elsewhere,
}

impl Bar0Place {
    /// The place of the byte at `offset`.
    pub fn of(offset: u64) -> Self {
        Self::from_index(match offset {
            0..REGISTERS_END => small(offset / 4),
            DOORBELLS..MSIX_TABLE => {
                let doorbell = small((offset - DOORBELLS) / 4);
                (FIRST_DOORBELL + doorbell).min(OTHER_DOORBELL)
            }
            MSIX_TABLE..MSIX_PBA => TABLE,
            MSIX_PBA..BAR0_SIZE => PENDING,
            _ => ELSEWHERE,
        })
    }

    /// Its number in the table, below [`PLACES`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Register(offset) => usize::from(offset / 4),
            Self::SqTail(queue) => FIRST_DOORBELL + 2 * usize::from(queue),
            Self::CqHead(queue) => FIRST_DOORBELL + 2 * usize::from(queue) + 1,
            Self::OtherDoorbell => OTHER_DOORBELL,
            Self::MsixTable => TABLE,
            Self::MsixPba => PENDING,
            Self::Elsewhere => ELSEWHERE,
        }
    }

    /// The place with number `index`.
    pub(super) fn from_index(index: usize) -> Self {
        let number = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        match index {
            0..FIRST_DOORBELL => Self::Register(number(index * 4)),
            FIRST_DOORBELL..OTHER_DOORBELL => {
                let doorbell = index - FIRST_DOORBELL;
                if doorbell.is_multiple_of(2) {
                    Self::SqTail(number(doorbell / 2))
                } else {
                    Self::CqHead(number(doorbell / 2))
                }
            }
            OTHER_DOORBELL => Self::OtherDoorbell,
            TABLE => Self::MsixTable,
            PENDING => Self::MsixPba,
            _ => Self::Elsewhere,
        }
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl fmt::Display for Bar0Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Register(offset) => {
                let (name, high) = register(u64::from(offset));
                match name {
                    Some(name) if high => write!(f, "{name} (high)"),
                    Some(name) => f.write_str(name),
                    None => write!(f, "register {offset:02X}h"),
                }
            }
            Self::SqTail(queue) => write!(f, "SQ {queue} tail"),
            Self::CqHead(queue) => write!(f, "CQ {queue} head"),
            Self::OtherDoorbell => f.write_str("other doorbells"),
            Self::MsixTable => f.write_str("MSI-X table"),
            Self::MsixPba => f.write_str("MSI-X PBA"),
            Self::Elsewhere => f.write_str("elsewhere"),
        }
    }
}

/// A register's name, and whether the dword is its upper half.
fn register(offset: u64) -> (Option<&'static str>, bool) {
    const NAMES: [(u64, &str, bool); 11] = [
        (CAP, "CAP", true),
        (VS, "VS", false),
        (INTMS, "INTMS", false),
        (INTMC, "INTMC", false),
        (CC, "CC", false),
        (CSTS, "CSTS", false),
        (NSSR, "NSSR", false),
        (AQA, "AQA", false),
        (ASQ, "ASQ", true),
        (ACQ, "ACQ", true),
        (CRTO, "CRTO", false),
    ];
    for (at, name, wide) in NAMES {
        if offset == at {
            return (Some(name), false);
        }
        if wide && offset == at + 4 {
            return (Some(name), true);
        }
    }
    (None, false)
}

impl Serialize for Bar0Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

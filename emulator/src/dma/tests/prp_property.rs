// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The PRP walker against a model that knows nothing but single pages.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::dma::{GuestRam, SegmentList};
use crate::spec::Status;

const PAGE: u64 = 4096;
const BASE: u64 = 0x198_4000;
/// Two regions that touch, then a gap, then a third.
const REGIONS: [(u64, usize); 3] = [
    (BASE, 8 * 4096),
    (BASE + 8 * PAGE, 4 * 4096),
    (BASE + 16 * PAGE, 4 * 4096),
];
const MOST: usize = 2 * 1024 * 4096;

fn is_ram(address: u64) -> bool {
    REGIONS
        .iter()
        .any(|&(start, length)| address >= start && address - start < length as u64)
}

/// The rules, one page after another; memory is a map from address to list entry.
fn model(
    memory: &BTreeMap<u64, u64>,
    prp1: u64,
    prp2: u64,
    length: u64,
) -> Result<Vec<(u64, u64)>, Status> {
    let page_of_data = |address: u64, length: u64, aligned: bool| {
        if aligned && !address.is_multiple_of(PAGE) || !address.is_multiple_of(4) {
            Err(Status::PRP_OFFSET_INVALID)
        } else if address == 0 || !is_ram(address) {
            Err(Status::DATA_TRANSFER_ERROR)
        } else {
            Ok((address, length))
        }
    };
    let entry = |address: u64| {
        if is_ram(address) {
            Ok(memory.get(&address).copied().unwrap_or(0))
        } else {
            Err(Status::DATA_TRANSFER_ERROR)
        }
    };
    let mut pieces = Vec::new();
    if length == 0 {
        return Ok(pieces);
    }
    let first = length.min(PAGE - prp1 % PAGE);
    pieces.push(page_of_data(prp1, first, false)?);
    let mut left = length - first;
    if left == 0 {
        return Ok(pieces);
    }
    if left <= PAGE {
        pieces.push(page_of_data(prp2, left, true)?);
        return Ok(pieces);
    }
    if !prp2.is_multiple_of(8) {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    let mut at = prp2;
    while left > 0 {
        let value = entry(at)?;
        if at % PAGE == PAGE - 8 && left > PAGE {
            if !value.is_multiple_of(PAGE) {
                return Err(Status::PRP_OFFSET_INVALID);
            }
            at = value;
            continue;
        }
        let length = left.min(PAGE);
        pieces.push(page_of_data(value, length, true)?);
        left -= length;
        at = at.wrapping_add(8);
    }
    Ok(pieces)
}

/// Mostly pages of RAM, now and then something else.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        40 => (0_u64..8).prop_map(|n| BASE + n * PAGE),
        8 => (8_u64..22).prop_map(|n| BASE + n * PAGE),
        2 => (0_u64..8, 0_u64..4096).prop_map(|(n, offset)| BASE + n * PAGE + offset),
        1 => Just(0),
        1 => Just(u64::MAX - 4095),
        1 => any::<u64>(),
    ]
}

fn pointer() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => address(),
        // A list near the end of a page.
        3 => (0_u64..8, 1_u64..6).prop_map(|(n, back)| BASE + (n + 1) * PAGE - back * 8),
        1 => (0_u64..8, 0_u64..512).prop_map(|(n, index)| BASE + n * PAGE + index * 8),
    ]
}

fn prp1() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => address(),
        3 => (0_u64..8, 0_u64..1024).prop_map(|(n, dword)| BASE + n * PAGE + dword * 4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn walker_agrees_with_model(
        // List pages 0 and 1 of RAM full of entries; the rest is zero.
        entries in prop::collection::vec(address(), 1024),
        prp1 in prp1(),
        prp2 in pointer(),
        length in prop_oneof![
            8 => 0_usize..20_000,
            8 => (1_usize..40, 0_usize..3).prop_map(|(pages, less)| pages * 4096 - less),
            1 => 500 * 4096..MOST,
        ],
    ) {
        let ram = GuestRam::anonymous(&REGIONS).unwrap();
        let mut memory = BTreeMap::new();
        for (index, &entry) in (0_u64..).zip(&entries) {
            memory.insert(BASE + index * 8, entry);
        }
        let raw: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        ram.write(BASE, &raw).unwrap();
        let mut list = SegmentList::with_capacity(MOST);
        let capacity = list.capacity();

        let found = list.resolve_prp(&ram, prp1, prp2, length, 4096);

        let expected = model(&memory, prp1, prp2, length as u64);
        prop_assert_eq!(found.err(), expected.as_ref().err().copied());
        prop_assert_eq!(list.capacity(), capacity);
        if let Ok(pages) = expected {
            prop_assert_eq!(list.length(), length);
            prop_assert_eq!(bytes_of(list.as_slice().iter().map(|s| (s.address, u64::from(s.length)))), bytes_of(pages));
            for segment in list.as_slice() {
                prop_assert!(ram.slice(segment.address, segment.length as usize).is_ok());
            }
        } else {
            prop_assert!(list.as_slice().is_empty());
        }
    }
}

/// The same ranges with everything adjacent joined, whatever the pieces were.
fn bytes_of(pieces: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (address, length) in pieces {
        match joined.last_mut() {
            Some(last) if last.0.wrapping_add(last.1) == address => last.1 += length,
            _ => joined.push((address, length)),
        }
    }
    joined
}

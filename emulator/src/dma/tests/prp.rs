// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every rule of PRP1, PRP2 and PRP lists (NVMe Base 2.0c, 4.1.1), and every edge.

use crate::dma::{GuestRam, Segment, SegmentList};
use crate::spec::Status;

const PAGE: usize = 4096;
const P: u64 = 4096;
/// Where the RAM of these tests begins, in pages: not at 0.
const FIRST: u64 = 16;
/// How many pages of RAM there are.
const PAGES: u64 = 1024;

fn ram() -> GuestRam {
    GuestRam::anonymous(&[(FIRST * P, 1024 * PAGE)]).unwrap()
}

fn put_list(ram: &GuestRam, address: u64, entries: &[u64]) {
    for (index, entry) in (0..).zip(entries) {
        ram.write(address + index * 8, &entry.to_le_bytes())
            .unwrap();
    }
}

fn resolve(ram: &GuestRam, prp1: u64, prp2: u64, length: usize) -> Result<Vec<Segment>, Status> {
    let mut list = SegmentList::with_capacity(1 << 20);
    let result = list.resolve_prp(ram, prp1, prp2, length, PAGE);
    if result.is_err() {
        assert!(list.as_slice().is_empty(), "a refused list must be empty");
    }
    result.map(|()| list.as_slice().to_vec())
}

fn segment(address: u64, length: u32) -> Segment {
    Segment { address, length }
}

/// Address of page `n` of RAM.
fn page(n: u64) -> u64 {
    (FIRST + n) * P
}

#[test]
fn no_data_gives_no_segment_and_looks_at_nothing() {
    assert_eq!(resolve(&ram(), 1, 1, 0), Ok(vec![]));
}

#[test]
fn one_page_aligned_ignores_prp2() {
    let found = resolve(&ram(), page(3), 0xDEAD_BEEF, PAGE);
    assert_eq!(found, Ok(vec![segment(page(3), 4096)]));
}

#[test]
fn one_page_unaligned_within_page_ignores_prp2() {
    let found = resolve(&ram(), page(3) + 3584, 7, 512);
    assert_eq!(found, Ok(vec![segment(page(3) + 3584, 512)]));
}

#[test]
fn prp1_not_dword_aligned_offset_invalid() {
    for low in 1..4 {
        let found = resolve(&ram(), page(3) + low, 0, 512);
        assert_eq!(found, Err(Status::PRP_OFFSET_INVALID));
    }
}

#[test]
fn two_pages_apart_two_segments() {
    let found = resolve(&ram(), page(3), page(9), 2 * PAGE);
    assert_eq!(
        found,
        Ok(vec![segment(page(3), 4096), segment(page(9), 4096)])
    );
}

#[test]
fn two_pages_adjacent_merged() {
    let found = resolve(&ram(), page(3) + 8, page(4), 8000);
    assert_eq!(found, Ok(vec![segment(page(3) + 8, 8000)]));
}

#[test]
fn one_page_unaligned_spans_two_with_prp2_as_data() {
    let found = resolve(&ram(), page(3) + 4, page(9), PAGE);
    assert_eq!(
        found,
        Ok(vec![segment(page(3) + 4, 4092), segment(page(9), 4)])
    );
}

#[test]
fn second_page_with_offset_invalid() {
    for offset in [4, 8, 512, 4095] {
        let found = resolve(&ram(), page(3), page(9) + offset, 2 * PAGE);
        assert_eq!(found, Err(Status::PRP_OFFSET_INVALID));
    }
}

#[test]
fn three_pages_from_list() {
    let ram = ram();
    put_list(&ram, page(1), &[page(5), page(7)]);
    assert_eq!(
        resolve(&ram, page(3), page(1), 3 * PAGE - 100),
        Ok(vec![
            segment(page(3), 4096),
            segment(page(5), 4096),
            segment(page(7), 3996)
        ])
    );
}

#[test]
fn offset_of_prp1_counts_towards_first_page() {
    // Two pages of data from the middle of a page need three pages, so PRP2 is a list.
    let ram = ram();
    put_list(&ram, page(1), &[page(5), page(7)]);
    assert_eq!(
        resolve(&ram, page(3) + 2048, page(1), 2 * PAGE),
        Ok(vec![
            segment(page(3) + 2048, 2048),
            segment(page(5), 4096),
            segment(page(7), 2048)
        ])
    );
}

#[test]
fn list_at_offset_within_its_page() {
    let ram = ram();
    put_list(&ram, page(1) + 0x128, &[page(5), page(7)]);
    let found = resolve(&ram, page(3), page(1) + 0x128, 3 * PAGE).unwrap();
    assert_eq!(found[1..], [segment(page(5), 4096), segment(page(7), 4096)]);
}

#[test]
fn list_not_qword_aligned_offset_invalid() {
    for low in 1..8 {
        let found = resolve(&ram(), page(3), page(1) + low, 3 * PAGE);
        assert_eq!(found, Err(Status::PRP_OFFSET_INVALID));
    }
}

#[test]
fn list_entry_with_offset_invalid() {
    let ram = ram();
    put_list(&ram, page(1), &[page(5), page(7) + 512]);
    let found = resolve(&ram, page(3), page(1), 3 * PAGE);
    assert_eq!(found, Err(Status::PRP_OFFSET_INVALID));
}

#[test]
fn list_entries_beyond_transfer_not_judged() {
    let ram = ram();
    put_list(&ram, page(1), &[page(5), page(7), 1, u64::MAX]);
    assert!(resolve(&ram, page(3), page(1), 3 * PAGE).is_ok());
}

#[test]
fn list_ends_exactly_at_page_end_last_entry_is_data() {
    let ram = ram();
    let list = page(1) + P - 16;
    put_list(&ram, list, &[page(5), page(7)]);
    let found = resolve(&ram, page(3), list, 3 * PAGE).unwrap();
    assert_eq!(found[1..], [segment(page(5), 4096), segment(page(7), 4096)]);
}

#[test]
fn list_crosses_page_last_entry_is_chain_pointer() {
    let ram = ram();
    let list = page(1) + P - 16;
    put_list(&ram, list, &[page(5), page(2)]);
    put_list(&ram, page(2), &[page(7), page(9)]);
    let found = resolve(&ram, page(3), list, 4 * PAGE).unwrap();
    assert_eq!(
        found[1..],
        [
            segment(page(5), 4096),
            segment(page(7), 4096),
            segment(page(9), 4096)
        ]
    );
}

#[test]
fn list_with_one_entry_left_in_page_is_only_a_chain_pointer() {
    let ram = ram();
    let list = page(1) + P - 8;
    put_list(&ram, list, &[page(2)]);
    put_list(&ram, page(2), &[page(7), page(9)]);
    let found = resolve(&ram, page(3), list, 3 * PAGE).unwrap();
    assert_eq!(found[1..], [segment(page(7), 4096), segment(page(9), 4096)]);
}

#[test]
fn chain_pointer_with_offset_invalid() {
    let ram = ram();
    let list = page(1) + P - 8;
    put_list(&ram, list, &[page(2) + 8]);
    put_list(&ram, page(2), &[page(6), page(7), page(9)]);
    let found = resolve(&ram, page(3), list, 3 * PAGE);
    assert_eq!(found, Err(Status::PRP_OFFSET_INVALID));
}

#[test]
fn chain_pointing_to_itself_ends_with_transfer() {
    let ram = ram();
    // A full list page whose last entry is its own address.
    let mut entries = vec![page(5); 511];
    entries.push(page(1));
    put_list(&ram, page(1), &entries);
    let length = 2000 * PAGE;

    let mut list = SegmentList::with_capacity(length);
    list.resolve_prp(&ram, page(3), page(1), length, PAGE)
        .unwrap();

    assert_eq!(list.length(), length);
}

#[test]
fn chain_pointing_to_its_own_only_entry_ends_with_transfer() {
    let ram = ram();
    // PRP2 points to the last entry of a page, which points to the page's start.
    let mut entries = vec![page(5); 511];
    entries.push(page(1));
    put_list(&ram, page(1), &entries);
    let found = resolve(&ram, page(3), page(1) + P - 8, 3 * PAGE).unwrap();
    assert_eq!(found[1..], [segment(page(5), 4096), segment(page(5), 4096)]);
}

#[test]
fn zero_address_data_transfer_error_even_where_ram_begins_at_zero() {
    let ram = GuestRam::anonymous(&[(0, 64 * PAGE)]).unwrap();
    let failed = Err(Status::DATA_TRANSFER_ERROR);
    assert_eq!(resolve(&ram, 0, 0, PAGE), failed);
    assert_eq!(resolve(&ram, P, 0, 2 * PAGE), failed);
    put_list(&ram, P, &[2 * P, 0]);
    assert_eq!(resolve(&ram, 5 * P, P, 3 * PAGE), failed);
}

#[test]
fn address_outside_ram_data_transfer_error() {
    let ram = ram();
    let failed = Err(Status::DATA_TRANSFER_ERROR);
    let beyond = page(PAGES);
    assert_eq!(resolve(&ram, beyond, 0, PAGE), failed);
    assert_eq!(resolve(&ram, page(0) - P, 0, PAGE), failed);
    assert_eq!(resolve(&ram, page(3), beyond, 2 * PAGE), failed);
    assert_eq!(resolve(&ram, page(3), beyond, 3 * PAGE), failed, "list");
    put_list(&ram, page(1), &[page(5), beyond]);
    assert_eq!(resolve(&ram, page(3), page(1), 3 * PAGE), failed);
    put_list(&ram, page(1) + P - 8, &[beyond]);
    assert_eq!(
        resolve(&ram, page(3), page(1) + P - 8, 3 * PAGE),
        failed,
        "chain"
    );
}

#[test]
fn last_page_of_ram_resolves() {
    let last = page(PAGES - 1);
    assert_eq!(
        resolve(&ram(), last + 4092, 0, 4),
        Ok(vec![segment(last + 4092, 4)])
    );
}

#[test]
fn list_of_last_qwords_of_ram_chains_outside_refused() {
    let ram = ram();
    let list = page(PAGES) - 8;
    put_list(&ram, list, &[page(PAGES)]);
    let found = resolve(&ram, page(3), list, 3 * PAGE);
    assert_eq!(found, Err(Status::DATA_TRANSFER_ERROR));
}

#[test]
fn addresses_at_end_of_address_space_data_transfer_error() {
    let ram = ram();
    let failed = Err(Status::DATA_TRANSFER_ERROR);
    assert_eq!(resolve(&ram, u64::MAX - 3, 0, 4), failed);
    assert_eq!(resolve(&ram, u64::MAX - 3, page(1), 8), failed);
    assert_eq!(resolve(&ram, page(1), u64::MAX - 7, 3 * PAGE), failed);
    assert_eq!(resolve(&ram, page(1), u64::MAX - 4095, 2 * PAGE), failed);
}

#[test]
fn largest_transfer_resolves_without_growing() {
    const MDTS: usize = 1 << 20;
    let ram = ram();
    // Every second page, so that nothing merges; the transfer begins in the middle of a page.
    let entries: Vec<u64> = (0..256).map(|n| page(300 + 2 * n)).collect();
    put_list(&ram, page(1), &entries);
    let mut list = SegmentList::with_capacity(MDTS);
    let before = list.capacity();

    list.resolve_prp(&ram, page(3) + 512, page(1), MDTS, PAGE)
        .unwrap();

    assert_eq!(list.length(), MDTS);
    assert_eq!(list.as_slice().len(), 257);
    assert_eq!(list.capacity(), before);
}

#[test]
fn contiguous_list_merges_into_one_segment() {
    let ram = ram();
    let entries: Vec<u64> = (0..255).map(|n| page(301 + n)).collect();
    put_list(&ram, page(1), &entries);
    assert_eq!(
        resolve(&ram, page(300), page(1), 1 << 20),
        Ok(vec![segment(page(300), 1 << 20)])
    );
}

#[test]
fn adjacent_regions_are_not_merged_and_both_resolve() {
    let ram = GuestRam::anonymous(&[(page(0), 4 * PAGE), (page(4), 4 * PAGE)]).unwrap();
    let found = resolve(&ram, page(3), page(4), 2 * PAGE).unwrap();
    assert_eq!(found, [segment(page(3), 4096), segment(page(4), 4096)]);
    for piece in found {
        assert!(ram.slice(piece.address, piece.length as usize).is_ok());
    }
}

#[test]
fn separate_regions_both_resolve_and_gap_refused() {
    let high = 1 << 32;
    let ram = GuestRam::anonymous(&[(page(0), 4 * PAGE), (high, 64 * PAGE)]).unwrap();
    let found = resolve(&ram, page(3), high, 2 * PAGE);
    assert_eq!(found, Ok(vec![segment(page(3), 4096), segment(high, 4096)]));
    put_list(&ram, page(1), &[high + 5 * P, page(2)]);
    assert!(resolve(&ram, high, page(1), 3 * PAGE).is_ok());
    let found = resolve(&ram, page(3), page(4), 2 * PAGE);
    assert_eq!(found, Err(Status::DATA_TRANSFER_ERROR));
}

#[test]
fn larger_memory_page_has_larger_lists() {
    const BIG: usize = 64 * 1024;
    let base = 1 << 20;
    let ram = GuestRam::anonymous(&[(base, 16 * BIG)]).unwrap();
    let at = |n: u64| base + n * BIG as u64;
    let mut list = SegmentList::with_capacity(3 * BIG);
    // An entry that is aligned to 4 KiB only is an offset within a memory page here.
    let found = list.resolve_prp(&ram, at(1), at(2) + P, 2 * BIG, BIG);
    assert_eq!(found, Err(Status::PRP_OFFSET_INVALID));
    // Entry 512 of a list is no chain pointer here.
    put_list(&ram, at(0) + P - 16, &[at(4), at(6), at(8)]);
    list.resolve_prp(&ram, at(1), at(0) + P - 16, 4 * BIG, BIG)
        .unwrap();
    let big = u32::try_from(BIG).unwrap();
    assert_eq!(list.as_slice(), [1, 4, 6, 8].map(|n| segment(at(n), big)));
}

#[test]
fn copies_follow_the_segments() {
    let ram = ram();
    put_list(&ram, page(1), &[page(9), page(5)]);
    let mut list = SegmentList::with_capacity(1 << 20);
    list.resolve_prp(&ram, page(3) + 4000, page(1), 6000, PAGE)
        .unwrap();
    let data: Vec<u8> = (0..251).cycle().take(6000).collect();

    list.write_to_guest(&ram, &data);

    let mut piece = vec![0; 96];
    ram.read(page(3) + 4000, &mut piece).unwrap();
    assert_eq!(piece, data[..96]);
    let mut piece = vec![0; 4096];
    ram.read(page(9), &mut piece).unwrap();
    assert_eq!(piece, data[96..4192]);
    let mut back = vec![0; 6000];
    list.read_from_guest(&ram, &mut back);
    assert_eq!(back, data);
}

#[test]
fn shorter_copies_leave_the_rest_alone() {
    let ram = ram();
    let mut list = SegmentList::with_capacity(1 << 20);
    list.resolve_prp(&ram, page(3), page(9), 2 * PAGE, PAGE)
        .unwrap();
    ram.write(page(9), &[0x55; 8]).unwrap();

    list.write_to_guest(&ram, &[0xAA; 4100]);

    let mut seen = [0; 8];
    ram.read(page(9), &mut seen).unwrap();
    assert_eq!(seen, [0xAA, 0xAA, 0xAA, 0xAA, 0x55, 0x55, 0x55, 0x55]);
    let mut back = [0; 4100];
    list.read_from_guest(&ram, &mut back);
    assert_eq!(back, [0xAA; 4100]);
}

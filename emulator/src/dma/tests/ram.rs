// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest RAM: which addresses are RAM, copies within and across regions.

use std::fs::File;
use std::os::unix::fs::FileExt;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use crate::dma::{GuestRam, OutOfRange};

const MIB: usize = 1 << 20;

/// One region at 1 MiB, two that touch at 16 MiB, the larger last.
fn three_regions() -> GuestRam {
    let base = 16 * MIB as u64;
    GuestRam::anonymous(&[(MIB as u64, 8192), (base, 4096), (base + 4096, MIB)]).unwrap()
}

#[test]
fn contains_edges_of_region_exact() {
    let ram = three_regions();
    let start = MIB as u64;
    assert!(ram.contains(start, 8192));
    assert!(ram.contains(start + 8191, 1));
    assert!(!ram.contains(start - 1, 2));
    assert!(!ram.contains(start, 8193));
    assert!(!ram.contains(start + 8192, 1));
    assert!(!ram.contains(0, 1));
}

#[test]
fn contains_adjacent_regions_count_as_one() {
    let ram = three_regions();
    assert!(ram.contains(16 * MIB as u64, 4096 + MIB as u64));
    assert!(!ram.contains(16 * MIB as u64, 4097 + MIB as u64));
}

#[test]
fn contains_wrapping_range_false() {
    let ram = three_regions();
    assert!(!ram.contains(u64::MAX, 2));
    assert!(!ram.contains(MIB as u64, u64::MAX));
}

#[test]
fn contains_empty_range_true() {
    assert!(three_regions().contains(u64::MAX, 0));
}

#[test]
fn slice_across_adjacent_regions_refused() {
    let ram = three_regions();
    let address = 16 * MIB as u64 + 4000;
    assert_eq!(ram.slice(address, 96).unwrap().len(), 96);
    assert_eq!(
        ram.slice(address, 97).unwrap_err(),
        OutOfRange {
            address,
            length: 97
        }
    );
}

#[test]
fn write_and_read_across_adjacent_regions_round_trips() {
    let ram = three_regions();
    let data: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let address = 16 * MIB as u64 + 3000;
    ram.write(address, &data).unwrap();
    let mut back = vec![0; data.len()];
    ram.read(address, &mut back).unwrap();
    assert_eq!(back, data);
}

#[test]
fn write_past_end_of_ram_writes_nothing() {
    let ram = three_regions();
    let end = MIB as u64 + 8192;
    assert!(ram.write(end - 8, &[0xFF; 16]).is_err());
    let mut tail = [0; 8];
    ram.read(end - 8, &mut tail).unwrap();
    assert_eq!(tail, [0; 8]);
}

#[test]
fn read_past_end_of_ram_refused() {
    let ram = three_regions();
    let mut into = [0; 16];
    assert!(ram.read(MIB as u64 + 8184, &mut into).is_err());
    assert!(ram.read(u64::MAX - 3, &mut into).is_err());
}

#[test]
fn no_regions_contains_nothing() {
    let ram = GuestRam::new(GuestMemoryMmap::new());
    assert!(!ram.contains(0, 1));
    assert!(ram.slice(0, 1).is_err());
}

/// UML's guests: one shared file, the guest address is the offset in it and does not begin at 0.
#[test]
fn file_backed_region_at_odd_start_shares_with_file() {
    let start = 0x198_4000_u64;
    let file: File = tempfile::tempfile().unwrap();
    file.set_len(start + 8192).unwrap();
    let range = (
        GuestAddress(start),
        8192,
        Some(FileOffset::new(file.try_clone().unwrap(), start)),
    );
    let ram = GuestRam::new(GuestMemoryMmap::from_ranges_with_files([range]).unwrap());

    ram.write(start + 4096, b"device").unwrap();
    file.write_all_at(b"guest", start).unwrap();

    let mut seen = [0; 6];
    file.read_exact_at(&mut seen, start + 4096).unwrap();
    assert_eq!(&seen, b"device");
    let mut seen = [0; 5];
    ram.read(start, &mut seen).unwrap();
    assert_eq!(&seen, b"guest");
    assert!(!ram.contains(start - 1, 1));
    assert!(!ram.contains(0, 1));
}

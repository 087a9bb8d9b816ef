// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's page tables: everything that it may touch, identity-mapped for user mode.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::layout::{
    BAR0, ECAM, EXIT, NOBODY, PAGE_TABLES, PAGE_TABLES_END, PARAMETERS, RAM_LIMIT,
};

/// What a table holds.
const ENTRIES: u64 = 512;
const TABLE: u64 = 4096;
/// Bytes of a page that the second level maps.
const LARGE: u64 = 2 << 20;
/// Bytes that one table of the second level maps.
const GIB: u64 = 1 << 30;

// Present, writable, user, accessed and dirty, so that nobody has to write to the tables.
const TABLE_FLAGS: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 5;
const PAGE_FLAGS: u64 = TABLE_FLAGS | 1 << 6;
const LARGE_FLAG: u64 = 1 << 7;

// The tables, in order: two of the upper levels, one for the first 2 MiB, four of the second level.
const LEVEL4: u64 = PAGE_TABLES;
const LEVEL3: u64 = PAGE_TABLES + TABLE;
const LEVEL1: u64 = PAGE_TABLES + 2 * TABLE;
const LEVEL2: u64 = PAGE_TABLES + 3 * TABLE;
const _: () = assert!(LEVEL2 + 4 * TABLE <= PAGE_TABLES_END);

/// Where CR3 points.
pub const ROOT: u64 = LEVEL4;

/// Writes tables for `ram` bytes of RAM, a multiple of 2 MiB.
///
/// Page 0 is not there, so that a null pointer ends the guest, and neither are the tables
/// themselves. Device memory is mapped as RAM is: what it is, KVM knows.
///
/// # Errors
/// When the RAM does not even hold the tables.
pub fn write(memory: &GuestMemoryMmap, ram: u64) -> Result<(), vm_memory::GuestMemoryError> {
    let put = |table: u64, index: u64, entry: u64| {
        memory.write_obj(entry.to_le(), GuestAddress(table + 8 * index))
    };
    put(LEVEL4, 0, LEVEL3 | TABLE_FLAGS)?;
    for gib in 0..4 {
        put(LEVEL3, gib, (LEVEL2 + gib * TABLE) | TABLE_FLAGS)?;
    }
    put(LEVEL2, 0, LEVEL1 | TABLE_FLAGS)?;
    for page in PARAMETERS / TABLE..ENTRIES {
        put(LEVEL1, page, (page * TABLE) | PAGE_FLAGS)?;
    }
    let devices = [NOBODY, ECAM, BAR0, EXIT].map(|address| address / LARGE * LARGE);
    let pages = (1..ram.min(RAM_LIMIT) / LARGE).map(|page| page * LARGE);
    for page in pages.chain(devices) {
        let table = LEVEL2 + page / GIB * TABLE;
        put(table, page % GIB / LARGE, page | PAGE_FLAGS | LARGE_FLAG)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: u64 = 64 << 20;

    /// What the tables make of an address, as a processor walks them.
    fn walk(memory: &GuestMemoryMmap, address: u64) -> Option<u64> {
        let entry = |table: u64, shift: u32| -> Option<u64> {
            let index = address >> shift & (ENTRIES - 1);
            let entry: u64 = memory.read_obj(GuestAddress(table + 8 * index)).unwrap();
            let needed = 0b111;
            (entry & needed == needed).then_some(entry)
        };
        let mask = 0x000F_FFFF_FFFF_F000;
        let level3 = entry(ROOT, 39)? & mask;
        let level2 = entry(level3, 30)? & mask;
        let large = entry(level2, 21)?;
        if large & LARGE_FLAG != 0 {
            return Some((large & mask & !(LARGE - 1)) | address & (LARGE - 1));
        }
        Some(entry(large & mask, 12)? & mask | address & (TABLE - 1))
    }

    #[test]
    fn write_maps_ram_and_devices_onto_themselves() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
        write(&memory, RAM).unwrap();
        for address in [
            PARAMETERS,
            LARGE - 1,
            LARGE,
            RAM - 1,
            NOBODY,
            ECAM + 0x8000,
            BAR0 + 0x3FFF,
            EXIT,
        ] {
            assert_eq!(walk(&memory, address), Some(address), "{address:#x}");
        }
    }

    #[test]
    fn write_leaves_out_null_tables_and_what_is_not_there() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
        write(&memory, RAM).unwrap();
        for address in [0, 8, PAGE_TABLES, PAGE_TABLES_END - 1, RAM, RAM_LIMIT] {
            assert_eq!(walk(&memory, address), None, "{address:#x}");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory, and nothing.

use super::{flush, get, put};
use crate::media::{Backing, FlushStart, Media, MediaConfig, MediaError, open};

const MIB: u64 = 1 << 20;

fn ram(size: u64) -> Box<dyn Media> {
    open(&MediaConfig::new(Backing::Ram, size)).unwrap()
}

#[test]
fn ram_unwritten_reads_zeros() {
    let mut media = ram(8 * MIB);
    assert_eq!(media.size(), 8 * MIB);
    assert_eq!(get(&mut *media, 5 * MIB, 4096), [0; 4096]);
}

#[test]
fn ram_last_bytes_round_trip() {
    let mut media = ram(8 * MIB);
    put(&mut *media, 8 * MIB - 512, &[9; 512]).unwrap();
    assert_eq!(get(&mut *media, 8 * MIB - 512, 512), [9; 512]);
}

#[test]
fn ram_beyond_end_error_not_panic() {
    let mut media = ram(MIB);
    assert!(matches!(
        put(&mut *media, MIB - 1, &[1, 2]),
        Err(MediaError::Write(_))
    ));
    assert!(media.write_zeroes(MIB - 1, 2, true).is_err());
    assert!(media.write_zeroes(u64::MAX, 1, false).is_err());
}

#[test]
fn ram_is_sparse() {
    // More than the host has; nothing is touched but two pages.
    let mut media = ram(1 << 40);
    put(&mut *media, (1 << 40) - 4096, &[1; 4096]).unwrap();
    assert_eq!(get(&mut *media, (1 << 40) - 4096, 4096), [1; 4096]);
}

#[test]
fn ram_write_zeroes_every_alignment_zeroes_only_the_range() {
    for deallocate in [false, true] {
        for (offset, length) in [
            (0, 512),
            (512, 4096),
            (4096, 8192),
            (100, 9000),
            (4096, 3 * MIB),
            (5000, 2 * MIB + 1),
            (4 * MIB - 512, 512),
        ] {
            let mut media = ram(4 * MIB);
            put(&mut *media, 0, &vec![0xAB; 4 << 20]).unwrap();

            media.write_zeroes(offset, length, deallocate).unwrap();

            let all = get(&mut *media, 0, 4 << 20);
            let end = offset + length;
            for (at, byte) in (0..).zip(all) {
                let expected = if (offset..end).contains(&at) { 0 } else { 0xAB };
                assert_eq!(byte, expected, "byte {at} of {offset}+{length}");
            }
        }
    }
}

#[test]
fn ram_write_zeroes_of_nothing_changes_nothing() {
    let mut media = ram(MIB);
    put(&mut *media, 0, &[1; 8192]).unwrap();
    media.write_zeroes(4096, 0, true).unwrap();
    media.write_zeroes(100, 0, true).unwrap();
    assert_eq!(get(&mut *media, 0, 8192), [1; 8192]);
}

#[test]
fn ram_flush_done_at_once() {
    let mut media = ram(MIB);
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Done);
    flush(&mut *media);
}

#[test]
fn null_reads_zeros_whatever_was_written() {
    let mut media = open(&MediaConfig::new(
        Backing::Null { zero_fill: true },
        1 << 50,
    ))
    .unwrap();
    put(&mut *media, 0, &[7; 4096]).unwrap();
    media.write_zeroes(0, 1 << 50, true).unwrap();
    assert_eq!(get(&mut *media, 0, 4096), [0; 4096]);
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Done);
}

#[test]
fn null_without_zero_fill_leaves_buffer() {
    let mut media = open(&MediaConfig::new(Backing::Null { zero_fill: false }, 4096)).unwrap();
    assert_eq!(get(&mut *media, 0, 16), [0xEE; 16]);
}

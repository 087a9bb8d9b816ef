// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Acts on a command's data.

use crate::host::{FLUSH, READ, SUCCESS, WRITE, transfer};
use crate::rig::Rig;

/// Bytes of the transfers below: 5 pages, by a PRP list.
const LENGTH: usize = 5 * 4096;

/// A transfer of [`LENGTH`] bytes to or from five pages of their own, which hold `fill`.
fn long(rig: &mut Rig, opcode: u8, fill: u8) -> (crate::host::Command, u64) {
    let data = rig.host.pages(5);
    let list = rig.host.page();
    rig.host.put(data, &[fill; LENGTH]);
    let pages: Vec<u64> = (1..5).map(|page| data + page * 4096).collect();
    rig.host.put_list(list, &pages);
    let blocks = u32::try_from(LENGTH / 512).unwrap();
    (transfer(opcode, 1, 64, blocks).prp(data, list), data)
}

/// Writes and reads back; gives what was read.
fn written_and_read(rig: &mut Rig, fill: u8) -> Vec<u8> {
    let (write, _) = long(rig, WRITE, fill);
    assert_eq!(rig.run(write).status(), SUCCESS);
    read_back(rig)
}

fn read_back(rig: &mut Rig) -> Vec<u8> {
    let (read, data) = long(rig, READ, 0xEE);
    assert_eq!(rig.run(read).status(), SUCCESS);
    rig.host.get(data, LENGTH)
}

#[test]
fn corrupt_changes_so_many_bytes_of_one_read_and_not_the_medium() {
    let mut rig = Rig::new("[[rule]]\nskip = 1\nact = \"corrupt\"\nbytes = 10");
    let good = written_and_read(&mut rig, 7);
    assert_eq!(good, [7; LENGTH]);

    let bad = read_back(&mut rig);

    let changed = bad.iter().filter(|&&byte| byte != 7).count();
    assert_eq!(changed, 10);
    assert_eq!(read_back(&mut rig), [7; LENGTH]);
}

#[test]
fn corrupt_is_the_same_with_the_same_seed_and_another_with_another() {
    let read = |seed: u32| {
        let rules = format!("seed = {seed}\n[[rule]]\nact = \"corrupt\"");
        let mut rig = Rig::new(&rules);
        written_and_read(&mut rig, 7)
    };
    assert_eq!(read(1), read(1));
    assert_ne!(read(1), read(2));
}

#[test]
fn corrupt_of_more_bytes_than_there_are_changes_all() {
    let mut rig = Rig::new("[[rule]]\nact = \"corrupt\"\nbytes = 100_000");
    let all = written_and_read(&mut rig, 7);
    assert!(all.iter().all(|&byte| byte != 7));
}

#[test]
fn corrupt_of_a_read_that_is_refused_touches_nothing() {
    let mut rig = Rig::new("[[rule]]\nact = \"corrupt\"");
    rig.host.put(rig.page, &[3; 512]);
    let read = transfer(READ, 1, u64::MAX - 3, 8).prp(rig.page, 0);
    assert_eq!(rig.run(read).status(), (0, 0x80));
    assert_eq!(rig.host.get(rig.page, 512), [3; 512]);
}

#[test]
fn torn_write_succeeds_with_its_first_blocks_only() {
    let mut rig = Rig::new("[[rule]]\nact = \"torn-write\"\nblocks = 9");

    let read = written_and_read(&mut rig, 7);

    let (kept, lost) = read.split_at(9 * 512);
    assert!(kept.iter().all(|&byte| byte == 7));
    assert!(lost.iter().all(|&byte| byte == 0));
    assert_eq!(written_and_read(&mut rig, 7), [7; LENGTH], "once only");
}

#[test]
fn torn_write_without_a_number_loses_at_least_a_block_by_the_seed() {
    let blocks = |seed: u32| {
        let rules = format!("seed = {seed}\n[[rule]]\nact = \"torn-write\"");
        let mut rig = Rig::new(&rules);
        let read = written_and_read(&mut rig, 7);
        let kept = read.iter().take_while(|&&byte| byte == 7).count();
        assert!(read[kept..].iter().all(|&byte| byte == 0));
        assert!(kept < LENGTH && kept.is_multiple_of(512), "{kept}");
        kept / 512
    };
    assert_eq!(blocks(5), blocks(5));
    let several: std::collections::HashSet<_> = (0..8).map(blocks).collect();
    assert!(several.len() > 3, "{several:?}");
}

#[test]
fn torn_write_of_no_block_is_a_lost_write() {
    let mut rig = Rig::new("[[rule]]\nact = \"torn-write\"\nblocks = 0");
    assert_eq!(written_and_read(&mut rig, 7), [0; LENGTH]);
}

#[test]
fn power_cut_loses_only_what_no_flush_made_stable() {
    let rules = "[[rule]]\nopcode = \"compare\"\nact = \"power-cut\"";
    let lost = (0..20).filter(|seed| {
        let mut rig = Rig::new(&format!("{rules}\nseed = {seed}"));
        rig.host.put(rig.page, &[7; 512]);
        rig.run(rig.write_of(3, 1));
        rig.run(transfer(FLUSH, 1, 0, 1));
        rig.run(rig.write_of(9, 1));

        rig.send(transfer(0x05, 1, 3, 1).prp(rig.page, 0));
        rig.reset();

        rig.run(rig.read_of(3));
        assert_eq!(rig.host.get(rig.page, 512), [7; 512], "flushed");
        rig.run(rig.read_of(9));
        rig.host.get(rig.page, 512) == [0; 512]
    });
    let lost = lost.count();
    assert!(
        (3..=17).contains(&lost),
        "{lost} of 20 seeds lose the write"
    );
}

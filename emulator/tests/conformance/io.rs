// SPDX-License-Identifier: Apache-2.0 OR MIT
//! I/O commands of the NVM command set (NVM Command Set 1.0c, 3).

use crate::host::*;

/// A ready controller, an I/O queue and a page.
fn ready() -> (Host, Queue, u64) {
    let mut host = Host::new();
    let queue = host.create_queue(1, QUEUE_DEPTH, None);
    let page = host.page();
    (host, queue, page)
}

/// Writes `value` to the `blocks` blocks (at most 8) from `slba` of namespace 1.
fn fill(host: &mut Host, queue: &mut Queue, page: u64, slba: u64, blocks: u32, value: u8) {
    host.put(page, &[value; 4096]);
    let write = transfer(WRITE, 1, slba, blocks).prp(page, 0);
    assert_eq!(host.run(queue, write).status(), SUCCESS);
}

/// Reads `blocks` blocks (at most 8) from `slba` of namespace 1.
fn read(host: &mut Host, queue: &mut Queue, page: u64, slba: u64, blocks: u32) -> Vec<u8> {
    host.put(page, &[0xEE; 4096]);
    let read = transfer(READ, 1, slba, blocks).prp(page, 0);
    assert_eq!(host.run(queue, read).status(), SUCCESS);
    let bytes = blocks as usize * 512;
    let data = host.get(page, 4096);
    assert!(
        data[bytes..].iter().all(|&byte| byte == 0xEE),
        "no byte more"
    );
    data[..bytes].to_vec()
}

#[test]
fn written_data_is_read_back_and_neighbours_stay() {
    let (mut host, mut queue, page) = ready();
    fill(&mut host, &mut queue, page, 10, 3, 0xAB);
    let data = read(&mut host, &mut queue, page, 8, 8);
    for (block, bytes) in (8..).zip(data.chunks(512)) {
        let expected = if (10..13).contains(&block) { 0xAB } else { 0 };
        assert!(bytes.iter().all(|&b| b == expected), "block {block}");
    }
}

#[test]
fn last_block_readable_and_next_out_of_range() {
    let (mut host, mut queue, page) = ready();
    fill(&mut host, &mut queue, page, NS1_BLOCKS - 1, 1, 5);
    assert_eq!(
        read(&mut host, &mut queue, page, NS1_BLOCKS - 1, 1),
        [5; 512]
    );
    for opcode in [READ, WRITE, COMPARE, WRITE_ZEROES, VERIFY] {
        for (slba, blocks) in [
            (NS1_BLOCKS, 1),
            (NS1_BLOCKS - 1, 2),
            (u64::MAX, 1),
            (u64::MAX, 2),
            (0xFFFF_FFFF_0000_0000, 8),
        ] {
            let command = transfer(opcode, 1, slba, blocks).prp(page, 0);
            let status = host.run(&mut queue, command).status();
            assert_eq!(status, LBA_OUT_OF_RANGE, "{opcode:#x} {slba:#x}+{blocks}");
        }
    }
}

#[test]
fn failed_read_leaves_the_buffer() {
    let (mut host, mut queue, page) = ready();
    host.put(page, &[0xEE; 4096]);
    let command = transfer(READ, 1, NS1_BLOCKS - 1, 8).prp(page, 0);
    assert_eq!(host.run(&mut queue, command).status(), LBA_OUT_OF_RANGE);
    assert_eq!(host.get(page, 4096), [0xEE; 4096]);
}

#[test]
fn namespaces_are_apart() {
    let (mut host, mut queue, page) = ready();
    fill(&mut host, &mut queue, page, 0, 8, 1);
    host.put(page, &[2; 4096]);
    let write = transfer(WRITE, 2, 0, 1).prp(page, 0);
    assert_eq!(host.run(&mut queue, write).status(), SUCCESS);
    assert_eq!(read(&mut host, &mut queue, page, 0, 8), [1; 4096]);
}

#[test]
fn namespace_that_is_none_refused() {
    let (mut host, mut queue, page) = ready();
    for opcode in [
        READ,
        WRITE,
        COMPARE,
        WRITE_ZEROES,
        VERIFY,
        DATASET_MANAGEMENT,
    ] {
        for nsid in [0, 3, 0xFFFF_FFFE, 0xFFFF_FFFF] {
            let command = transfer(opcode, nsid, 0, 1).prp(page, 0);
            let status = host.run(&mut queue, command).status();
            assert_eq!(status, INVALID_NAMESPACE, "{opcode:#x} on {nsid:#x}");
        }
    }
}

#[test]
fn largest_transfer_works_and_one_block_more_does_not() {
    let (mut host, mut queue, page) = ready();
    let blocks = u32::try_from(MAX_TRANSFER / 512).unwrap();
    let buffer = host.pages(u64::from(blocks) / 8 + 1);
    let entries: Vec<u64> = (1..=u64::from(blocks) / 8)
        .map(|n| buffer + n * PAGE)
        .collect();
    host.put_list(page, &entries);
    let pattern: Vec<u8> = (0..=250).cycle().take(MAX_TRANSFER).collect();
    host.put(buffer, &pattern);
    let write = transfer(WRITE, 1, 3, blocks).prp(buffer, page);
    assert_eq!(host.run(&mut queue, write).status(), SUCCESS);
    host.put(buffer, &vec![0; MAX_TRANSFER]);
    let read = transfer(READ, 1, 3, blocks).prp(buffer, page);
    assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
    assert!(host.get(buffer, MAX_TRANSFER) == pattern, "data differs");
    for opcode in [READ, WRITE, COMPARE] {
        for blocks in [blocks + 1, 0x1_0000] {
            let command = transfer(opcode, 1, 0, blocks).prp(buffer, page);
            let status = host.run(&mut queue, command).status();
            let allowed = [INVALID_FIELD, LBA_OUT_OF_RANGE];
            assert!(
                allowed.contains(&status),
                "{opcode:#x} {blocks}: {status:x?}"
            );
        }
    }
}

#[test]
fn write_zeroes_may_be_larger_than_the_largest_transfer() {
    let (mut host, mut queue, page) = ready();
    fill(&mut host, &mut queue, page, 5000, 8, 9);
    let zero = transfer(WRITE_ZEROES, 1, 0, 8000);
    assert_eq!(host.run(&mut queue, zero).status(), SUCCESS);
    assert_eq!(read(&mut host, &mut queue, page, 5000, 8), [0; 4096]);
}

#[test]
fn write_zeroes_zeroes_only_its_range() {
    let (mut host, mut queue, page) = ready();
    for deallocate in [0, 1 << 25] {
        fill(&mut host, &mut queue, page, 0, 8, 9);
        let zero = transfer(WRITE_ZEROES, 1, 2, 3);
        let zero = zero.cdw(12, zero.0[12] | deallocate);
        assert_eq!(host.run(&mut queue, zero).status(), SUCCESS);
        let data = read(&mut host, &mut queue, page, 0, 8);
        for (block, bytes) in data.chunks(512).enumerate() {
            let expected = if (2..5).contains(&block) { 0 } else { 9 };
            assert!(bytes.iter().all(|&b| b == expected), "block {block}");
        }
    }
}

#[test]
fn compare_tells_same_from_different() {
    let (mut host, mut queue, page) = ready();
    fill(&mut host, &mut queue, page, 0, 8, 9);
    let compare = transfer(COMPARE, 1, 0, 8).prp(page, 0);
    assert_eq!(host.run(&mut queue, compare).status(), SUCCESS);
    host.put(page + 4095, &[8]);
    assert_eq!(host.run(&mut queue, compare).status(), COMPARE_FAILURE);
}

#[test]
fn verify_transfers_nothing() {
    let (mut host, mut queue, _) = ready();
    let verify = transfer(VERIFY, 1, 0, 100);
    assert_eq!(host.run(&mut queue, verify).status(), SUCCESS);
}

#[test]
fn flush_of_one_and_of_all_namespaces() {
    let (mut host, mut queue, _) = ready();
    for nsid in [1, 2, 0xFFFF_FFFF] {
        let flush = Command::new(FLUSH).nsid(nsid);
        assert_eq!(host.run(&mut queue, flush).status(), SUCCESS, "{nsid:#x}");
    }
    for nsid in [0, 3] {
        let flush = Command::new(FLUSH).nsid(nsid);
        assert_eq!(host.run(&mut queue, flush).status(), INVALID_NAMESPACE);
    }
}

#[test]
fn forced_unit_access_write_completes() {
    let (mut host, mut queue, page) = ready();
    let write = transfer(WRITE, 1, 0, 8).prp(page, 0);
    let write = write.cdw(12, write.0[12] | 1 << 30);
    assert_eq!(host.run(&mut queue, write).status(), SUCCESS);
}

fn dataset(ranges: u32, page: u64) -> Command {
    Command::new(DATASET_MANAGEMENT)
        .nsid(1)
        .prp(page, 0)
        .cdw(10, ranges - 1)
        .cdw(11, 4)
}

fn put_range(host: &Host, page: u64, index: u64, slba: u64, blocks: u32) {
    let at = page + index * 16;
    host.put32(at, 0);
    host.put32(at + 4, blocks);
    host.put(at + 8, &slba.to_le_bytes());
}

#[test]
fn deallocate_ranges_read_zero() {
    let (mut host, mut queue, page) = ready();
    fill(&mut host, &mut queue, page, 0, 8, 9);
    let ranges = host.page();
    put_range(&host, ranges, 0, 1, 2);
    put_range(&host, ranges, 1, 5, 1);
    put_range(&host, ranges, 2, 7, 0);
    assert_eq!(host.run(&mut queue, dataset(3, ranges)).status(), SUCCESS);
    let data = read(&mut host, &mut queue, page, 0, 8);
    for (block, bytes) in data.chunks(512).enumerate() {
        let expected = if [1, 2, 5].contains(&block) { 0 } else { 9 };
        assert!(bytes.iter().all(|&b| b == expected), "block {block}");
    }
}

#[test]
fn deallocate_256_ranges_and_one_beyond_the_end() {
    let (mut host, mut queue, page) = ready();
    for index in 0..256 {
        put_range(&host, page, index, index * 10, 10);
    }
    assert_eq!(host.run(&mut queue, dataset(256, page)).status(), SUCCESS);
    put_range(&host, page, 255, NS1_BLOCKS - 1, 2);
    assert_eq!(
        host.run(&mut queue, dataset(256, page)).status(),
        LBA_OUT_OF_RANGE
    );
    put_range(&host, page, 255, u64::MAX, u32::MAX);
    assert_eq!(
        host.run(&mut queue, dataset(256, page)).status(),
        LBA_OUT_OF_RANGE
    );
}

#[test]
fn deallocate_of_more_blocks_than_there_are_refused() {
    let (mut host, mut queue, page) = ready();
    let blocks = u32::try_from(NS1_BLOCKS).unwrap();
    put_range(&host, page, 0, 0, blocks);
    put_range(&host, page, 1, 0, 0);
    assert_eq!(host.run(&mut queue, dataset(2, page)).status(), SUCCESS);
    put_range(&host, page, 1, 7, 1);
    assert_eq!(
        host.run(&mut queue, dataset(2, page)).status(),
        INVALID_FIELD
    );
}

#[test]
fn dataset_hints_without_deallocate_change_nothing() {
    let (mut host, mut queue, page) = ready();
    fill(&mut host, &mut queue, page, 0, 8, 9);
    let ranges = host.page();
    put_range(&host, ranges, 0, 0, 8);
    let hint = dataset(1, ranges).cdw(11, 0);
    assert_eq!(host.run(&mut queue, hint).status(), SUCCESS);
    assert_eq!(read(&mut host, &mut queue, page, 0, 8), [9; 4096]);
}

#[test]
fn scatter_gather_and_fused_refused() {
    let (mut host, mut queue, page) = ready();
    // PSDT 01b, 10b, 11b.
    for psdt in 1..4 {
        let command = transfer(READ, 1, 0, 1).prp(page, 0).flags(psdt << 6);
        assert_eq!(host.run(&mut queue, command).status(), INVALID_FIELD);
    }
    for fuse in 1..4 {
        let command = transfer(READ, 1, 0, 1).prp(page, 0).flags(fuse);
        let status = host.run(&mut queue, command).status();
        assert_ne!(status, SUCCESS, "FUSE {fuse}");
    }
    let command = identify(0x01, 0, page).flags(1 << 6);
    assert_eq!(host.admin(command).status(), INVALID_FIELD, "admin PSDT");
}

#[test]
fn many_commands_at_once_all_complete_with_their_own_data() {
    let (mut host, mut queue, _) = ready();
    let buffers = host.pages(63);
    for index in 0..63_u8 {
        host.put(buffers + u64::from(index) * PAGE, &[index + 1; 512]);
        let page = buffers + u64::from(index) * PAGE;
        host.stage(
            &mut queue,
            transfer(WRITE, 1, u64::from(index), 1).prp(page, 0),
        );
    }
    host.ring(&queue);
    host.settle();
    for _ in 0..63 {
        assert_eq!(host.reap(&mut queue).expect("all").status(), SUCCESS);
    }
    let page = host.page();
    for index in 0..63_u8 {
        let data = read(&mut host, &mut queue, page, u64::from(index), 1);
        assert_eq!(data, [index + 1; 512]);
    }
}

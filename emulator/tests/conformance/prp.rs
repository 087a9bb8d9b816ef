// SPDX-License-Identifier: Apache-2.0 OR MIT
//! PRPs as commands carry them (4.1.1): the walker has its own tests, here is what a guest sees.

use crate::host::*;

struct Bench {
    host: Host,
    queue: Queue,
    buffer: u64,
    list: u64,
}

/// Namespace 1's first 24 KiB hold their own block numbers; the buffer holds EEh.
fn bench() -> Bench {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, QUEUE_DEPTH, None);
    let buffer = host.pages(8);
    let list = host.pages(2);
    for block in 0..48_u8 {
        host.put(buffer, &[block; 512]);
        let write = transfer(WRITE, 1, u64::from(block), 1).prp(buffer, 0);
        assert_eq!(host.run(&mut queue, write).status(), SUCCESS);
    }
    host.put(buffer, &[0xEE; 8 * 4096]);
    Bench {
        host,
        queue,
        buffer,
        list,
    }
}

impl Bench {
    fn read(&mut self, prp1: u64, prp2: u64, blocks: u32) -> Status {
        let command = transfer(READ, 1, 0, blocks).prp(prp1, prp2);
        self.host.run(&mut self.queue, command).status()
    }

    /// Address of page `n` of the buffer.
    fn page(&self, n: u64) -> u64 {
        self.buffer + n * PAGE
    }

    fn untouched(&self) -> bool {
        let data = self.host.get(self.buffer, 8 * 4096);
        data.iter().all(|&byte| byte == 0xEE)
    }

    /// That `length` bytes at `address` are the namespace's from `from` on.
    fn assert_data(&self, address: u64, length: usize, from: usize) {
        let expected: Vec<u8> = (from..from + length)
            .map(|at| u8::try_from(at / 512).unwrap())
            .collect();
        assert_eq!(self.host.get(address, length), expected);
    }
}

#[test]
fn one_page_with_offset() {
    let mut bench = bench();
    let address = bench.page(1) + 0xE04;
    assert_eq!(bench.read(address, 1, 1), PRP_OFFSET_INVALID, "spans two");
    let address = bench.page(1) + 0xE00;
    assert_eq!(bench.read(address, 1, 1), SUCCESS, "PRP2 is not looked at");
    bench.assert_data(address, 512, 0);
}

#[test]
fn two_pages_in_any_order() {
    let mut bench = bench();
    let (first, second) = (bench.page(5) + 0x804, bench.page(2));
    assert_eq!(bench.read(first, second, 8), SUCCESS);
    bench.assert_data(first, 0x7FC, 0);
    bench.assert_data(second, 4096 - 0x7FC, 0x7FC);
}

#[test]
fn list_with_chain() {
    let mut bench = bench();
    let end_of_list = bench.list + PAGE - 16;
    let (a, b, c) = (bench.page(6), bench.page(3), bench.page(1));
    bench.host.put_list(end_of_list, &[a, bench.list + PAGE]);
    bench.host.put_list(bench.list + PAGE, &[b, c]);
    assert_eq!(bench.read(bench.page(4), end_of_list, 32), SUCCESS);
    bench.assert_data(bench.page(4), 4096, 0);
    bench.assert_data(a, 4096, 4096);
    bench.assert_data(b, 4096, 8192);
    bench.assert_data(c, 4096, 12288);
}

#[test]
fn refused_prps_get_their_status_and_touch_nothing() {
    let mut bench = bench();
    let beyond = RAM + RAM_BYTES as u64;
    let (p0, p1, list) = (bench.page(0), bench.page(1), bench.list);
    let cases = [
        (p0 + 1, 0, 1, PRP_OFFSET_INVALID),
        (p0 + 2, 0, 1, PRP_OFFSET_INVALID),
        (p0, p1 + 4, 16, PRP_OFFSET_INVALID),
        (p0, list + 4, 24, PRP_OFFSET_INVALID),
        (0, 0, 1, DATA_TRANSFER_ERROR),
        (beyond, 0, 1, DATA_TRANSFER_ERROR),
        (RAM - PAGE, 0, 1, DATA_TRANSFER_ERROR),
        (p0, 0, 16, DATA_TRANSFER_ERROR),
        (p0, beyond, 16, DATA_TRANSFER_ERROR),
        (p0, beyond, 24, DATA_TRANSFER_ERROR),
        (p0, !7, 24, DATA_TRANSFER_ERROR),
        (!0xFFF, 0, 8, DATA_TRANSFER_ERROR),
    ];
    for (prp1, prp2, blocks, expected) in cases {
        let status = bench.read(prp1, prp2, blocks);
        assert_eq!(status, expected, "{prp1:#x} {prp2:#x} {blocks}");
        assert!(bench.untouched(), "{prp1:#x} {prp2:#x} {blocks}");
    }
    for (entry, expected) in [
        (p1 + 512, PRP_OFFSET_INVALID),
        (0, DATA_TRANSFER_ERROR),
        (beyond, DATA_TRANSFER_ERROR),
    ] {
        bench.host.put_list(list, &[p1, entry]);
        assert_eq!(bench.read(p0, list, 24), expected, "entry {entry:#x}");
        assert!(bench.untouched(), "entry {entry:#x}");
    }
}

#[test]
fn chain_to_itself_ends() {
    let mut bench = bench();
    let last = bench.list + PAGE - 8;
    let entries = vec![bench.page(1); 511];
    bench.host.put_list(bench.list, &entries);
    bench.host.put_list(last, &[bench.list]);
    let status = bench.read(bench.page(0), last, 256);
    assert_eq!(status, SUCCESS, "every page of it is the same page");
}

#[test]
fn write_with_bad_prp_writes_nothing() {
    let mut bench = bench();
    let beyond = RAM + RAM_BYTES as u64;
    let write = transfer(WRITE, 1, 0, 16).prp(bench.page(0), beyond);
    let status = bench.host.run(&mut bench.queue, write).status();
    assert_eq!(status, DATA_TRANSFER_ERROR);
    assert_eq!(bench.read(bench.page(0), 0, 8), SUCCESS);
    bench.assert_data(bench.page(0), 4096, 0);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Get Log Page (5.16): real entries, real counters, and the rules of LPO, NUMD and RAE.

use crate::host::*;

fn log(host: &mut Host, lid: u8, bytes: u32, offset: u64) -> Vec<u8> {
    let page = host.page();
    host.put(page, &[0xEE; 4096]);
    host.admin_ok(get_log(lid, bytes, offset, page));
    let data = host.get(page, 4096);
    assert!(
        data[bytes as usize..].iter().all(|&byte| byte == 0xEE),
        "no byte more"
    );
    data[..bytes as usize].to_vec()
}

fn refused(lid: u8, bytes: u32, offset: u64) -> Status {
    let mut host = Host::new();
    let page = host.page();
    host.admin(get_log(lid, bytes, offset, page)).status()
}

fn quad(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().unwrap())
}

fn word(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(data[at..at + 2].try_into().unwrap())
}

#[test]
fn supported_pages_are_those_that_work() {
    let mut host = Host::new();
    let supported = log(&mut host, 0x00, 1024, 0);
    for lid in 0..=255_u8 {
        let page = host.page();
        let status = host.admin(get_log(lid, 4, 0, page)).status();
        let expected = supported[usize::from(lid) * 4] & 1 == 1;
        assert_eq!(status == SUCCESS, expected, "LID {lid:#x}: {status:x?}");
        if !expected {
            assert_eq!(status, INVALID_LOG_PAGE, "LID {lid:#x}");
        }
    }
    for lid in [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0xC0] {
        assert_eq!(supported[lid * 4] & 1, 1, "LID {lid:#x}");
    }
}

#[test]
fn error_log_has_newest_first_with_what_failed() {
    let mut host = Host::new();
    let mut queue = host.create_queue(2, 16, None);
    let before = quad(&log(&mut host, 0x01, 64, 0), 0);
    let page = host.page();
    let beyond = transfer(READ, 1, NS1_BLOCKS, 1).prp(page, 0);
    let first = host.run(&mut queue, beyond);
    let second = host.admin(create_cq(1, 1, page, None));
    assert_eq!(second.status(), INVALID_QUEUE_SIZE);

    let data = log(&mut host, 0x01, 128, 0);
    let (newest, older) = (&data[..64], &data[64..]);
    assert_eq!(quad(newest, 0), before + 2, "error count");
    assert_eq!(word(newest, 8), 0, "SQID");
    assert_eq!(word(newest, 10), second.cid, "CID");
    assert_eq!(word(newest, 12) >> 1 & 0x7FF, 0x102, "Invalid Queue Size");
    assert_eq!(quad(older, 0), before + 1);
    assert_eq!(word(older, 8), 2, "SQID");
    assert_eq!(word(older, 10), first.cid, "CID");
    assert_eq!(
        word(older, 12) >> 1 & 0x7FF,
        0x080,
        "status: LBA Out of Range"
    );
    assert_eq!(quad(older, 16), NS1_BLOCKS, "LBA");
    assert_eq!(older[24], 1, "NSID");
}

#[test]
fn smart_counts_commands_and_data() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    let before = log(&mut host, 0x02, 512, 0);
    let page = host.page();
    for _ in 0..5 {
        let read = transfer(READ, 1, 0, 8).prp(page, 0);
        assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
    }
    let write = transfer(WRITE, 1, 0, 8).prp(page, 0);
    assert_eq!(host.run(&mut queue, write).status(), SUCCESS);
    let after = log(&mut host, 0x02, 512, 0);
    assert_eq!(quad(&after, 64), quad(&before, 64) + 5, "host reads");
    assert_eq!(quad(&after, 80), quad(&before, 80) + 1, "host writes");
    let kelvin = word(&after, 1);
    assert!((273..373).contains(&kelvin), "temperature {kelvin} K");
    assert_eq!(after[0], 0, "no critical warning");
    assert_eq!(after[3], 100, "available spare");
}

#[test]
fn smart_data_units_are_thousands_of_512_bytes() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    let buffer = host.pages(32);
    let list = host.page();
    let entries: Vec<u64> = (1..32).map(|n| buffer + n * PAGE).collect();
    host.put_list(list, &entries);
    let before = quad(&log(&mut host, 0x02, 512, 0), 32);
    // 40 reads of 256 blocks: 10240 blocks, 10.24 units.
    for _ in 0..40 {
        let read = transfer(READ, 1, 0, 256).prp(buffer, list);
        assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
    }
    let units = quad(&log(&mut host, 0x02, 512, 0), 32) - before;
    assert!((10..=11).contains(&units), "{units} units");
}

#[test]
fn firmware_slot_1_is_active() {
    let mut host = Host::new();
    let data = log(&mut host, 0x03, 512, 0);
    assert_eq!(data[0] & 7, 1, "AFI");
    let page = host.page();
    host.admin_ok(identify(0x01, 0, page));
    assert_eq!(data[8..16], host.get(page + 64, 8), "FRS1 is Identify's FR");
}

#[test]
fn effects_list_what_is_supported() {
    let mut host = Host::new();
    let data = log(&mut host, 0x05, 4096, 0);
    let supported = |at: usize| data[at * 4] & 1 == 1;
    for opcode in [
        0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0A, 0x0C, 0x80,
    ] {
        assert!(supported(opcode), "admin {opcode:#x}");
    }
    assert_eq!(supported(0x7C), DOORBELL_BUFFER_CONFIG);
    for opcode in [0x00, 0x01, 0x02, 0x05, 0x08, 0x09, 0x0C] {
        assert!(supported(256 + opcode), "I/O {opcode:#x}");
    }
    assert!(!supported(0xFF) && !supported(256 + 0xFF));
}

#[test]
fn changed_namespaces_empty_without_change() {
    let mut host = Host::new();
    assert_eq!(log(&mut host, 0x04, 4096, 0), [0; 4096]);
}

#[test]
fn offset_reads_the_rest() {
    let mut host = Host::new();
    let whole = log(&mut host, 0x03, 512, 0);
    assert_eq!(log(&mut host, 0x03, 508, 4), whole[4..]);
    assert_eq!(log(&mut host, 0x03, 4, 508), whole[508..]);
}

#[test]
fn offset_rules() {
    assert_eq!(refused(0x02, 4, 2), INVALID_FIELD, "not a dword");
    assert_eq!(refused(0x02, 4, 516), INVALID_FIELD, "beyond the page");
    assert_eq!(refused(0x02, 4, u64::MAX - 3), INVALID_FIELD);
}

#[test]
fn longer_than_the_largest_transfer_refused() {
    let mut host = Host::new();
    let page = host.page();
    let bytes = u32::try_from(MAX_TRANSFER).unwrap() + 4;
    let command = get_log(0x05, bytes, 0, page);
    assert_ne!(host.admin(command).status(), SUCCESS);
    let command = get_log(0x05, 4, 0, page)
        .cdw(10, 0xFFFF_0005)
        .cdw(11, 0xFFFF);
    assert_ne!(host.admin(command).status(), SUCCESS);
}

#[test]
fn questions_make_no_error_log_entries() {
    let mut host = Host::new();
    let before = log(&mut host, 0x01, 64, 0);
    let page = host.page();
    assert_eq!(host.admin(Command::new(0xFF)).status(), INVALID_OPCODE);
    assert_eq!(host.admin(get_feature(0xFF, 0)).status(), INVALID_FIELD);
    assert_ne!(host.admin(identify(0x00, 9, page)).status(), SUCCESS);
    assert_eq!(log(&mut host, 0x01, 64, 0), before);
}

#[test]
fn counters_page_has_header_and_a_record_for_each_queue() {
    let dword = |data: &[u8], at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    let mut host = Host::new();
    let header = log(&mut host, 0xC0, 64, 0);
    assert_eq!(header[..8], *b"HIPRI-C0");
    assert_eq!(dword(&header, 20), u32::from(QUEUE_PAIRS) + 1, "records");
    let (first, record) = (dword(&header, 12), dword(&header, 16));
    for qid in 0..=u32::from(QUEUE_PAIRS) {
        let offset = u64::from(first + qid * record);
        let data = log(&mut host, 0xC0, 4, offset);
        assert_eq!(u32::from(word(&data, 0)), qid);
    }
}

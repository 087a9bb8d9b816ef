// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Identify (5.17): every CNS that the device offers, by byte offset.

use crate::host::*;

/// Identify that must succeed; gives the 4096 bytes.
fn identified(host: &mut Host, cns: u8, nsid: u32) -> Vec<u8> {
    identified_for(host, cns, nsid, 0)
}

fn identified_for(host: &mut Host, cns: u8, nsid: u32, csi: u32) -> Vec<u8> {
    let page = host.page();
    host.put(page, &[0xEE; 4096]);
    host.admin_ok(identify(cns, nsid, page).cdw(11, csi << 24));
    host.get(page, 4096)
}

fn refused(cns: u8, nsid: u32) -> Status {
    let mut host = Host::new();
    let page = host.page();
    host.admin(identify(cns, nsid, page)).status()
}

fn word(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(data[at..at + 2].try_into().unwrap())
}

fn dword(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(data[at..at + 4].try_into().unwrap())
}

fn quad(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().unwrap())
}

#[test]
fn controller_fields_at_their_places() {
    let data = identified(&mut Host::new(), 0x01, 0);
    assert_eq!(1_usize << data[77] << 12, MAX_TRANSFER, "MDTS");
    assert_eq!(data[111], 1, "CNTRLTYPE: I/O controller");
    let doorbell_buffer = if DOORBELL_BUFFER_CONFIG { 0x100 } else { 0 };
    assert_eq!(
        word(&data, 256) & 0x102,
        0x002 | doorbell_buffer,
        "OACS: Format, Doorbell Buffer"
    );
    assert_eq!(data[262] & 1, 1, "FRMW: slot 1 is read only");
    assert_eq!(data[512], 0x66, "SQES");
    assert_eq!(data[513], 0x44, "CQES");
    assert_eq!(dword(&data, 516), 2, "NN");
    assert_eq!(
        word(&data, 520) & 0b1000_1101,
        0b1000_1101,
        "ONCS: Compare, DSM, Write Zeroes, Verify"
    );
    assert_eq!(data[525] & 1, 1, "VWC");
    assert!(data[768..].starts_with(b"nqn."), "SUBNQN");
    let text = |range: std::ops::Range<usize>| data[range].iter().all(|b| (0x20..0x7F).contains(b));
    assert!(text(4..24) && text(24..64) && text(64..72), "SN, MN, FR");
}

#[test]
fn namespace_sizes_and_formats() {
    let mut host = Host::new();
    for (nsid, blocks, shift) in [(1, NS1_BLOCKS, 9), (2, NS2_BLOCKS, 12)] {
        let data = identified(&mut host, 0x00, nsid);
        assert_eq!(quad(&data, 0), blocks, "NSZE");
        assert_eq!(quad(&data, 8), blocks, "NCAP");
        let format = usize::from(data[26] & 0xF);
        assert!(format <= usize::from(data[25]), "FLBAS within NLBAF");
        assert_eq!(data[128 + format * 4 + 2], shift, "LBADS");
        assert_eq!(word(&data, 128 + format * 4), 0, "MS");
    }
}

#[test]
fn namespace_that_is_none_refused() {
    for nsid in [0, 3, 0xFFFF_FFFE] {
        assert_eq!(refused(0x00, nsid), INVALID_NAMESPACE, "NSID {nsid:#x}");
        assert_eq!(refused(0x03, nsid), INVALID_NAMESPACE, "NSID {nsid:#x}");
    }
}

#[test]
fn namespace_lists_are_ascending_after_nsid() {
    let mut host = Host::new();
    for cns in [0x02, 0x07, 0x10] {
        for (after, expected) in [(0, vec![1, 2]), (1, vec![2]), (2, vec![]), (1000, vec![])] {
            let data = identified(&mut host, cns, after);
            let found: Vec<u32> = data
                .chunks_exact(4)
                .map(|id| dword(id, 0))
                .take_while(|&id| id != 0)
                .collect();
            assert_eq!(found, expected, "CNS {cns:#x} after {after}");
            assert!(data[found.len() * 4..].iter().all(|&byte| byte == 0));
        }
    }
}

#[test]
fn namespace_list_after_broadcast_refused() {
    for nsid in [0xFFFF_FFFE, 0xFFFF_FFFF] {
        assert_eq!(refused(0x02, nsid), INVALID_NAMESPACE, "NSID {nsid:#x}");
    }
}

#[test]
fn namespace_descriptors_have_uuid_and_command_set() {
    let mut host = Host::new();
    let mut uuids = Vec::new();
    for nsid in [1, 2] {
        let data = identified(&mut host, 0x03, nsid);
        let (mut at, mut kinds) = (0, Vec::new());
        while data[at] != 0 {
            let (kind, length) = (data[at], usize::from(data[at + 1]));
            let expected = match kind {
                1 => 8,
                2 | 3 => 16,
                4 => 1,
                other => panic!("NIDT {other}"),
            };
            assert_eq!(length, expected, "NIDL of type {kind}");
            let value = &data[at + 4..at + 4 + length];
            match kind {
                3 => uuids.push(value.to_vec()),
                4 => assert_eq!(value, [0], "CSI: NVM"),
                _ => assert!(value.iter().any(|&byte| byte != 0)),
            }
            kinds.push(kind);
            at += 4 + length;
        }
        assert!(kinds.contains(&3) && kinds.contains(&4), "{kinds:?}");
    }
    assert_ne!(uuids[0], uuids[1]);
}

#[test]
fn command_set_structures() {
    let mut host = Host::new();
    identified(&mut host, 0x05, 1);
    identified(&mut host, 0x06, 0);
    let data = identified(&mut host, 0x1C, 0xFFFF);
    assert_eq!(quad(&data, 0) & 1, 1, "the NVM command set");
    let page = host.page();
    let other = identify(0x05, 1, page).cdw(11, 2 << 24);
    assert_ne!(host.admin(other).status(), SUCCESS, "zoned namespaces");
    let other = identify(0x06, 0, page).cdw(11, 2 << 24);
    assert_ne!(host.admin(other).status(), SUCCESS, "zoned namespaces");
}

#[test]
fn independent_structure_says_ready() {
    let mut host = Host::new();
    let data = identified(&mut host, 0x08, 1);
    assert_eq!(data[14] & 1, 1, "NSTAT.NRDY");
}

#[test]
fn allocated_namespace_same_as_active() {
    let mut host = Host::new();
    let active = identified(&mut host, 0x00, 2);
    assert_eq!(identified(&mut host, 0x11, 2), active);
}

#[test]
fn controller_lists_name_the_only_controller() {
    let mut host = Host::new();
    let page = host.page();
    for cns in [0x12, 0x13] {
        for (from, count) in [(0, 1), (1, 0), (0xFFFF, 0)] {
            host.put(page, &[0xEE; 4096]);
            let list = identify(cns, 1, page).cdw(10, from << 16 | u32::from(cns));
            host.admin_ok(list);
            let data = host.get(page, 4096);
            assert_eq!(word(&data, 0), count, "CNS {cns:#x} from {from:#x}");
            assert!(data[2..].iter().all(|&byte| byte == 0), "CNTID 0");
        }
    }
    assert_eq!(refused(0x12, 3), INVALID_NAMESPACE);
}

#[test]
fn reserved_cns_invalid_field() {
    for cns in [0x04, 0x0B, 0x1D, 0x7F, 0xC0, 0xFF] {
        assert_eq!(refused(cns, 1), INVALID_FIELD, "CNS {cns:#x}");
    }
}

#[test]
fn buffer_across_two_pages_gets_all_of_it() {
    let mut host = Host::new();
    let whole = identified(&mut host, 0x01, 0);
    let (first, second) = (host.page(), host.pages(2) + PAGE);
    host.admin_ok(identify(0x01, 0, first + 0x800).prp(first + 0x800, second));
    assert_eq!(host.get(first + 0x800, 0x800), whole[..0x800]);
    assert_eq!(host.get(second, 0x800), whole[0x800..]);
    assert_eq!(host.get(second + 0x800, 0x800), [0; 0x800], "no byte more");
}

#[test]
fn buffer_outside_ram_data_transfer_error() {
    let mut host = Host::new();
    for address in [0, RAM - PAGE, RAM + RAM_BYTES as u64, !0xFFF] {
        let status = host.admin(identify(0x01, 0, address)).status();
        assert_eq!(status, DATA_TRANSFER_ERROR, "{address:#x}");
    }
}

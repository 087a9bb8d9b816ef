// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Format NVM (5.14).

use crate::host::*;

fn format(nsid: u32, lbaf: u32) -> Command {
    Command::new(0x80).nsid(nsid).cdw(10, lbaf)
}

fn blocks(host: &mut Host, nsid: u32) -> (u64, u8) {
    let page = host.page();
    host.admin_ok(identify(0x00, nsid, page));
    let size = u64::from_le_bytes(host.get(page, 8).try_into().unwrap());
    (size, host.get(page + 26, 1)[0] & 0xF)
}

#[test]
fn other_block_size_changes_the_count_and_erases() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    let page = host.page();
    host.put(page, &[7; 4096]);
    let write = transfer(WRITE, 1, 0, 8).prp(page, 0);
    assert_eq!(host.run(&mut queue, write).status(), SUCCESS);

    host.admin_ok(format(1, 1));

    assert_eq!(blocks(&mut host, 1), (NS1_BLOCKS / 8, 1));
    let read = transfer(READ, 1, 0, 1).prp(page, 0);
    assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
    assert_eq!(
        host.get(page, 4096),
        [0; 4096],
        "erased, and a block is 4096"
    );
    let beyond = transfer(READ, 1, NS1_BLOCKS / 8, 1).prp(page, 0);
    assert_eq!(host.run(&mut queue, beyond).status(), LBA_OUT_OF_RANGE);
}

#[test]
fn broadcast_formats_every_namespace() {
    let mut host = Host::new();
    host.admin_ok(format(0xFFFF_FFFF, 1));
    assert_eq!(blocks(&mut host, 1).1, 1);
    assert_eq!(blocks(&mut host, 2).1, 1);
}

#[test]
fn one_namespace_leaves_the_other() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    let page = host.page();
    host.put(page, &[7; 4096]);
    let write = transfer(WRITE, 2, 0, 1).prp(page, 0);
    assert_eq!(host.run(&mut queue, write).status(), SUCCESS);
    host.admin_ok(format(1, 0));
    host.put(page, &[0; 4096]);
    let read = transfer(READ, 2, 0, 1).prp(page, 0);
    assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
    assert_eq!(host.get(page, 4096), [7; 4096]);
}

#[test]
fn what_cannot_be_refused() {
    let mut host = Host::new();
    assert_eq!(host.admin(format(1, 9)).status(), INVALID_FORMAT, "LBAF");
    assert_eq!(
        host.admin(format(1, 1 << 5)).status(),
        INVALID_FORMAT,
        "protection information"
    );
    assert_eq!(host.admin(format(3, 0)).status(), INVALID_NAMESPACE);
    assert_eq!(host.admin(format(0, 0)).status(), INVALID_NAMESPACE);
    assert_ne!(host.admin(format(1, 5 << 9)).status(), SUCCESS, "SES");
    assert_eq!(blocks(&mut host, 1), (NS1_BLOCKS, 0), "nothing happened");
}

#[test]
fn format_survives_controller_reset() {
    let mut host = Host::new();
    host.admin_ok(format(1, 1));
    host.disable();
    host.enable();
    assert_eq!(blocks(&mut host, 1), (NS1_BLOCKS / 8, 1));
}

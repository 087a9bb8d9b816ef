// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Controller registers (3.1.3), enable, ready, shutdown and fatal status.

use crate::host::*;

/// CSTS.CFS.
const FATAL: u32 = 2;

#[test]
fn cap_says_what_the_controller_can() {
    let mut host = Host::disabled();
    let cap = host.read64(CAP);
    assert_eq!(cap & 0xFFFF, u64::from(QUEUE_DEPTH - 1), "MQES");
    assert_eq!(cap >> 16 & 1, 1, "CQR");
    assert_ne!(cap >> 24 & 0xFF, 0, "TO");
    assert_eq!(cap >> 32 & 0xF, 0, "DSTRD");
    assert_eq!(cap >> 37 & 1, 1, "CSS: NVM command set");
    assert_eq!(cap >> 48 & 0xF, 0, "MPSMIN: 4 KiB");
    assert!(cap >> 52 & 0xF >= cap >> 48 & 0xF, "MPSMAX");
}

#[test]
fn cap_read_in_halves_same_value() {
    let mut host = Host::disabled();
    let whole = host.read64(CAP);
    let halves = u64::from(host.read32(CAP)) | u64::from(host.read32(CAP + 4)) << 32;
    assert_eq!(halves, whole);
}

#[test]
fn version_2_0_also_in_identify() {
    let mut host = Host::new();
    assert_eq!(host.read32(VS), 0x0002_0000);
    let page = host.page();
    host.admin_ok(identify(0x01, 0, page));
    assert_eq!(host.get32(page + 80), 0x0002_0000);
}

#[test]
fn read_only_registers_ignore_writes() {
    let mut host = Host::disabled();
    let (cap, vs, csts) = (host.read64(CAP), host.read32(VS), host.read32(CSTS));
    host.write64(CAP, u64::MAX);
    host.write32(VS, 0);
    host.write32(CSTS, 0xFFFF_FFEF);
    assert_eq!(host.read64(CAP), cap);
    assert_eq!(host.read32(VS), vs);
    assert_eq!(host.read32(CSTS), csts);
}

#[test]
fn admin_queue_registers_read_back() {
    let mut host = Host::disabled();
    host.write32(AQA, 0x001F_003F);
    host.write64(ASQ, 0x1_2345_6000);
    host.write32(ACQ, 0x9876_5000);
    host.write32(ACQ + 4, 0x2);
    assert_eq!(host.read32(AQA), 0x001F_003F);
    assert_eq!(host.read64(ASQ), 0x1_2345_6000);
    assert_eq!(host.read32(ASQ + 4), 1);
    assert_eq!(host.read64(ACQ), 0x2_9876_5000);
}

#[test]
fn crto_not_longer_than_cap_to() {
    let mut host = Host::disabled();
    let crto = host.read32(CRTO);
    let timeout = host.read64(CAP) >> 24 & 0xFF;
    assert!(u64::from(crto & 0xFFFF) <= timeout, "CRWMT");
}

#[test]
fn enable_then_disable_follows_ready() {
    let mut host = Host::disabled();
    assert_eq!(host.read32(CSTS), 0);
    host.enable();
    assert_eq!(host.read32(CC), CC_ENABLE);
    host.disable();
    assert_eq!(host.read32(CSTS), 0);
    host.enable();
}

#[test]
fn disable_keeps_admin_queue_registers() {
    let mut host = Host::new();
    let before = (host.read32(AQA), host.read64(ASQ), host.read64(ACQ));
    host.disable();
    assert_eq!(
        (host.read32(AQA), host.read64(ASQ), host.read64(ACQ)),
        before
    );
}

/// Spoils something; gives the value for CC.
type Prepare = fn(&mut Host) -> u32;

fn enable_with(prepare: impl FnOnce(&mut Host) -> u32) -> Host {
    let mut host = Host::disabled();
    host.set_admin_queues();
    let cc = prepare(&mut host);
    host.write32(CC, cc);
    host.settle();
    host
}

#[test]
fn enable_with_what_cannot_work_fatal_not_ready() {
    let cases: [(&str, Prepare); 8] = [
        ("ASQS 0", |host| {
            host.write32(AQA, (ADMIN_ENTRIES - 1) << 16);
            CC_ENABLE
        }),
        ("ACQS 0", |host| {
            host.write32(AQA, ADMIN_ENTRIES - 1);
            CC_ENABLE
        }),
        ("ASQ outside RAM", |host| {
            host.write64(ASQ, RAM + RAM_BYTES as u64);
            CC_ENABLE
        }),
        ("ASQ partly outside RAM", |host| {
            host.write32(AQA, 0x001F_0FFF);
            host.write64(ASQ, RAM + RAM_BYTES as u64 - PAGE);
            CC_ENABLE
        }),
        ("ACQ outside RAM", |host| {
            host.write64(ACQ, 0);
            CC_ENABLE
        }),
        ("ACQ at the end of the address space", |host| {
            host.write64(ACQ, !0xFFF);
            CC_ENABLE
        }),
        ("CSS reserved", |_| CC_ENABLE | 3 << 4),
        ("MPS above MPSMAX", |_| CC_ENABLE | 15 << 7),
    ];
    for (what, prepare) in cases {
        let mut host = enable_with(prepare);
        let csts = host.read32(CSTS);
        assert_eq!(csts & FATAL, FATAL, "{what}: CFS");
        assert_eq!(csts & 1, 0, "{what}: RDY must not be set with CFS");
    }
}

#[test]
fn fatal_status_ends_with_reset() {
    let mut host = enable_with(|host| {
        host.write32(AQA, 0);
        CC_ENABLE
    });
    assert_eq!(host.read32(CSTS) & FATAL, FATAL);
    host.disable();
    assert_eq!(host.read32(CSTS), 0);
    host.enable();
    let page = host.page();
    host.admin_ok(identify(0x01, 0, page));
}

#[test]
fn shutdown_notification_completes() {
    for notification in [1, 2] {
        let mut host = Host::new();
        host.write32(CC, CC_ENABLE | notification << 14);
        host.settle();
        assert_eq!(host.read32(CSTS) >> 2 & 3, 2, "SHST: complete");
        host.write32(CC, 0);
        host.settle();
        host.enable();
    }
}

#[test]
fn shutdown_flushes_the_volatile_write_cache() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    let page = host.page();
    host.put(page, &[7; 4096]);
    let write = transfer(WRITE, 1, 0, 8).prp(page, 0);
    assert_eq!(host.run(&mut queue, write).status(), SUCCESS);
    host.write32(CC, CC_ENABLE | 1 << 14);
    host.settle();
    assert_eq!(host.read32(CSTS) >> 2 & 3, 2);
}

#[test]
fn doorbells_before_ready_ignored() {
    let mut host = Host::disabled();
    host.set_admin_queues();
    let page = host.page();
    host.submit_admin(identify(0x01, 0, page));
    host.settle();
    assert_eq!(host.reap_admin(), None);
    // The tail written too early is forgotten.
    host.admin.tail = 0;
    host.enable();
    host.settle();
    assert_eq!(host.reap_admin(), None);
    host.admin_ok(identify(0x01, 0, page));
}

#[test]
fn interrupt_mask_set_and_clear() {
    let mut host = Host::new();
    host.write32(INTMS, 0b101);
    assert_eq!(host.read32(INTMS), 0b101);
    assert_eq!(host.read32(INTMC), 0b101);
    host.write32(INTMC, 0b001);
    assert_eq!(host.read32(INTMS), 0b100);
    host.write32(INTMC, u32::MAX);
    assert_eq!(host.read32(INTMS), 0);
}

#[test]
fn subsystem_reset_disables_and_says_so() {
    let mut host = Host::new();
    if host.read64(CAP) >> 36 & 1 == 0 {
        return;
    }
    host.write32(NSSR, 0x1234_5678);
    host.settle();
    assert_eq!(host.read32(CSTS), 1, "another value resets nothing");
    host.write32(NSSR, 0x4E56_4D65);
    host.settle();
    assert_eq!(host.read32(CC) & 1, 0);
    assert_eq!(host.read32(CSTS), 1 << 4, "NSSRO, not ready");
    host.write32(CSTS, 1 << 4);
    assert_eq!(host.read32(CSTS), 0, "NSSRO is cleared by writing 1");
    host.enable();
}

#[test]
fn beyond_the_registers_reads_zero() {
    let mut host = Host::new();
    for offset in [0x40_u64, 0x100, 0xFFC, 0x3000] {
        host.write32(offset, 0xFFFF_FFFF);
        assert_eq!(host.read32(offset), 0, "offset {offset:#x}");
    }
}

/// What is read there is the bus's matter, not the controller's.
#[test]
fn beyond_the_bar_nothing_happens() {
    let mut host = Host::new();
    let status = host.read32(CSTS);
    for offset in [0x10_0000_u64, u64::MAX - 7] {
        host.write32(offset, 0xFFFF_FFFF);
        host.read32(offset);
        assert_eq!(host.read32(CSTS), status, "offset {offset:#x}");
    }
}

/// Without CC.EN there is no reset to make before the controller starts again.
#[test]
fn shutdown_of_a_disabled_controller_does_not_outlast_its_start() {
    let mut host = Host::disabled();
    host.write32(CC, 1 << 14);
    host.settle();
    host.write32(CC, 0);
    host.enable();
    let page = host.page();
    host.admin_ok(identify(0x01, 0, page));
}

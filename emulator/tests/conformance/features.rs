// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Get and Set Features (5.15, 5.27), with the rules of SEL and SV.

use crate::host::*;

/// Set Features with the save bit.
const SAVE: u32 = 1 << 31;
const OFFERED: [u8; 12] = [
    0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0E, 0x16,
];

/// Get Features with a data page and a namespace, which some features need.
fn get(host: &mut Host, id: u8, select: u32) -> Completion {
    let page = host.page();
    host.admin(get_feature(id, select).nsid(1).prp(page, 0))
}

#[test]
fn every_offered_feature_can_be_read() {
    let mut host = Host::new();
    for id in OFFERED {
        for select in 0..=1 {
            let status = get(&mut host, id, select).status();
            assert_eq!(status, SUCCESS, "feature {id:#x}, SEL {select}");
        }
    }
}

#[test]
fn capabilities_say_changeable_not_saveable() {
    let mut host = Host::new();
    for id in OFFERED {
        let capabilities = get(&mut host, id, 3).dw0;
        assert_eq!(capabilities & 1, 0, "feature {id:#x} is not saveable");
        let changeable = capabilities & 4 != 0;
        assert!(
            changeable || id == 0x07,
            "feature {id:#x}: {capabilities:#x}"
        );
    }
}

#[test]
fn reserved_select_refused() {
    let mut host = Host::new();
    for select in 4..8 {
        let status = host.admin(get_feature(0x07, select)).status();
        assert_eq!(status, INVALID_FIELD, "SEL {select}");
    }
}

#[test]
fn unknown_features_refused() {
    let mut host = Host::new();
    for id in [0x00, 0x0D, 0x1F, 0x80, 0xFF] {
        assert_eq!(host.admin(get_feature(id, 0)).status(), INVALID_FIELD);
        assert_eq!(host.admin(set_feature(id, 0)).status(), INVALID_FIELD);
    }
}

#[test]
fn saving_refused() {
    let mut host = Host::new();
    let command = set_feature(0x04, 0x157).cdw(10, SAVE | 0x04);
    assert_eq!(host.admin(command).status(), FEATURE_NOT_SAVEABLE);
}

#[test]
fn number_of_queues_told_and_ruled() {
    let mut host = Host::new();
    let most = u32::from(QUEUE_PAIRS - 1);
    assert_eq!(host.admin_ok(get_feature(0x07, 0)).dw0, most << 16 | most);
    let asked = host.admin_ok(set_feature(0x07, 200 << 16 | 200)).dw0;
    assert_eq!(asked, most << 16 | most);
    for bad in [0xFFFF_0000, 0x0000_FFFF] {
        assert_eq!(host.admin(set_feature(0x07, bad)).status(), INVALID_FIELD);
    }
    host.create_queue(1, 16, None);
    let late = host.admin(set_feature(0x07, 0)).status();
    assert_eq!(late, (0, 0x0C), "Command Sequence Error");
}

#[test]
fn values_set_are_read_back_and_default_stays() {
    let mut host = Host::new();
    let cases = [
        (0x01, 0x0302_0103),
        (0x04, 0x0150),
        (0x05, 0x0000_0010),
        (0x06, 0),
        (0x08, 0x0504),
        (0x0A, 1),
        (0x0B, 0x0000_0001),
    ];
    for (id, value) in cases {
        // Error recovery belongs to a namespace.
        let nsid = u32::from(id == 0x05);
        let default = host.admin_ok(get_feature(id, 1).nsid(nsid)).dw0;
        let set = host.admin(set_feature(id, value).nsid(nsid));
        assert_eq!(set.status(), SUCCESS, "set {id:#x}");
        let current = host.admin_ok(get_feature(id, 0).nsid(nsid)).dw0;
        assert_eq!(current, value, "feature {id:#x}");
        let after = host.admin_ok(get_feature(id, 1).nsid(nsid)).dw0;
        assert_eq!(after, default, "default of {id:#x}");
    }
}

#[test]
fn controller_feature_set_for_a_namespace_refused() {
    let mut host = Host::new();
    let status = host.admin(set_feature(0x04, 0x150).nsid(1)).status();
    assert_eq!(status, (1, 0x0F), "Feature Not Namespace Specific");
}

#[test]
fn reset_brings_defaults_back() {
    let mut host = Host::new();
    let default = host.admin_ok(get_feature(0x08, 0)).dw0;
    host.admin_ok(set_feature(0x08, 0x0A0A));
    host.disable();
    host.enable();
    assert_eq!(host.admin_ok(get_feature(0x08, 0)).dw0, default);
}

#[test]
fn power_state_that_is_none_refused() {
    let mut host = Host::new();
    host.admin_ok(set_feature(0x02, 0));
    assert_eq!(host.admin(set_feature(0x02, 31)).status(), INVALID_FIELD);
}

#[test]
fn vector_configuration_by_vector() {
    let mut host = Host::new();
    host.create_queue(1, 16, Some(1));
    host.admin_ok(set_feature(0x09, 1 << 16 | 1));
    let read = |host: &mut Host, vector| host.admin_ok(get_feature(0x09, 0).cdw(11, vector)).dw0;
    assert_eq!(read(&mut host, 1), 1 << 16 | 1);
    assert_eq!(read(&mut host, 0) & 0xFFFF, 0);
    let beyond = set_feature(0x09, u32::from(VECTORS));
    assert_eq!(host.admin(beyond).status(), INVALID_FIELD);
}

#[test]
fn timestamp_goes_on_from_what_was_set() {
    let mut host = Host::new();
    let page = host.page();
    host.put(page, &1_700_000_000_000_u64.to_le_bytes());
    host.admin_ok(set_feature(0x0E, 0).prp(page, 0));
    let other = host.page();
    for _ in 0..50 {
        host.settle();
    }
    host.admin_ok(get_feature(0x0E, 0).prp(other, 0));
    let raw = host.get(other, 8);
    let stamp = u64::from_le_bytes(raw[..8].try_into().unwrap()) & 0xFFFF_FFFF_FFFF;
    let passed = stamp - 1_700_000_000_000;
    assert!((1..1000).contains(&passed), "{passed} ms");
    assert_eq!(raw[6] >> 1 & 7, 1, "origin: set by the host");
}

#[test]
fn host_behavior_is_kept() {
    let mut host = Host::new();
    let page = host.page();
    host.put(page, &[1]);
    host.admin_ok(set_feature(0x16, 0).prp(page, 0));
    let other = host.page();
    host.admin_ok(get_feature(0x16, 0).prp(other, 0));
    assert_eq!(host.get(other, 512), host.get(page, 512));
}

#[test]
fn coalescing_waits_for_the_threshold() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 32, Some(1));
    // Four completions, or 10 ms.
    host.admin_ok(set_feature(0x08, 100 << 8 | 3));
    host.device.raised();
    for number in 1..=4 {
        host.submit(&mut queue, Command::new(FLUSH).nsid(1));
        host.settle();
        let expected: &[u16] = if number < 4 { &[] } else { &[1] };
        assert_eq!(host.device.raised(), expected, "after {number}");
    }
}

#[test]
fn coalescing_gives_up_waiting_after_its_time() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 32, Some(1));
    host.admin_ok(set_feature(0x08, 1 << 8 | 10));
    host.device.raised();
    host.submit(&mut queue, Command::new(FLUSH).nsid(1));
    // One unit is 100 us; settle() is as long.
    host.settle();
    host.settle();
    assert_eq!(host.device.raised(), [1]);
}

#[test]
fn coalescing_disabled_for_a_vector_interrupts_at_once() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 32, Some(1));
    host.admin_ok(set_feature(0x08, 100 << 8 | 10));
    host.admin_ok(set_feature(0x09, 1 << 16 | 1));
    host.device.raised();
    host.submit(&mut queue, Command::new(FLUSH).nsid(1));
    host.settle();
    assert_eq!(host.device.raised(), [1]);
}

#[test]
fn write_cache_feature_without_a_cache_refused() {
    let config = emulator::controller::ControllerConfig {
        volatile_write_cache: false,
        ..config()
    };
    let mut host = Host::with(config, FLOOR);
    host.enable();
    for select in 0..4 {
        let status = get(&mut host, 0x06, select).status();
        assert_eq!(status, INVALID_FIELD, "SEL {select}");
    }
    assert_eq!(host.admin(set_feature(0x06, 1)).status(), INVALID_FIELD);
}

#[test]
fn error_recovery_after_a_reset_is_the_default() {
    let mut host = Host::new();
    host.admin_ok(set_feature(0x05, 7).nsid(1));
    assert_eq!(get(&mut host, 0x05, 0).dw0, 7);
    host.disable();
    host.enable();
    assert_eq!(get(&mut host, 0x05, 0).dw0, 0);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Acts on the whole controller.

use crate::host::{CC, CC_ENABLE, CSTS, SUCCESS, VS, get_log, low};
use crate::rig::Rig;

const RDY: u32 = 1 << 0;
const CFS: u32 = 1 << 1;

/// Nothing that is under way or comes completes, on either queue.
fn is_silent(rig: &mut Rig) -> bool {
    rig.send(rig.read_of(0));
    let page = rig.page;
    rig.host.submit_admin(crate::host::identify(1, 0, page));
    rig.wait(2);
    rig.reap().is_none() && rig.host.reap_admin().is_none()
}

#[test]
fn fatal_sets_cfs_and_nothing_goes_on_until_a_reset() {
    let mut rig =
        Rig::new("[[rule]]\nact = \"delay\"\nnanoseconds = 500_000\n[[rule]]\nact = \"fatal\"");
    rig.send(rig.read_of(0));
    assert_eq!(rig.host.read32(CSTS), RDY);

    rig.send(rig.read_of(0));

    assert_eq!(rig.host.read32(CSTS), RDY | CFS);
    assert!(is_silent(&mut rig));
    rig.reset();
    assert_eq!(rig.host.read32(CSTS), RDY);
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
}

#[test]
fn stuck_csts_stays_ready_whatever_cc_says_until_the_rules_go() {
    let mut rig = Rig::new("[[rule]]\nact = \"stuck-csts\"");
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS, "executed");

    rig.host.write32(CC, CC_ENABLE & !1);
    rig.wait(50);
    assert_eq!(rig.host.read32(CSTS), RDY);
    assert_eq!(low(rig.host.device.read(CSTS - 4, 8) >> 32), RDY);
    assert_eq!(rig.host.device.read(CSTS, 1), 1);

    rig.load("");
    assert_eq!(rig.host.read32(CSTS), 0);
    rig.reset();
    rig.run(rig.read_of(0));
}

#[test]
fn stuck_csts_ends_after_its_time() {
    let mut rig = Rig::new("[[rule]]\nact = \"stuck-csts\"\nnanoseconds = 3_000_000");
    rig.run(rig.read_of(0));
    rig.host.write32(CC, CC_ENABLE & !1);
    rig.wait(2);
    assert_eq!(rig.host.read32(CSTS), RDY);
    rig.wait(1);
    assert_eq!(rig.host.read32(CSTS), 0);
}

#[test]
fn stuck_csts_ends_with_a_reset_of_the_function() {
    let mut rig = Rig::new("[[rule]]\nact = \"stuck-csts\"");
    rig.run(rig.read_of(0));
    rig.host.write32(CC, CC_ENABLE & !1);
    rig.engine().reset();
    assert_eq!(rig.host.read32(CSTS), 0);
}

#[test]
fn removed_controller_reads_as_ones_and_takes_nothing() {
    let mut rig = Rig::new("[[rule]]\nact = \"remove\"");
    let memory = rig.host.get(rig.queue.cq, 64);

    rig.send(rig.read_of(0));

    assert_eq!(rig.host.read32(CSTS), u32::MAX);
    assert_eq!(rig.host.read32(VS), u32::MAX);
    assert_eq!(rig.host.read64(0), u64::MAX);
    rig.host.write32(CC, CC_ENABLE & !1);
    rig.host.write32(CC, CC_ENABLE);
    assert!(is_silent(&mut rig));
    assert_eq!(rig.host.get(rig.queue.cq, 64), memory);
    assert!(rig.host.device.raised().is_empty());
    assert_eq!(rig.hits(), [1]);

    rig.load("");
    assert_eq!(rig.host.read32(CSTS), 0, "as after a reset");
    rig.host.enable();
    rig.queue = rig.host.create_queue(1, 16, None);
    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
}

#[test]
fn power_cut_is_silent_until_a_reset_and_counted_where_a_guest_sees_it() {
    let mut rig =
        Rig::new("[[rule]]\nact = \"delay\"\nnanoseconds = 500_000\n[[rule]]\nact = \"power-cut\"");
    rig.send(rig.read_of(0));
    rig.send(rig.read_of(0));

    assert_eq!(rig.host.read32(CSTS), RDY | CFS);
    assert!(is_silent(&mut rig));
    rig.reset();

    assert_eq!(rig.run(rig.read_of(0)).status(), SUCCESS);
    let page = rig.page;
    rig.host.admin_ok(get_log(0xC0, 96, 0, page));
    let faults = [80, 88].map(|at| rig.host.get32(page + at));
    assert_eq!(faults, [2, 1], "acted, power cuts");
    rig.host.admin_ok(get_log(0x02, 512, 0, page));
    assert_eq!(rig.host.get32(page + 112), 2, "power cycles");
    assert_eq!(rig.host.get32(page + 144), 1, "unsafe shutdowns");
}

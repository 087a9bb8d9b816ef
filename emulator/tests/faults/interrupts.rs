// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Acts on what announces something: interrupts, doorbells.

use crate::host::SUCCESS;
use crate::rig::{Rig, VECTOR};

#[test]
fn interrupt_is_lost_and_the_completion_is_there() {
    let mut rig = Rig::new("[[rule]]\nact = \"interrupt-lost\"");

    let cid = rig.send(rig.read_of(0));

    assert!(rig.host.device.raised().is_empty());
    assert_eq!(rig.reap_all(), [cid]);
    rig.run(rig.read_of(0));
    assert_eq!(rig.host.device.raised(), [VECTOR]);
}

#[test]
fn spurious_interrupt_comes_after_the_right_one_for_nothing() {
    let mut rig = Rig::new("[[rule]]\nact = \"interrupt-spurious\"\nnanoseconds = 1_000_000");

    rig.run(rig.read_of(0));

    assert_eq!(rig.host.device.raised(), [VECTOR]);
    rig.wait(1);
    assert_eq!(rig.host.device.raised(), [VECTOR]);
    rig.wait(5);
    assert!(rig.host.device.raised().is_empty());
}

#[test]
fn spurious_interrupt_of_a_polled_queue_does_not_exist() {
    let mut rig = Rig::new("[[rule]]\nact = \"interrupt-spurious\"");
    let mut polled = rig.host.create_queue(2, 16, None);
    rig.host.device.raised();
    let read = rig.read_of(0);
    rig.host.run(&mut polled, read);
    rig.wait(5);
    assert!(rig.host.device.raised().is_empty());
}

#[test]
fn slow_doorbell_keeps_a_queue_waiting_and_no_other() {
    let mut rig = Rig::new("[[rule]]\nqueue = 1\nact = \"slow-doorbell\"\nnanoseconds = 2_000_000");
    let mut other = rig.host.create_queue(2, 16, None);

    let first = rig.send(rig.read_of(0));
    let second = rig.send(rig.read_of(1));
    let read = rig.read_of(2);
    assert_eq!(rig.host.run(&mut other, read).status(), SUCCESS);

    rig.wait(1);
    assert!(rig.reap().is_none());
    rig.wait(1);
    assert_eq!(rig.reap_all(), [first, second]);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Doorbells that are wrong, however they reach the device (3.1.4, 5.2).

use crate::host::*;

pub fn flush() -> Command {
    Command::new(FLUSH).nsid(1)
}

/// Asks for an event, lets `wrong` happen, and gives dword 0 of the event.
pub fn event_after(wrong: impl FnOnce(&mut Host)) -> Option<u32> {
    let mut host = Host::new();
    host.create_queue(1, 8, None);
    host.submit_admin(Command::new(0x0C));
    host.settle();
    wrong(&mut host);
    host.notice();
    let event = host.reap_admin()?;
    assert_eq!(event.status(), SUCCESS);
    Some(event.dw0)
}

/// Error status events with the error log as their page (figure 146).
pub const INVALID_REGISTER: Option<u32> = Some(0x0001_0000);
pub const INVALID_VALUE: Option<u32> = Some(0x0001_0100);

#[test]
fn tail_beyond_queue_is_an_event() {
    let event = event_after(|host| host.write32(Host::doorbell(1, false), 8));
    assert_eq!(event, INVALID_VALUE);
    let event = event_after(|host| host.write32(Host::doorbell(1, false), 0xFFFF));
    assert_eq!(event, INVALID_VALUE);
}

#[test]
fn head_beyond_queue_or_tail_is_an_event() {
    let event = event_after(|host| host.write32(Host::doorbell(1, true), 8));
    assert_eq!(event, INVALID_VALUE);
    let event = event_after(|host| host.write32(Host::doorbell(1, true), 3));
    assert_eq!(event, INVALID_VALUE, "nothing was posted");
}

#[test]
fn doorbell_of_no_queue_is_an_event() {
    let event = event_after(|host| host.write32(Host::doorbell(2, false), 1));
    assert_eq!(event, INVALID_REGISTER);
    let event = event_after(|host| host.write32(Host::doorbell(3, true), 1));
    assert_eq!(event, INVALID_REGISTER);
}

#[test]
fn wrong_tail_executes_nothing_and_the_queue_stays_usable() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 8, None);
    host.write32(Host::doorbell(1, false), 9);
    host.settle();
    assert_eq!(host.peek(&queue), None);
    assert_eq!(host.run(&mut queue, flush()).status(), SUCCESS);
}

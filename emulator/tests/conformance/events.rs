// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Asynchronous events (5.2) and Abort (5.1).

use crate::host::*;

fn event_request() -> Command {
    Command::new(0x0C)
}

fn abort(queue: u16, cid: u16) -> Command {
    Command::new(0x08).cdw(10, u32::from(cid) << 16 | u32::from(queue))
}

/// A doorbell that no queue has: causes an error event.
fn wrong_doorbell(host: &mut Host) {
    host.write32(Host::doorbell(QUEUE_PAIRS, false), 1);
    host.notice();
}

fn event_limit(host: &mut Host) -> u32 {
    let page = host.page();
    host.admin_ok(identify(0x01, 0, page));
    u32::from(host.get(page + 259, 1)[0]) + 1
}

#[test]
fn requests_wait_and_one_more_than_the_limit_is_refused() {
    let mut host = Host::new();
    let limit = event_limit(&mut host);
    for _ in 0..limit {
        host.submit_admin(event_request());
    }
    host.settle();
    assert_eq!(host.reap_admin(), None, "they wait");
    let more = host.submit_admin(event_request());
    host.settle();
    let refused = host.reap_admin().expect("the one too many");
    assert_eq!(refused.cid, more);
    assert_eq!(refused.status(), EVENT_LIMIT_EXCEEDED);
}

#[test]
fn event_that_came_first_is_given_to_a_later_request_or_not_at_all() {
    let mut host = Host::new();
    host.submit_admin(event_request());
    host.settle();
    wrong_doorbell(&mut host);
    assert!(host.reap_admin().is_some());
    host.admin_ok(get_feature(0x07, 0));
}

#[test]
fn event_type_is_masked_until_its_log_is_read() {
    let mut host = Host::new();
    host.submit_admin(event_request());
    host.submit_admin(event_request());
    host.settle();
    wrong_doorbell(&mut host);
    let first = host.reap_admin().expect("the event");
    assert_eq!(first.dw0 >> 16 & 0xFF, 0x01, "read the error log");
    wrong_doorbell(&mut host);
    assert_eq!(host.reap_admin(), None, "masked");

    let page = host.page();
    let retain = get_log(0x01, 64, 0, page);
    let retain = retain.cdw(10, retain.0[10] | 1 << 15);
    host.admin_ok(retain);
    wrong_doorbell(&mut host);
    assert_eq!(host.reap_admin(), None, "RAE keeps the mask");

    let read = host.submit_admin(get_log(0x01, 64, 0, page));
    host.settle();
    let mut seen = vec![host.reap_admin().expect("the log page")];
    seen.extend(host.reap_admin());
    assert!(seen.iter().any(|completion| completion.cid == read));
    if seen.len() == 1 {
        wrong_doorbell(&mut host);
        assert!(host.reap_admin().is_some(), "unmasked");
    }
}

#[test]
fn temperature_threshold_crossed_is_an_event() {
    let mut host = Host::new();
    host.admin_ok(set_feature(0x0B, 0x02));
    host.submit_admin(event_request());
    host.settle();
    assert_eq!(host.reap_admin(), None);
    // Over temperature from 1 K on.
    let set = host.submit_admin(set_feature(0x04, 1));
    host.settle();
    let seen: Vec<_> = std::iter::from_fn(|| host.reap_admin()).collect();
    assert!(seen.iter().any(|completion| completion.cid == set));
    let event = seen.iter().find(|completion| completion.cid != set);
    let event = event.expect("a SMART / health event");
    assert_eq!(event.dw0, 0x0002_0101, "SMART, temperature, log 02h");

    let page = host.page();
    host.admin_ok(get_log(0x02, 512, 0, page));
    assert_eq!(host.get(page, 1)[0] & 2, 2, "critical warning: temperature");
}

#[test]
fn temperature_threshold_crossed_again_after_a_reset_is_another_event() {
    let mut host = Host::new();
    for _ in 0..2 {
        host.admin_ok(set_feature(0x0B, 0x02));
        let request = host.submit_admin(event_request());
        host.submit_admin(set_feature(0x04, 1));
        host.settle();
        let seen: Vec<_> = std::iter::from_fn(|| host.reap_admin()).collect();
        assert!(seen.iter().any(|completion| completion.cid == request));
        host.disable();
        host.enable();
    }
}

#[test]
fn reset_forgets_event_requests() {
    let mut host = Host::new();
    let limit = event_limit(&mut host);
    for _ in 0..limit {
        host.submit_admin(event_request());
    }
    host.settle();
    host.disable();
    host.enable();
    assert_eq!(host.reap_admin(), None);
    for _ in 0..limit {
        host.submit_admin(event_request());
    }
    host.settle();
    assert_eq!(host.reap_admin(), None, "all of them wait again");
}

#[test]
fn abort_of_event_request_aborts_it() {
    let mut host = Host::new();
    let request = host.submit_admin(event_request());
    host.settle();
    let command = host.submit_admin(abort(0, request));
    host.settle();
    let mut seen = [host.reap_admin().unwrap(), host.reap_admin().unwrap()];
    seen.sort_by_key(|completion| completion.cid);
    assert_eq!(seen[0].cid, request);
    assert_eq!(seen[0].status(), ABORTED_BY_REQUEST);
    assert_eq!(seen[1].cid, command);
    assert_eq!(seen[1].status(), SUCCESS);
    assert_eq!(seen[1].dw0 & 1, 0, "it was aborted");
}

#[test]
fn abort_of_what_is_not_there_says_so() {
    let mut host = Host::new();
    host.create_queue(1, 8, None);
    for (queue, cid) in [(0, 0x7777), (1, 0x7777), (3, 1), (0xFFFF, 1)] {
        let completion = host.admin(abort(queue, cid));
        assert_eq!(completion.status(), SUCCESS, "queue {queue}");
        assert_eq!(completion.dw0 & 1, 1, "queue {queue}: not aborted");
    }
}

/// A millisecond for everything that touches the medium.
const SLOW: &str = include_str!("slow.toml");

fn slow_host() -> (Host, Queue) {
    let mut host = Host::with(config(), SLOW);
    host.enable();
    let queue = host.create_queue(1, 8, None);
    (host, queue)
}

#[test]
fn slow_profile_completes_late_not_early() {
    let (mut host, mut queue) = slow_host();
    let page = host.page();
    host.submit(&mut queue, transfer(READ, 1, 0, 1).prp(page, 0));
    for _ in 0..900 {
        host.device.work();
        assert_eq!(host.peek(&queue), None, "too early");
    }
    for _ in 0..200 {
        host.device.work();
    }
    assert!(host.peek(&queue).is_some());
}

#[test]
fn abort_of_delayed_command_aborts_it() {
    let (mut host, mut queue) = slow_host();
    let page = host.page();
    let cid = host.submit(&mut queue, transfer(READ, 1, 0, 1).prp(page, 0));
    host.settle();
    let completion = host.admin(abort(1, cid));
    assert_eq!(completion.dw0 & 1, 0, "it was aborted");
    let aborted = host.reap(&mut queue).expect("its completion");
    assert_eq!(aborted.cid, cid);
    assert_eq!(aborted.status(), ABORTED_BY_REQUEST);
    for _ in 0..20 {
        host.settle();
    }
    assert_eq!(host.reap(&mut queue), None, "only once");
}

#[test]
fn delete_sq_completes_what_is_under_way_first() {
    let (mut host, mut queue) = slow_host();
    let page = host.page();
    for _ in 0..3 {
        host.submit(&mut queue, transfer(READ, 1, 0, 1).prp(page, 0));
    }
    host.settle();
    assert_eq!(host.peek(&queue), None);
    host.admin_ok(delete_sq(1));
    for _ in 0..3 {
        let completion = host.reap(&mut queue).expect("each of them");
        assert_eq!(completion.status(), ABORTED_SQ_DELETION);
    }
    host.admin_ok(delete_cq(1));
    for _ in 0..20 {
        host.settle();
    }
}

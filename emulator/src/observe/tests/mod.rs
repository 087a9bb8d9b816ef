// SPDX-License-Identifier: Apache-2.0 OR MIT
mod exits;

use super::*;

fn sample() -> Counters {
    let mut counters = Counters::new(3);
    let queue = counters.queue_mut(2).unwrap();
    queue.creations = 1;
    queue.polled = 10;
    queue.bytes_read = 40960;
    queue.count_opcode(0x02);
    queue.count_opcode(0xFF);
    queue.lateness.record(120);
    queue.lateness_host_ns = 30;
    counters
}

#[test]
fn page_written_and_parsed_gives_the_same_counters() {
    let counters = sample();
    let page = write_page(&counters, 77, |_| QueueState::default());
    assert_eq!(page.len(), page_bytes(3));
    let back = CountersPage::parse(&page).unwrap();
    assert_eq!(back.time_ns, 77);
    assert_eq!(back.counters, counters);
}

#[test]
fn page_cut_short_is_refused() {
    let page = write_page(&sample(), 0, |_| QueueState::default());
    assert!(matches!(
        CountersPage::parse(&page[..page.len() - 1]),
        Err(PageError::Short { .. })
    ));
    assert!(matches!(
        CountersPage::parse(&page[..10]),
        Err(PageError::Short { .. })
    ));
}

#[test]
fn page_of_another_version_is_refused() {
    let mut page = write_page(&sample(), 0, |_| QueueState::default());
    page[8] = 2;
    assert_eq!(CountersPage::parse(&page).unwrap_err(), PageError::Foreign);
}

#[test]
fn page_with_a_huge_record_count_is_refused() {
    let mut page = write_page(&sample(), 0, |_| QueueState::default());
    page[20..24].fill(0xFF);
    assert!(CountersPage::parse(&page).is_err());
}

#[test]
fn summary_leaves_the_admin_queue_out() {
    let mut counters = sample();
    counters.queue_mut(0).unwrap().interrupted = 99;
    let summary = counters.summary();
    assert_eq!(summary.irq_commands, 0);
    assert_eq!(summary.polled_commands, 10);
    assert_eq!(summary.lateness.max_ns, 120);
    assert!((summary.lateness_host_share() - 0.25).abs() < 1e-9);
}

#[test]
fn since_subtracts_queue_by_queue() {
    let before = sample();
    let mut after = before.clone();
    after.queue_mut(2).unwrap().polled += 5;
    after.queue_mut(2).unwrap().count_opcode(0x02);
    let difference = after.since(&before);
    assert_eq!(difference.summary().polled_commands, 5);
    assert_eq!(difference.queues()[2].opcodes[2], 1);
    assert_eq!(difference.queues()[2].creations, 0);
}

#[test]
fn opcode_above_the_slots_counts_in_the_last() {
    assert_eq!(sample().queues()[2].opcodes[OPCODE_SLOTS - 1], 1);
}

#[test]
fn page_of_a_machine_that_counts_exits_tells_them() {
    let exits = Arc::new(VmExits::new(1));
    exits.vcpu(0).count(ExitReason::Halt);
    exits.vcpu(0).count_interruption();
    exits.count_ioeventfd_signals(3);
    let mut counters = sample();
    counters.set_exits(Arc::clone(&exits));
    let read_back = |counters: &Counters| {
        let page = write_page(counters, 0, |_| QueueState::default());
        CountersPage::parse(&page).unwrap().counters
    };

    let parsed = read_back(&counters);

    assert_eq!(parsed.exits(), Some(exits.totals()));
    assert_eq!(parsed, counters);
    exits.set_kernel_exits(|| Some(u64::MAX));
    let kernel_exits = read_back(&counters).exits().unwrap().kernel_exits;
    assert_eq!(kernel_exits, Some(u64::MAX));
}

#[test]
fn page_of_a_device_without_such_a_machine_tells_none() {
    let page = write_page(&sample(), 0, |_| QueueState::default());
    let parsed = CountersPage::parse(&page).unwrap().counters;
    assert_eq!(parsed.exits(), None);
    assert_eq!(parsed.summary().exits_per_io(), None);
}

#[test]
fn clone_of_counters_stands_still_while_exits_go_on() {
    let exits = Arc::new(VmExits::new(1));
    let mut counters = sample();
    counters.set_exits(Arc::clone(&exits));
    exits.vcpu(0).count(ExitReason::PortIo);
    let before = counters.clone();

    exits.vcpu(0).count(ExitReason::PortIo);
    counters.queue_mut(1).unwrap().polled += 4;
    let summary = counters.since(&before).summary();

    assert_eq!(before.exits().unwrap().guest_exits, 1);
    assert_eq!(summary.exits.unwrap().guest_exits, 1);
    assert_eq!(summary.exits_per_io(), Some(0.25));
}

#[test]
fn difference_to_counters_without_exits_has_none() {
    let mut counters = sample();
    counters.set_exits(Arc::new(VmExits::new(1)));
    assert_eq!(counters.since(&sample()).exits(), None);
}

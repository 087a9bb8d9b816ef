// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The engine step by step, as a host sees it.

mod doorbell_scan;
mod flush;
mod host;

use super::*;
use crate::spec::{NvmOpcode, SubmissionQueueEntry};
use host::*;

#[test]
fn write_then_read_gives_the_data_back() {
    let mut host = Host::instant();
    let queue = host.make_queue(64, true);
    host.ram.write(BUFFER, &[0xA5; 1024]).unwrap();
    assert!(
        host.run(queue, transfer(NvmOpcode::WRITE, 8, 2))
            .is_success()
    );
    host.ram.write(BUFFER, &[0; 1024]).unwrap();
    assert!(
        host.run(queue, transfer(NvmOpcode::READ, 8, 2))
            .is_success()
    );
    let mut data = [0; 1024];
    host.ram.read(BUFFER, &mut data).unwrap();
    assert_eq!(data, [0xA5; 1024]);
}

#[test]
fn identify_controller_fills_the_buffer() {
    let mut host = Host::instant();
    let identify = SubmissionQueueEntry {
        prp1: BUFFER.into(),
        cdw10: 1.into(),
        ..command(0x06, 0)
    };
    assert!(host.admin(identify).0.is_success());
    let mut serial = [0; 15];
    host.ram.read(BUFFER + 4, &mut serial).unwrap();
    assert_eq!(&serial, b"HIPRI0000000001");
}

#[test]
fn trace_tells_when_a_command_was_fetched_due_posted_and_reaped() {
    let mut host = Host::new(slow(4, 5_000));
    let file = tempfile::tempfile().unwrap();
    let trace = Trace::begin(file.try_clone().unwrap()).unwrap();
    host.engine.set_trace(trace);
    let queue = host.make_queue(64, true);
    host.put(queue, transfer(NvmOpcode::READ, 3, 8));
    host.ring(queue);
    let fetched = host.now;
    host.step();
    host.now += 5_200;
    host.step();
    let posted = host.now;
    host.now += 50;
    assert_eq!(host.completions(queue).len(), 1);
    let qid = host.pair(queue).qid;
    let head = DOORBELLS + 8 * u64::from(qid) + 4;
    host.engine.write_register(host.now, head, 4, 1);
    host.engine.take_trace().unwrap().end().unwrap();

    let mut file = file;
    std::io::Seek::rewind(&mut file).unwrap();
    let records = crate::observe::read_trace(file).unwrap();
    let read = records.iter().find(|record| record.queue.get() == qid);
    let read = read.unwrap();
    assert_eq!(read.opcode, NvmOpcode::READ.0);
    assert_eq!(read.block.get(), 3);
    assert_eq!(read.fetched.get(), fetched);
    assert_eq!(read.due.get(), fetched + 5_000);
    assert_eq!(read.completed.get(), posted);
    assert_eq!(read.reaped.get(), host.now);
    assert!(records.iter().any(|record| record.queue.get() == 0));
}

#[test]
fn timed_command_completes_at_its_time_and_not_before() {
    let mut host = Host::new(slow(4, 5_000));
    let queue = host.make_queue(64, true);
    let cid = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring(queue);
    let due = host.step();
    assert_eq!(due, Some(host.now + 5_000));
    host.now += 4_999;
    assert_eq!(host.step(), due);
    assert!(host.take(queue).is_none());
    assert!(!host.engine.is_idle());
    host.now += 101;
    assert_eq!(host.step(), None);
    assert_eq!(host.completions(queue), [cid]);
    let lateness = &host.engine.counters().queues()[1].lateness;
    assert_eq!((lateness.count(), lateness.max()), (1, 100));
    assert_eq!(host.engine.counters().summary().early, 0);
}

/// The part of a completion's lateness during which the device had no core is the host's doing: not
/// what it was late before, and nothing of a later step's.
#[test]
fn lateness_while_away_is_the_hosts() {
    let mut host = Host::new(slow(4, 5_000));
    let queue = host.make_queue(64, true);
    let mut late = |away_after: Option<u64>, by: u64| {
        host.put(queue, transfer(NvmOpcode::READ, 0, 8));
        host.ring(queue);
        let due = host.step().unwrap();
        host.now = due + by;
        if let Some(after) = away_after {
            host.engine.was_away(due + after - 1_000);
        }
        host.step();
        host.engine.counters().queues()[1].lateness_host_ns
    };
    assert_eq!(late(None, 700), 0);
    assert_eq!(late(Some(0), 700), 700);
    assert_eq!(late(Some(1_200), 700), 700 + 500);
    assert_eq!(late(None, 700), 1_200);
    assert_eq!(host.engine.counters().queues()[1].lateness.sum(), 4 * 700);
}

#[test]
fn polled_queue_never_raises_an_interrupt() {
    let mut host = Host::instant();
    let queue = host.make_queue(64, true);
    host.raised.borrow_mut().clear();
    host.run(queue, transfer(NvmOpcode::READ, 0, 8));
    assert!(host.raised.borrow().is_empty());
    let summary = host.engine.counters().summary();
    assert_eq!((summary.polled_commands, summary.irq_commands), (1, 0));
}

#[test]
fn interrupts_of_one_step_are_one_for_each_vector() {
    let mut host = Host::instant();
    let (first, second) = (host.make_queue(64, false), host.make_queue(64, false));
    host.raised.borrow_mut().clear();
    for queue in [first, second] {
        for _ in 0..5 {
            host.put(queue, transfer(NvmOpcode::READ, 0, 8));
        }
        host.ring(queue);
    }
    host.step();
    let mut raised = host.raised.borrow().clone();
    raised.sort_unstable();
    assert_eq!(raised, [1, 2]);
    assert_eq!(host.engine.counters().summary().interrupts, 2);
}

#[test]
fn coalescing_gathers_until_the_threshold_or_the_time() {
    let mut host = Host::instant();
    let queue = host.make_queue(64, false);
    let coalesce = SubmissionQueueEntry {
        cdw10: 0x08.into(),
        cdw11: (2 << 8 | 3).into(),
        ..command(0x09, 0)
    };
    assert!(host.admin(coalesce).0.is_success());
    host.raised.borrow_mut().clear();
    for _ in 0..3 {
        host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    }
    host.ring(queue);
    assert_eq!(host.step(), Some(host.now + 200_000));
    assert!(host.raised.borrow().is_empty());
    host.now += 200_000;
    assert_eq!(host.step(), None);
    assert_eq!(*host.raised.borrow(), [1]);
    for _ in 0..4 {
        host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    }
    host.ring(queue);
    host.step();
    assert_eq!(*host.raised.borrow(), [1, 1]);
}

#[test]
fn full_completion_queue_defers_fetching_until_there_is_room() {
    let mut host = Host::instant();
    let queue = host.make_queue(4, true);
    for round in 0..10 {
        let first = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
        let second = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
        host.ring(queue);
        host.settle();
        if round == 0 {
            host.put(queue, transfer(NvmOpcode::READ, 0, 8));
            host.ring(queue);
            host.settle();
            let last = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
            host.ring(queue);
            host.settle();
            assert_eq!(host.engine.counters().queues()[1].polled, 3);
            assert!(host.engine.is_idle());
            host.completions(queue);
            host.acknowledge(queue);
            host.settle();
            assert_eq!(host.completions(queue), [last]);
        } else {
            assert_eq!(host.completions(queue), [first, second]);
        }
        host.acknowledge(queue);
    }
}

#[test]
fn shadow_doorbell_while_polling_never_asks_for_a_trap() {
    let mut host = Host::instant();
    host.use_shadow();
    let queue = host.make_queue(16, true);
    for round in 0..1000 {
        host.put(queue, transfer(NvmOpcode::READ, 0, 8));
        assert!(!host.ring_shadow(queue), "round {round}");
        host.settle();
        assert_eq!(host.completions(queue).len(), 1);
        let head = host.io[queue - 1].head;
        let slot = DOORBELL_PAGE + 8 * queue as u64 + 4;
        host.ram.write(slot, &head.to_le_bytes()).unwrap();
    }
    assert_eq!(host.engine.counters().summary().doorbell_traps, 0);
}

#[test]
fn prepare_sleep_makes_the_next_doorbell_trap() {
    let mut host = Host::instant();
    host.use_shadow();
    let queue = host.make_queue(16, true);
    host.settle();
    host.step();
    assert!(host.engine.prepare_sleep());
    host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    assert!(host.ring_shadow(queue));
    host.ring(queue);
    host.engine.resume_polling();
    host.settle();
    assert_eq!(host.completions(queue).len(), 1);
    host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    assert!(!host.ring_shadow(queue));
}

#[test]
fn prepare_sleep_with_a_late_doorbell_stays_awake() {
    let mut host = Host::instant();
    host.use_shadow();
    let queue = host.make_queue(16, true);
    host.settle();
    host.step();
    host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    assert!(!host.ring_shadow(queue));
    assert!(!host.engine.prepare_sleep());
    host.settle();
    assert_eq!(host.completions(queue).len(), 1);
}

#[test]
fn prepare_sleep_while_completions_only_wait_is_allowed_but_not_idle() {
    let mut host = Host::new(slow(1, 1_000_000));
    let queue = host.make_queue(16, true);
    host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring(queue);
    host.step();
    host.step();
    assert!(host.engine.prepare_sleep());
    assert!(!host.engine.is_idle());
}

#[test]
fn shadow_value_beyond_the_queue_is_reported_once() {
    let mut host = Host::instant();
    host.use_shadow();
    let queue = host.make_queue(16, true);
    host.put(0, command(0x0C, 0));
    host.ring(0);
    host.settle();
    let slot = DOORBELL_PAGE + 8 * queue as u64;
    host.ram.write(slot, &0xFFFF_FFF0u32.to_le_bytes()).unwrap();
    host.settle();
    let event = host.take(0).expect("no event");
    assert_eq!(event.dw0.get(), 0x0001_0100);
    host.settle();
    assert!(host.step().is_none());
    assert!(host.engine.is_idle());
}

#[test]
fn completions_name_the_head_not_the_tail() {
    let mut host = Host::instant();
    let queue = host.make_queue(64, true);
    for _ in 0..40 {
        host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    }
    host.ring(queue);
    host.step();
    let taken = std::iter::from_fn(|| host.take(queue));
    let heads: Vec<_> = taken.map(|cqe| usize::from(cqe.sq_head.get())).collect();
    // One burst. The host may use no more entries anew than were fetched for it.
    let fetched = heads.len();
    assert!((1..40).contains(&fetched), "{fetched}");
    assert!(heads.iter().all(|head| *head <= fetched), "{heads:?}");
}

#[test]
fn abort_of_a_waiting_command_completes_it_first() {
    let mut host = Host::new(slow(1, 1_000_000));
    let queue = host.make_queue(16, true);
    let cid = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring(queue);
    host.step();
    let abort = abort_of(host.io[queue - 1].qid, cid);
    assert_eq!(host.admin(abort), (Status::SUCCESS, 0));
    let cqe = host.take(queue).expect("no completion");
    assert_eq!(
        (cqe.cid.get(), status(&cqe)),
        (cid, Status::ABORT_REQUESTED)
    );
    host.now += 2_000_000;
    host.settle();
    assert!(host.take(queue).is_none());
}

#[test]
fn abort_leaves_the_same_identifier_on_another_queue_alone() {
    let mut host = Host::new(slow(2, 1_000_000));
    let (first, second) = (host.make_queue(16, true), host.make_queue(16, true));
    let cid = host.put(first, transfer(NvmOpcode::READ, 0, 8));
    host.next_cid = cid - 1;
    assert_eq!(host.put(second, transfer(NvmOpcode::READ, 0, 8)), cid);
    host.ring(first);
    host.ring(second);
    host.step();
    let abort = abort_of(host.io[second - 1].qid, cid);
    assert_eq!(host.admin(abort), (Status::SUCCESS, 0));
    let cqe = host.take(second).expect("no completion");
    assert_eq!(status(&cqe), Status::ABORT_REQUESTED);
    assert!(host.take(first).is_none());
    host.now += 2_000_000;
    host.settle();
    let cqe = host.take(first).expect("no completion");
    assert_eq!((cqe.cid.get(), status(&cqe)), (cid, Status::SUCCESS));
}

#[test]
fn abort_of_a_queued_command_waits_for_its_turn() {
    let mut host = Host::instant();
    let queue = host.make_queue(4, true);
    for _ in 0..3 {
        host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    }
    host.ring(queue);
    host.settle();
    let cid = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring(queue);
    let abort = abort_of(host.io[queue - 1].qid, cid);
    host.put(0, abort);
    host.ring(0);
    host.settle();
    assert!(host.take(0).is_none());
    host.completions(queue);
    host.acknowledge(queue);
    host.settle();
    let cqe = host.take(queue).expect("no completion");
    assert_eq!(
        (cqe.cid.get(), status(&cqe)),
        (cid, Status::ABORT_REQUESTED)
    );
    assert_eq!(host.take(0).map(|cqe| cqe.dw0.get()), Some(0));
}

#[test]
fn abort_of_nothing_says_not_aborted() {
    let mut host = Host::instant();
    let abort = SubmissionQueueEntry {
        cdw10: (77 << 16 | 1).into(),
        ..command(0x08, 0)
    };
    assert_eq!(host.admin(abort), (Status::SUCCESS, 1));
}

#[test]
fn delete_sq_completes_what_is_under_way_first() {
    let mut host = Host::new(slow(1, 1_000_000));
    let queue = host.make_queue(16, true);
    let cids: Vec<u16> = (0..3)
        .map(|_| host.put(queue, transfer(NvmOpcode::READ, 0, 8)))
        .collect();
    host.ring(queue);
    host.step();
    let delete = SubmissionQueueEntry {
        cdw10: 1.into(),
        ..command(0x00, 0)
    };
    assert!(host.admin(delete).0.is_success());
    for cid in cids {
        let cqe = host.take(queue).expect("no completion");
        assert_eq!(
            (cqe.cid.get(), status(&cqe)),
            (cid, Status::ABORTED_SQ_DELETION)
        );
    }
}

#[test]
fn reset_with_commands_under_way_drops_them() {
    let mut host = Host::new(slow(1, 1_000_000));
    let queue = host.make_queue(16, true);
    host.use_shadow();
    host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring_shadow(queue);
    host.step();
    host.engine.write_register(host.now, 0x14, 4, 0x0046_0000);
    assert_eq!(host.engine.read_register(0x1C, 4), 0);
    host.ram.write(0x1000, &vec![0x5A; 0x6000]).unwrap();
    host.now += 2_000_000;
    assert_eq!(host.step(), None);
    assert!(host.take(queue).is_none());
    assert_eq!(host.word(EVENT_PAGE + 8), 0x5A5A_5A5A);
    host.start();
    let queue = host.make_queue(16, true);
    let cid = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring(queue);
    host.step();
    host.now += 2_000_000;
    host.settle();
    assert_eq!(host.completions(queue), [cid]);
}

#[test]
fn burst_of_one_queue_does_not_keep_another_waiting() {
    let mut host = Host::instant();
    let (busy, other) = (host.make_queue(512, true), host.make_queue(16, true));
    for _ in 0..500 {
        host.put(busy, transfer(NvmOpcode::READ, 0, 1));
    }
    host.ring(busy);
    host.put(other, transfer(NvmOpcode::READ, 0, 1));
    host.ring(other);
    assert_eq!(host.step(), Some(host.now));
    assert_eq!(host.completions(other).len(), 1);
    assert_eq!(host.completions(busy).len(), 16);
}

#[test]
fn transfer_to_address_0_is_a_data_transfer_error() {
    let mut host = Host::instant();
    let queue = host.make_queue(16, true);
    for opcode in [NvmOpcode::READ, NvmOpcode::WRITE] {
        let mut command = transfer(opcode, 0, 1);
        command.prp1 = 0.into();
        assert_eq!(host.run(queue, command), Status::DATA_TRANSFER_ERROR);
    }
}

#[test]
fn shutdown_with_commands_under_way_posts_nothing_afterwards() {
    let mut host = Host::new(slow(4, 5_000));
    let queue = host.make_queue(64, true);
    host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring(queue);
    host.settle();
    host.engine.write_register(host.now, 0x14, 4, 0x0046_4001);
    assert_eq!(host.engine.read_register(0x1C, 4) >> 2 & 3, 2);
    host.now += 10_000;
    host.settle();
    assert!(host.take(queue).is_none());
}

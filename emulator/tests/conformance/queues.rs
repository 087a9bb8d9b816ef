// SPDX-License-Identifier: Apache-2.0 OR MIT
//! I/O queues: made, used round and round, filled up, deleted (3.3, 5.4 to 5.7).

use crate::host::*;

fn refused(command: impl FnOnce(&mut Host) -> Command) -> Status {
    let mut host = Host::new();
    let command = command(&mut host);
    host.admin(command).status()
}

#[test]
fn create_cq_identifier_errors() {
    assert_eq!(
        refused(|host| create_cq(0, 16, host.page(), None)),
        INVALID_QUEUE_ID
    );
    assert_eq!(
        refused(|host| create_cq(QUEUE_PAIRS + 1, 16, host.page(), None)),
        INVALID_QUEUE_ID
    );
    assert_eq!(
        refused(|host| create_cq(0xFFFF, 16, host.page(), None)),
        INVALID_QUEUE_ID
    );
    let in_use = refused(|host| {
        let page = host.page();
        host.admin_ok(create_cq(1, 16, page, None));
        create_cq(1, 16, page, None)
    });
    assert_eq!(in_use, INVALID_QUEUE_ID);
}

#[test]
fn create_cq_size_errors() {
    for entries in [1, QUEUE_DEPTH + 1, 0x1_0000] {
        let status = refused(|host| create_cq(1, entries, host.page(), None));
        assert_eq!(status, INVALID_QUEUE_SIZE, "{entries} entries");
    }
}

#[test]
fn create_cq_address_errors() {
    let unaligned = refused(|host| create_cq(1, 16, host.page() + 64, None));
    assert!([INVALID_FIELD, PRP_OFFSET_INVALID].contains(&unaligned));
    for address in [0, RAM - PAGE, RAM + RAM_BYTES as u64, !0xFFF] {
        let status = refused(|_| create_cq(1, 16, address, None));
        assert_ne!(status, SUCCESS, "{address:#x}");
    }
    let scattered = refused(|host| create_cq(1, 16, host.page(), None).cdw(11, 0));
    assert_eq!(scattered, INVALID_FIELD, "PC = 0");
}

#[test]
fn create_cq_vector_beyond_table_refused() {
    let status = refused(|host| create_cq(1, 16, host.page(), Some(VECTORS)));
    assert_eq!(status, INVALID_VECTOR);
    let status = refused(|host| create_cq(1, 16, host.page(), Some(VECTORS - 1)));
    assert_eq!(status, SUCCESS);
}

#[test]
fn create_sq_errors() {
    let missing = refused(|host| create_sq(1, 16, host.page(), 1));
    assert_eq!(missing, COMPLETION_QUEUE_INVALID);
    let with_cq = |command: fn(&mut Host) -> Command| {
        refused(|host| {
            let page = host.page();
            host.admin_ok(create_cq(1, 16, page, None));
            command(host)
        })
    };
    assert_eq!(
        with_cq(|host| create_sq(1, 16, host.page(), 0)),
        COMPLETION_QUEUE_INVALID
    );
    assert_eq!(
        with_cq(|host| create_sq(0, 16, host.page(), 1)),
        INVALID_QUEUE_ID
    );
    assert_eq!(
        with_cq(|host| create_sq(QUEUE_PAIRS + 1, 16, host.page(), 1)),
        INVALID_QUEUE_ID
    );
    assert_eq!(
        with_cq(|host| create_sq(1, 1, host.page(), 1)),
        INVALID_QUEUE_SIZE
    );
    assert_eq!(
        with_cq(|host| create_sq(1, QUEUE_DEPTH + 1, host.page(), 1)),
        INVALID_QUEUE_SIZE
    );
    assert_eq!(
        with_cq(|host| create_sq(1, 16, host.page(), 1).cdw(11, 1 << 16)),
        INVALID_FIELD
    );
    assert_ne!(
        with_cq(|_| create_sq(1, 16, RAM + RAM_BYTES as u64, 1)),
        SUCCESS
    );
}

#[test]
fn delete_errors() {
    assert_eq!(refused(|_| delete_sq(1)), INVALID_QUEUE_ID);
    assert_eq!(refused(|_| delete_cq(1)), INVALID_QUEUE_ID);
    assert_eq!(refused(|_| delete_sq(0)), INVALID_QUEUE_ID);
    assert_eq!(refused(|_| delete_cq(0)), INVALID_QUEUE_ID);
    assert_eq!(refused(|_| delete_sq(0xFFFF)), INVALID_QUEUE_ID);
}

#[test]
fn delete_cq_with_sq_attached_refused_until_sq_is_gone() {
    let mut host = Host::new();
    host.create_queue(1, 16, None);
    assert_eq!(host.admin(delete_cq(1)).status(), INVALID_QUEUE_DELETION);
    host.admin_ok(delete_sq(1));
    host.admin_ok(delete_cq(1));
    let mut queue = host.create_queue(1, 16, None);
    let flush = Command::new(FLUSH).nsid(1);
    assert_eq!(host.run(&mut queue, flush).status(), SUCCESS);
}

#[test]
fn every_queue_pair_works() {
    let mut host = Host::new();
    for id in 1..=QUEUE_PAIRS {
        let mut queue = host.create_queue(id, QUEUE_DEPTH, Some(id));
        let flush = Command::new(FLUSH).nsid(1);
        assert_eq!(host.run(&mut queue, flush).status(), SUCCESS);
    }
}

#[test]
fn smallest_queue_goes_round_and_flips_phase() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 2, None);
    for round in 1_u16..50 {
        let completion = host.run(&mut queue, Command::new(FLUSH).nsid(1));
        assert_eq!(completion.status(), SUCCESS);
        assert_eq!(completion.sq_head, round % 2, "SQHD");
    }
}

#[test]
fn admin_queue_goes_round() {
    let mut host = Host::new();
    for _ in 0..ADMIN_ENTRIES * 3 {
        host.admin_ok(get_feature(0x07, 0));
    }
}

#[test]
fn several_queues_share_one_cq() {
    let mut host = Host::new();
    let mut first = host.create_queue(1, 16, None);
    let sq = host.page();
    host.admin_ok(create_sq(2, 16, sq, 1));
    let mut second = Queue { id: 2, sq, ..first };
    let flush = Command::new(FLUSH).nsid(1);
    let cids = [
        host.submit(&mut first, flush),
        host.submit(&mut second, flush),
    ];
    host.settle();
    let mut seen = [1, 2].map(|_| {
        let completion = host.reap(&mut first).expect("both complete on CQ 1");
        (completion.sq_id, completion.cid)
    });
    seen.sort_unstable();
    assert_eq!(seen, [(1, cids[0]), (2, cids[1])]);
    assert_eq!(host.admin(delete_cq(1)).status(), INVALID_QUEUE_DELETION);
}

#[test]
fn full_completion_queue_is_never_overrun_and_goes_on() {
    let mut host = Host::new();
    let sq = host.pages(1);
    let cq = host.page();
    host.admin_ok(create_cq(1, 4, cq, None));
    host.admin_ok(create_sq(1, 32, sq, 1));
    let mut submissions = Queue {
        id: 1,
        sq,
        cq,
        entries: 32,
        ..host.admin
    };
    (submissions.tail, submissions.head, submissions.phase) = (0, 0, 1);
    for _ in 0..20 {
        host.stage(&mut submissions, Command::new(FLUSH).nsid(1));
    }
    host.ring(&submissions);
    host.settle();

    let mut completions = Queue {
        entries: 4,
        ..submissions
    };
    let phases: Vec<u8> = (0..4)
        .map(|n| host.get(cq + n * 16 + 14, 1)[0] & 1)
        .collect();
    assert_eq!(phases, [1, 1, 1, 0], "one entry stays free");
    let mut reaped = 0;
    while reaped < 20 {
        host.settle();
        let completion = host.reap(&mut completions).expect("it goes on");
        assert_eq!(completion.status(), SUCCESS);
        reaped += 1;
    }
    host.settle();
    assert_eq!(host.reap(&mut completions), None);
}

#[test]
fn interrupt_once_a_sweep_and_only_on_its_own_vector() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 32, Some(3));
    host.device.raised();
    for _ in 0..10 {
        host.stage(&mut queue, Command::new(FLUSH).nsid(1));
    }
    host.ring(&queue);
    host.settle();
    assert_eq!(host.device.raised(), [3]);
}

#[test]
fn polled_queue_never_interrupts() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 32, None);
    host.device.raised();
    for _ in 0..100 {
        let completion = host.run(&mut queue, Command::new(FLUSH).nsid(1));
        assert_eq!(completion.status(), SUCCESS);
    }
    assert!(host.device.raised().is_empty());
}

#[test]
fn admin_completions_interrupt_on_vector_0() {
    let mut host = Host::new();
    host.device.raised();
    host.admin_ok(get_feature(0x07, 0));
    assert_eq!(host.device.raised(), [0]);
}

#[test]
fn unknown_opcodes_refused_with_their_queue() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    for opcode in [0x03, 0x0F, 0x7F, 0xFF] {
        let status = host.admin(Command::new(opcode)).status();
        assert_eq!(status, INVALID_OPCODE, "admin {opcode:#x}");
    }
    for opcode in [0x03, 0x0F, 0x7F, 0xFF] {
        let status = host.run(&mut queue, Command::new(opcode).nsid(1)).status();
        assert_eq!(status, INVALID_OPCODE, "I/O {opcode:#x}");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The engine, played by a small host: an admin queue, I/O queues, a clock that stands still.

use super::*;
use crate::controller::BlockSize;
use crate::media::{
    Backing, FlushStart, FlushTicket, Media, MediaConfig, MediaError, PowerCut, open,
};
use crate::spec::{CompletionQueueEntry, NvmOpcode, SubmissionQueueEntry};
use crate::timing::Service;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use vm_memory::VolatileSlice;
use zerocopy::{FromBytes, IntoBytes};

const RAM_BYTES: usize = 8 << 20;
const ADMIN_SQ: u64 = 0x1000;
const ADMIN_CQ: u64 = 0x2000;
const BUFFER: u64 = 0x10_0000;
const DOORBELL_PAGE: u64 = 0x3000;
const EVENT_PAGE: u64 = 0x4000;
const ADMIN_ENTRIES: u32 = 32;

#[derive(Default)]
struct Raised(Rc<RefCell<Vec<u16>>>);

impl InterruptSink for Raised {
    fn raise(&mut self, vector: u16) {
        self.0.borrow_mut().push(vector);
    }
}

struct Pair {
    qid: u16,
    sq: u64,
    cq: u64,
    entries: u32,
    tail: u32,
    head: u32,
    phase: bool,
}

impl Pair {
    fn new(qid: u16, sq: u64, cq: u64, entries: u32) -> Self {
        Self {
            qid,
            sq,
            cq,
            entries,
            tail: 0,
            head: 0,
            phase: true,
        }
    }
}

struct Host {
    engine: Engine,
    ram: GuestRam,
    now: Nanos,
    admin: Pair,
    io: Vec<Pair>,
    raised: Rc<RefCell<Vec<u16>>>,
    next_cid: u16,
}

fn command(opcode: u8, nsid: u32) -> SubmissionQueueEntry {
    SubmissionQueueEntry {
        opcode,
        nsid: nsid.into(),
        ..SubmissionQueueEntry::default()
    }
}

fn transfer(opcode: NvmOpcode, slba: u32, blocks: u32) -> SubmissionQueueEntry {
    SubmissionQueueEntry {
        prp1: BUFFER.into(),
        prp2: (BUFFER + 4096).into(),
        cdw10: slba.into(),
        cdw12: (blocks - 1).into(),
        ..command(opcode.0, 1)
    }
}

fn ram_namespace() -> NamespaceConfig {
    NamespaceConfig {
        media: open(&MediaConfig::new(Backing::Ram, 1 << 20)).unwrap(),
        block_size: BlockSize::B512,
    }
}

impl Host {
    fn new(profile: Profile) -> Self {
        Self::with(profile, vec![ram_namespace()], ControllerConfig::default())
    }

    fn instant() -> Self {
        Self::new(Profile::uniform("test", 1, 0, Service::default()))
    }

    fn with(profile: Profile, media: Vec<NamespaceConfig>, config: ControllerConfig) -> Self {
        let ram = GuestRam::anonymous(&[(0, RAM_BYTES)]).unwrap();
        let mut engine = Engine::new(config, media, Model::new(profile, 1)).unwrap();
        engine.attach(ram.clone());
        let mut host = Self {
            engine,
            ram,
            now: 1_000_000,
            admin: Pair::new(0, ADMIN_SQ, ADMIN_CQ, ADMIN_ENTRIES),
            io: Vec::new(),
            raised: Rc::default(),
            next_cid: 100,
        };
        host.start();
        host
    }

    fn start(&mut self) {
        let zeros = vec![0; 0x10_0000 - 0x1000];
        self.ram.write(0x1000, &zeros).unwrap();
        self.admin = Pair::new(0, ADMIN_SQ, ADMIN_CQ, ADMIN_ENTRIES);
        self.io.clear();
        let size = u64::from(ADMIN_ENTRIES - 1);
        self.engine
            .write_register(self.now, 0x24, 4, size << 16 | size);
        self.engine.write_register(self.now, 0x28, 8, ADMIN_SQ);
        self.engine.write_register(self.now, 0x30, 8, ADMIN_CQ);
        self.engine.write_register(self.now, 0x14, 4, 0x0046_0001);
        assert_eq!(self.engine.read_register(0x1C, 4), 1);
    }

    fn step(&mut self) -> Option<Nanos> {
        let mut sink = Raised(self.raised.clone());
        self.engine.step(self.now, &mut sink)
    }

    /// Steps until nothing more can happen at this time.
    fn settle(&mut self) {
        while self.step() == Some(self.now) {}
    }

    fn put(&mut self, which: usize, mut sqe: SubmissionQueueEntry) -> u16 {
        self.next_cid += 1;
        sqe.cid = self.next_cid.into();
        let pair = self.pair(which);
        let at = pair.sq + u64::from(pair.tail) * 64;
        pair.tail = (pair.tail + 1) % pair.entries;
        self.ram.write(at, sqe.as_bytes()).unwrap();
        self.next_cid
    }

    fn pair(&mut self, which: usize) -> &mut Pair {
        match which {
            0 => &mut self.admin,
            _ => &mut self.io[which - 1],
        }
    }

    fn ring(&mut self, which: usize) {
        let pair = self.pair(which);
        let (offset, tail) = (DOORBELLS + 8 * u64::from(pair.qid), pair.tail);
        self.engine.write_register(self.now, offset, 4, tail.into());
    }

    /// Takes the next completion without telling the device.
    fn take(&mut self, which: usize) -> Option<CompletionQueueEntry> {
        let ram = self.ram.clone();
        let pair = self.pair(which);
        let mut bytes = [0; 16];
        ram.read(pair.cq + u64::from(pair.head) * 16, &mut bytes)
            .unwrap();
        let cqe = CompletionQueueEntry::read_from_bytes(&bytes).unwrap();
        if (cqe.status_and_phase.get() & 1 == 1) != pair.phase {
            return None;
        }
        pair.head = (pair.head + 1) % pair.entries;
        if pair.head == 0 {
            pair.phase = !pair.phase;
        }
        Some(cqe)
    }

    fn acknowledge(&mut self, which: usize) {
        let pair = self.pair(which);
        let (offset, head) = (DOORBELLS + 8 * u64::from(pair.qid) + 4, pair.head);
        self.engine.write_register(self.now, offset, 4, head.into());
    }

    fn admin(&mut self, sqe: SubmissionQueueEntry) -> (Status, u32) {
        let cid = self.put(0, sqe);
        self.ring(0);
        self.settle();
        let cqe = self.take(0).expect("no completion");
        self.acknowledge(0);
        assert_eq!(cqe.cid.get(), cid);
        (status(&cqe), cqe.dw0.get())
    }

    fn make_queue(&mut self, entries: u32, polled: bool) -> usize {
        let qid = u16::try_from(self.io.len() + 1).unwrap();
        let base = 0x20_0000 + u64::from(qid) * 0x2_0000;
        let (sq, cq) = (base, base + 0x1_0000);
        self.ram.write(base, &vec![0; 0x2_0000]).unwrap();
        let size = u32::from(qid) | (entries - 1) << 16;
        let interrupt = if polled { 1 } else { u32::from(qid) << 16 | 3 };
        let create_cq = SubmissionQueueEntry {
            prp1: cq.into(),
            cdw10: size.into(),
            cdw11: interrupt.into(),
            ..command(0x05, 0)
        };
        assert!(self.admin(create_cq).0.is_success());
        let create_sq = SubmissionQueueEntry {
            prp1: sq.into(),
            cdw10: size.into(),
            cdw11: (u32::from(qid) << 16 | 1).into(),
            ..command(0x01, 0)
        };
        assert!(self.admin(create_sq).0.is_success());
        self.io.push(Pair::new(qid, sq, cq, entries));
        self.io.len()
    }

    fn run(&mut self, which: usize, sqe: SubmissionQueueEntry) -> Status {
        self.put(which, sqe);
        self.ring(which);
        self.settle();
        let cqe = self.take(which).expect("no completion");
        self.acknowledge(which);
        status(&cqe)
    }

    fn completions(&mut self, which: usize) -> Vec<u16> {
        std::iter::from_fn(|| self.take(which))
            .map(|cqe| cqe.cid.get())
            .collect()
    }

    fn use_shadow(&mut self) {
        let config = SubmissionQueueEntry {
            prp1: DOORBELL_PAGE.into(),
            prp2: EVENT_PAGE.into(),
            ..command(0x7C, 0)
        };
        assert!(self.admin(config).0.is_success());
    }

    fn word(&self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.ram.read(address, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    /// Rings by shadow doorbell; returns whether the host would have to trap as well.
    fn ring_shadow(&mut self, which: usize) -> bool {
        let pair = self.pair(which);
        let (slot, new) = (8 * u64::from(pair.qid), pair.tail);
        let old = self.word(DOORBELL_PAGE + slot);
        self.ram
            .write(DOORBELL_PAGE + slot, &new.to_le_bytes())
            .unwrap();
        let event = self.word(EVENT_PAGE + slot);
        let moved = new.wrapping_sub(old) & 0xFFFF;
        (new.wrapping_sub(event).wrapping_sub(1) & 0xFFFF) < moved
    }
}

fn status(cqe: &CompletionQueueEntry) -> Status {
    Status(cqe.status_and_phase.get() >> 1).without_flags()
}

fn slow(units: u16, service: Nanos) -> Profile {
    let service = Service {
        time: service,
        jitter: 0,
    };
    Profile::uniform("slow", units, 0, service)
}

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
fn abort_of_a_waiting_command_completes_it_first() {
    let mut host = Host::new(slow(1, 1_000_000));
    let queue = host.make_queue(16, true);
    let cid = host.put(queue, transfer(NvmOpcode::READ, 0, 8));
    host.ring(queue);
    host.step();
    let abort = SubmissionQueueEntry {
        cdw10: (u32::from(cid) << 16 | queue as u32).into(),
        ..command(0x08, 0)
    };
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
    let abort = SubmissionQueueEntry {
        cdw10: (u32::from(cid) << 16 | queue as u32).into(),
        ..command(0x08, 0)
    };
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

/// A medium whose flushes end when the test says so.
struct Held {
    tickets: Arc<Mutex<Vec<FlushTicket>>>,
    ended: Arc<Mutex<Vec<FlushTicket>>>,
    fail: bool,
}

impl Media for Held {
    fn size(&self) -> u64 {
        1 << 20
    }
    fn read(&mut self, _: u64, _: &VolatileSlice<'_>) -> Result<(), MediaError> {
        Ok(())
    }
    fn write(&mut self, _: u64, _: &VolatileSlice<'_>) -> Result<(), MediaError> {
        Ok(())
    }
    fn write_zeroes(&mut self, _: u64, _: u64, _: bool) -> Result<(), MediaError> {
        Ok(())
    }
    fn start_flush(&mut self, ticket: FlushTicket) -> Result<FlushStart, MediaError> {
        self.tickets.lock().unwrap().push(ticket);
        Ok(FlushStart::Pending)
    }
    fn poll_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)> {
        let ticket = self.ended.lock().unwrap().pop()?;
        let result = if self.fail {
            Err(MediaError::Write(std::io::Error::other("gone")))
        } else {
            Ok(())
        };
        Some((ticket, result))
    }
    fn set_volatile_cache(&mut self, _: bool) {}
    fn power_cut(&mut self, _: u64) -> PowerCut {
        PowerCut::default()
    }
}

type Tickets = Arc<Mutex<Vec<FlushTicket>>>;

fn held_host(fail: bool) -> (Host, Tickets, Tickets) {
    let (tickets, ended) = (Tickets::default(), Tickets::default());
    let media = Held {
        tickets: tickets.clone(),
        ended: ended.clone(),
        fail,
    };
    let namespace = NamespaceConfig {
        media: Box::new(media),
        block_size: BlockSize::B512,
    };
    let profile = Profile::uniform("test", 1, 0, Service::default());
    let host = Host::with(profile, vec![namespace], ControllerConfig::default());
    (host, tickets, ended)
}

#[test]
fn flush_completes_when_the_medium_is_stable() {
    let (mut host, tickets, ended) = held_host(false);
    let queue = host.make_queue(16, true);
    let cid = host.put(queue, command(0x00, 0xFFFF_FFFF));
    host.ring(queue);
    host.settle();
    assert!(host.take(queue).is_none());
    assert!(!host.engine.is_idle());
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    assert_eq!(host.completions(queue), [cid]);
}

#[test]
fn fua_write_whose_flush_fails_is_a_write_fault() {
    let (mut host, tickets, ended) = held_host(true);
    let queue = host.make_queue(16, true);
    let mut write = transfer(NvmOpcode::WRITE, 0, 1);
    write.cdw12 = (1 << 30).into();
    host.put(queue, write);
    host.ring(queue);
    host.settle();
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    let cqe = host.take(queue).expect("no completion");
    assert_eq!(status(&cqe), Status::WRITE_FAULT);
}

#[test]
fn shutdown_is_complete_when_the_media_are_flushed() {
    let (mut host, tickets, ended) = held_host(false);
    host.engine.write_register(host.now, 0x14, 4, 0x0046_4001);
    assert_eq!(host.engine.read_register(0x1C, 4) >> 2 & 3, 1);
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    assert_eq!(host.engine.read_register(0x1C, 4) >> 2 & 3, 2);
}

#[test]
fn flush_dropped_by_a_reset_completes_nothing_later() {
    let (mut host, tickets, ended) = held_host(false);
    let queue = host.make_queue(16, true);
    host.put(queue, command(0x00, 1));
    host.ring(queue);
    host.settle();
    host.engine.write_register(host.now, 0x14, 4, 0x0046_0000);
    host.start();
    let queue = host.make_queue(16, true);
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    assert!(host.take(queue).is_none());
    assert!(host.engine.is_idle() || host.step().is_none());
}

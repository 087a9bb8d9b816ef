// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small host: an admin queue, I/O queues, a clock that stands still.

use std::cell::RefCell;
use std::rc::Rc;

use zerocopy::{FromBytes, IntoBytes};

use super::super::*;
use crate::controller::BlockSize;
use crate::media::{Backing, MediaConfig, open};
use crate::spec::{CompletionQueueEntry, NvmOpcode, SubmissionQueueEntry};
use crate::timing::Service;

pub(super) const RAM_BYTES: usize = 8 << 20;
pub(super) const ADMIN_SQ: u64 = 0x1000;
pub(super) const ADMIN_CQ: u64 = 0x2000;
pub(super) const BUFFER: u64 = 0x10_0000;
pub(super) const DOORBELL_PAGE: u64 = 0x3000;
pub(super) const EVENT_PAGE: u64 = 0x4000;
pub(super) const ADMIN_ENTRIES: u32 = 32;

#[derive(Default)]
pub(super) struct Raised(Rc<RefCell<Vec<u16>>>);

impl InterruptSink for Raised {
    fn raise(&mut self, vector: u16) {
        self.0.borrow_mut().push(vector);
    }
}

pub(super) struct Pair {
    pub(super) qid: u16,
    pub(super) sq: u64,
    pub(super) cq: u64,
    pub(super) entries: u32,
    pub(super) tail: u32,
    pub(super) head: u32,
    pub(super) phase: bool,
}

impl Pair {
    pub(super) fn new(qid: u16, sq: u64, cq: u64, entries: u32) -> Self {
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

pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) ram: GuestRam,
    pub(super) now: Nanos,
    pub(super) admin: Pair,
    pub(super) io: Vec<Pair>,
    pub(super) raised: Rc<RefCell<Vec<u16>>>,
    pub(super) next_cid: u16,
}

pub(super) fn command(opcode: u8, nsid: u32) -> SubmissionQueueEntry {
    SubmissionQueueEntry {
        opcode,
        nsid: nsid.into(),
        ..SubmissionQueueEntry::default()
    }
}

pub(super) fn abort_of(sqid: u16, cid: u16) -> SubmissionQueueEntry {
    SubmissionQueueEntry {
        cdw10: (u32::from(cid) << 16 | u32::from(sqid)).into(),
        ..command(0x08, 0)
    }
}

pub(super) fn transfer(opcode: NvmOpcode, slba: u32, blocks: u32) -> SubmissionQueueEntry {
    SubmissionQueueEntry {
        prp1: BUFFER.into(),
        prp2: (BUFFER + 4096).into(),
        cdw10: slba.into(),
        cdw12: (blocks - 1).into(),
        ..command(opcode.0, 1)
    }
}

pub(super) fn ram_namespace() -> NamespaceConfig {
    NamespaceConfig {
        media: open(&MediaConfig::new(Backing::Ram, 1 << 20)).unwrap(),
        block_size: BlockSize::B512,
    }
}

impl Host {
    pub(super) fn new(profile: Profile) -> Self {
        Self::with(profile, vec![ram_namespace()], ControllerConfig::default())
    }

    pub(super) fn instant() -> Self {
        Self::new(Profile::uniform("test", 1, 0, &Service::default()))
    }

    pub(super) fn with(
        profile: Profile,
        media: Vec<NamespaceConfig>,
        config: ControllerConfig,
    ) -> Self {
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

    pub(super) fn start(&mut self) {
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

    pub(super) fn step(&mut self) -> Option<Nanos> {
        let mut sink = Raised(self.raised.clone());
        self.engine.step(self.now, &mut sink)
    }

    /// Steps until nothing more can happen at this time.
    pub(super) fn settle(&mut self) {
        while self.step() == Some(self.now) {}
    }

    pub(super) fn put(&mut self, which: usize, mut sqe: SubmissionQueueEntry) -> u16 {
        self.next_cid += 1;
        sqe.cid = self.next_cid.into();
        let pair = self.pair(which);
        let at = pair.sq + u64::from(pair.tail) * 64;
        pair.tail = (pair.tail + 1) % pair.entries;
        self.ram.write(at, sqe.as_bytes()).unwrap();
        self.next_cid
    }

    pub(super) fn pair(&mut self, which: usize) -> &mut Pair {
        match which {
            0 => &mut self.admin,
            _ => &mut self.io[which - 1],
        }
    }

    pub(super) fn ring(&mut self, which: usize) {
        let pair = self.pair(which);
        let (offset, tail) = (DOORBELLS + 8 * u64::from(pair.qid), pair.tail);
        self.engine.write_register(self.now, offset, 4, tail.into());
    }

    /// Takes the next completion without telling the device.
    pub(super) fn take(&mut self, which: usize) -> Option<CompletionQueueEntry> {
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

    pub(super) fn acknowledge(&mut self, which: usize) {
        let pair = self.pair(which);
        let (offset, head) = (DOORBELLS + 8 * u64::from(pair.qid) + 4, pair.head);
        self.engine.write_register(self.now, offset, 4, head.into());
    }

    pub(super) fn admin(&mut self, sqe: SubmissionQueueEntry) -> (Status, u32) {
        let cid = self.put(0, sqe);
        self.ring(0);
        self.settle();
        let cqe = self.take(0).expect("no completion");
        self.acknowledge(0);
        assert_eq!(cqe.cid.get(), cid);
        (status(&cqe), cqe.dw0.get())
    }

    pub(super) fn make_queue(&mut self, entries: u32, polled: bool) -> usize {
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

    pub(super) fn run(&mut self, which: usize, sqe: SubmissionQueueEntry) -> Status {
        self.put(which, sqe);
        self.ring(which);
        self.settle();
        let cqe = self.take(which).expect("no completion");
        self.acknowledge(which);
        status(&cqe)
    }

    pub(super) fn completions(&mut self, which: usize) -> Vec<u16> {
        std::iter::from_fn(|| self.take(which))
            .map(|cqe| cqe.cid.get())
            .collect()
    }

    pub(super) fn use_shadow(&mut self) {
        let config = SubmissionQueueEntry {
            prp1: DOORBELL_PAGE.into(),
            prp2: EVENT_PAGE.into(),
            ..command(0x7C, 0)
        };
        assert!(self.admin(config).0.is_success());
    }

    pub(super) fn word(&self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.ram.read(address, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    /// Rings by shadow doorbell; returns whether the host would have to trap as well.
    pub(super) fn ring_shadow(&mut self, which: usize) -> bool {
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

pub(super) fn status(cqe: &CompletionQueueEntry) -> Status {
    Status(cqe.status_and_phase.get() >> 1).without_flags()
}

pub(super) fn slow(units: u16, service: Nanos) -> Profile {
    Profile::uniform("slow", units, 0, &Service::uniform(service, 0))
}

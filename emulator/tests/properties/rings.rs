// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ring arithmetic against queues without any: for small sizes every reachable state and every
//! doorbell value, for all sizes random operations.

use std::collections::VecDeque;

use emulator::controller::{CompletionQueueRequest, QueueTable, SubmissionQueueRequest};
use emulator::dma::GuestRam;
use emulator::spec::{CompletionQueueEntry, Status};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const SQ: u64 = 0x10_0000;
const CQ: u64 = 0x60_0000;

/// Room for the largest queues there are, and nothing behind them.
fn ram() -> GuestRam {
    GuestRam::anonymous(&[(SQ, 65536 * 64), (CQ, 65536 * 16)]).unwrap()
}

fn table(ram: &GuestRam, entries: u32) -> QueueTable {
    let mut table = QueueTable::new(1, None);
    let request = CompletionQueueRequest {
        qid: 1,
        base: CQ,
        entries,
        vector: 0,
        interrupts: false,
    };
    table.create_cq(ram, &request).unwrap();
    let request = SubmissionQueueRequest {
        qid: 1,
        base: SQ,
        entries,
        cqid: 1,
    };
    table.create_sq(ram, &request).unwrap();
    table
}

/// A pair as the specification describes it: two queues, and where their ends stand.
struct Model {
    size: u32,
    /// Positions of commands that were rung and not fetched.
    pending: VecDeque<u32>,
    sq_tail: u32,
    /// Completions posted and not taken.
    posted: VecDeque<u32>,
    cq_tail: u32,
    round: u32,
    reserved: u32,
}

impl Model {
    fn new(size: u32) -> Self {
        Self {
            size,
            pending: VecDeque::new(),
            sq_tail: 0,
            posted: VecDeque::new(),
            cq_tail: 0,
            round: 0,
            reserved: 0,
        }
    }

    /// The positions between the head and a new tail are pending.
    fn ring_tail(&mut self, tail: u32) {
        let head = self.sq_head();
        self.pending = (0..self.size)
            .map(|step| (head + step) % self.size)
            .take_while(|at| *at != tail)
            .collect();
        self.sq_tail = tail;
    }

    fn sq_head(&self) -> u32 {
        self.pending.front().copied().unwrap_or(self.sq_tail)
    }

    fn free(&self) -> u32 {
        self.size - 1 - self.used() - self.reserved
    }

    fn used(&self) -> u32 {
        u32::try_from(self.posted.len()).unwrap()
    }

    fn post(&mut self) {
        self.reserved -= 1;
        self.posted.push_back(self.cq_tail);
        self.cq_tail += 1;
        if self.cq_tail == self.size {
            (self.cq_tail, self.round) = (0, self.round + 1);
        }
    }

    /// Whether the host may say this; if so it has taken what is before.
    fn ring_head(&mut self, head: u32) -> bool {
        if head == self.cq_tail {
            self.posted.clear();
            return true;
        }
        let Some(at) = self.posted.iter().position(|posted| *posted == head) else {
            return false;
        };
        self.posted.drain(..at);
        true
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Tail(u32),
    Head(u32),
    Fetch,
    Reserve,
    Release,
    Post,
}

/// Does the same to both and compares everything that can be seen.
fn apply(ram: &GuestRam, table: &mut QueueTable, model: &mut Model, op: Op) {
    let (sq, cq) = table.pair_mut(1).unwrap();
    match op {
        Op::Tail(tail) => {
            assert_eq!(sq.set_tail(tail).is_ok(), tail < model.size);
            if tail < model.size {
                model.ring_tail(tail);
            }
        }
        Op::Head(head) => assert_eq!(cq.set_head(head).is_ok(), model.ring_head(head)),
        Op::Fetch => {
            if let Some(position) = model.pending.pop_front() {
                let marked = u16::try_from(position % 65536).unwrap();
                ram.write(SQ + u64::from(position) * 64 + 2, &marked.to_le_bytes())
                    .unwrap();
                assert_eq!(sq.fetch().cid.get(), marked, "another entry was fetched");
            }
        }
        Op::Reserve if model.free() > 0 => {
            model.reserved += 1;
            cq.reserve();
        }
        Op::Release if model.reserved > 0 => {
            model.reserved -= 1;
            cq.release();
        }
        Op::Post if model.reserved > 0 => {
            let (at, round) = (model.cq_tail, model.round);
            model.post();
            cq.post(CompletionQueueEntry::default(), Status::SUCCESS);
            let mut status = [0; 2];
            ram.read(CQ + u64::from(at) * 16 + 14, &mut status).unwrap();
            assert_eq!(
                u32::from(status[0] & 1),
                (round + 1) % 2,
                "phase of round {round}"
            );
        }
        _ => {}
    }
    assert_eq!(sq.pending() as usize, model.pending.len());
    assert_eq!((sq.head(), sq.tail()), (model.sq_head(), model.sq_tail));
    assert_eq!((cq.used(), cq.free()), (model.used(), model.free()));
}

#[test]
fn every_doorbell_value_in_every_state_of_small_rings() {
    let ram = ram();
    for size in 2..=8 {
        for start in 0..2 * size {
            for posted in 0..size {
                for value in 0..=size + 1 {
                    let mut table = table(&ram, size);
                    let mut model = Model::new(size);
                    let mut all = |op| apply(&ram, &mut table, &mut model, op);
                    // Round to where it begins, one command at a time.
                    for step in 1..=start {
                        for op in [
                            Op::Tail(step % size),
                            Op::Fetch,
                            Op::Reserve,
                            Op::Post,
                            Op::Head(step % size),
                        ] {
                            all(op);
                        }
                    }
                    for _ in 0..posted {
                        all(Op::Reserve);
                        all(Op::Post);
                    }
                    all(Op::Head(value));
                    all(Op::Tail(value));
                    all(Op::Fetch);
                    all(Op::Reserve);
                    all(Op::Post);
                }
            }
        }
    }
}

fn op(size: u32) -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..size).prop_map(Op::Tail),
        1 => any::<u32>().prop_map(Op::Tail),
        4 => (0..size).prop_map(Op::Head),
        1 => any::<u32>().prop_map(Op::Head),
        4 => Just(Op::Fetch),
        6 => Just(Op::Reserve),
        1 => Just(Op::Release),
        6 => Just(Op::Post),
    ]
}

fn sized_ops() -> impl Strategy<Value = (u32, Vec<Op>)> {
    let size = prop_oneof![6 => 2_u32..20, 2 => 20_u32..300, 1 => 65530_u32..=65536];
    size.prop_flat_map(|size| (Just(size), prop::collection::vec(op(size), 1..400)))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: crate::streams::kept("rings.txt"),
        ..ProptestConfig::default()
    })]

    #[test]
    fn rings_agree_with_queues((size, ops) in sized_ops()) {
        let ram = ram();
        let mut table = table(&ram, size);
        let mut model = Model::new(size);
        for op in ops {
            apply(&ram, &mut table, &mut model, op);
        }
    }
}

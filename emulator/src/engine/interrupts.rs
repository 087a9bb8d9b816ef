// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupts: one for each vector and step, or later when the host asked to gather completions
//! (features 08h and 09h). Queues without interrupts never come here.

use super::Engine;
use crate::controller::{InterruptSink, QueueTable};
use crate::timing::Nanos;

#[derive(Clone, Copy, Debug, Default)]
struct Vector {
    /// Completions that no interrupt has announced yet.
    gathered: u32,
    /// When the first of them was posted.
    since: Nanos,
    /// The completion queue of the last of them, which the interrupt is counted for.
    cqid: u16,
    /// The admin queue is among them: coalescing is for I/O queues.
    urgent: bool,
}

/// What waits to be announced.
#[derive(Debug, Default)]
pub struct Vectors {
    vectors: Vec<Vector>,
    /// Completion queues that got completions since the last look.
    touched: Vec<u16>,
    /// Vectors with gathered completions.
    waiting: Vec<u16>,
}

impl Vectors {
    /// Room for every vector and queue, so that nothing allocates later.
    pub fn new(vectors: u16, queue_pairs: u16) -> Self {
        Self {
            vectors: vec![Vector::default(); vectors.into()],
            touched: Vec::with_capacity(usize::from(queue_pairs) + 1),
            waiting: Vec::with_capacity(vectors.into()),
        }
    }

    /// A completion queue with interrupts got its first completion since the last look.
    #[inline]
    pub fn touch(&mut self, cqid: u16) {
        self.touched.push(cqid);
    }

    /// Lends what waits on vectors of these queues. If several queues use a vector, the last one that
    /// completed anything decides.
    pub fn lend(&mut self, other: &mut Self, queues: &QueueTable) {
        let Self {
            vectors, waiting, ..
        } = self;
        waiting.retain(|number| {
            let Some(vector) = vectors.get_mut(usize::from(*number)) else {
                return false;
            };
            if queues.cq(vector.cqid).is_none() {
                return true;
            }
            other.wait(*number, std::mem::take(vector));
            false
        });
    }

    /// Takes back what waits elsewhere.
    pub fn take_back(&mut self, other: &mut Self) {
        for number in other.waiting.drain(..) {
            if let Some(vector) = other.vectors.get_mut(usize::from(number)) {
                self.wait(number, std::mem::take(vector));
            }
        }
    }

    /// Adds completions that wait on a vector.
    fn wait(&mut self, number: u16, more: Vector) {
        let Some(vector) = self.vectors.get_mut(usize::from(number)) else {
            return;
        };
        if vector.gathered == 0 {
            *vector = more;
            self.waiting.push(number);
        } else {
            vector.gathered = vector.gathered.saturating_add(more.gathered);
            vector.since = vector.since.min(more.since);
            vector.urgent |= more.urgent;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.vectors.fill(Vector::default());
        self.touched.clear();
        self.waiting.clear();
    }
}

impl Engine {
    /// Raises what is to be raised. Returns when a gathered completion must be announced at last.
    pub(super) fn raise_interrupts(
        &mut self,
        now: Nanos,
        sink: &mut dyn InterruptSink,
    ) -> Option<Nanos> {
        if self.vectors.touched.is_empty() && self.vectors.waiting.is_empty() {
            return None;
        }
        self.gather(now);
        let Vectors {
            vectors, waiting, ..
        } = &mut self.vectors;
        let controller = &mut self.controller;
        let mut next: Option<Nanos> = None;
        waiting.retain(|number| {
            let Some(vector) = vectors.get_mut(usize::from(*number)) else {
                return false;
            };
            if !vector.urgent
                && let Some((threshold, patience)) = controller.features.coalescing(*number)
            {
                let deadline = vector.since.saturating_add(patience);
                if vector.gathered < threshold && now < deadline {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                    return true;
                }
            }
            sink.raise(*number);
            if let Some(counters) = controller.counters.queue_mut(vector.cqid) {
                counters.interrupts += 1;
            }
            *vector = Vector::default();
            false
        });
        next
    }

    fn gather(&mut self, now: Nanos) {
        let Vectors {
            vectors,
            touched,
            waiting,
        } = &mut self.vectors;
        for cqid in touched.drain(..) {
            let Some(cq) = self.controller.queues.cq_mut(cqid) else {
                continue;
            };
            let number = cq.vector();
            let posted = std::mem::take(&mut cq.unsignalled);
            let Some(vector) = vectors.get_mut(usize::from(number)) else {
                continue;
            };
            if posted == 0 {
                continue;
            }
            if vector.gathered == 0 {
                vector.since = now;
                waiting.push(number);
            }
            vector.gathered = vector.gathered.saturating_add(posted);
            vector.cqid = cqid;
            vector.urgent |= cqid == 0;
        }
    }
}

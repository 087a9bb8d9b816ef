// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The due list: completions that wait for their time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::fault::Ending;
use crate::spec::Status;
use crate::timing::Nanos;

/// A command that has been executed; its completion queue slot is reserved.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// Submission queue.
    pub sqid: u16,
    /// Command identifier.
    pub cid: u16,
    /// Status.
    pub status: Status,
    /// Dword 0 of the completion.
    pub dword0: u32,
    /// When it is due; `None` for what the timing model does not time (admin commands, refusals).
    pub due: Option<Nanos>,
    /// How its completion goes: as it should, unless a fault rule has acted.
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    due: Nanos,
    order: u64,
    completed: Completed,
}

impl Waiting {
    fn key(&self) -> (Nanos, u64) {
        (self.due, self.order)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Completions ordered by due time; those due at the same time in the order of their admission.
#[derive(Debug, Default)]
pub struct DueList {
    heap: BinaryHeap<Reverse<Waiting>>,
    order: u64,
}

impl DueList {
    /// Makes room for `total` completions, so that pushing never allocates.
    pub fn reserve(&mut self, total: usize) {
        self.heap.reserve(total.saturating_sub(self.heap.len()));
    }

    /// Adds a completion that is due at `due`.
    pub fn push(&mut self, due: Nanos, completed: Completed) {
        self.order += 1;
        self.heap.push(Reverse(Waiting {
            due,
            order: self.order,
            completed,
        }));
    }

    /// When the first completion is due.
    #[inline]
    pub fn next(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse(waiting)| waiting.due)
    }

    /// Takes the first completion that is due at `now`.
    #[inline]
    pub fn pop(&mut self, now: Nanos) -> Option<Completed> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(waiting)| waiting.completed)
    }

    /// Takes out every completion that `wanted` picks, in due order.
    pub fn extract(&mut self, wanted: impl Fn(&Completed) -> bool) -> Vec<Completed> {
        let mut taken = Vec::new();
        self.heap.retain(|Reverse(waiting)| {
            let take = wanted(&waiting.completed);
            if take {
                taken.push(*waiting);
            }
            !take
        });
        taken.sort_unstable();
        taken.into_iter().map(|w| w.completed).collect()
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.heap.clear();
    }

    /// Number of completions that wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(cid: u16) -> Completed {
        Completed {
            sqid: 1,
            cid,
            status: Status::SUCCESS,
            dword0: 0,
            due: None,
            ending: Ending::Normal,
        }
    }

    #[test]
    fn pop_before_the_time_gives_nothing() {
        let mut list = DueList::default();
        list.push(100, completed(1));
        assert!(list.pop(99).is_none());
        assert_eq!(list.next(), Some(100));
        assert_eq!(list.pop(100).map(|c| c.cid), Some(1));
        assert_eq!(list.next(), None);
    }

    #[test]
    fn pop_orders_by_due_then_by_admission() {
        let mut list = DueList::default();
        for (due, cid) in [(30, 1), (10, 2), (30, 3), (20, 4), (10, 5)] {
            list.push(due, completed(cid));
        }
        let order: Vec<u16> = std::iter::from_fn(|| list.pop(u64::MAX))
            .map(|c| c.cid)
            .collect();
        assert_eq!(order, [2, 5, 4, 1, 3]);
    }

    #[test]
    fn push_within_the_reservation_does_not_allocate() {
        let mut list = DueList::default();
        list.reserve(1000);
        let capacity = list.heap.capacity();
        for cid in 0..1000 {
            list.push(u64::from(cid), completed(cid));
        }
        assert_eq!(list.heap.capacity(), capacity);
    }

    #[test]
    fn extract_takes_only_what_was_wanted_in_due_order() {
        let mut list = DueList::default();
        for (due, cid) in [(30, 1), (10, 2), (20, 3)] {
            list.push(due, completed(cid));
        }
        let taken = list.extract(|c| c.cid != 3);
        assert_eq!(taken.iter().map(|c| c.cid).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(list.len(), 1);
    }
}

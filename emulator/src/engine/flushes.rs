// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands that wait for a medium to make data stable: Flush, FUA, writes without a cache.

use std::collections::VecDeque;

use super::due::Completed;
use crate::controller::{FlushScope, IoUnit, media_status};
use crate::media::{FlushStart, FlushTicket};
use crate::spec::Status;

/// Who waits.
#[derive(Clone, Copy, Debug)]
pub enum Waiter {
    /// A command, completed when the last flush has ended.
    Command(Completed),
    /// The shutdown that CC.SHN asked for.
    Shutdown,
    /// Nobody any more: the command was aborted or its queue is gone.
    Nobody,
}

#[derive(Debug)]
struct Operation {
    waiter: Waiter,
    remaining: u32,
    failure: Option<Status>,
}

/// How a start went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// Everything was stable already, or could not even be begun.
    Ended(Status),
    /// The waiter is kept until it ends.
    Pending,
}

/// Flushes under way, by namespace. Those of waiting commands are bounded by their completion queue
/// slots, those that nobody waits for any more by the engine, which fetches nothing new meanwhile.
#[derive(Debug, Default)]
pub struct Flushes {
    operations: Vec<Option<Operation>>,
    free: Vec<usize>,
    /// Tickets of each namespace in the order of their start, with their operations.
    tickets: Vec<VecDeque<(FlushTicket, usize)>>,
    next_ticket: FlushTicket,
    pending: usize,
    /// Operations that nobody waits for.
    abandoned: usize,
}

impl Flushes {
    /// No flush of any of `namespaces` namespaces.
    pub fn new(namespaces: usize) -> Self {
        Self {
            tickets: (0..namespaces).map(|_| VecDeque::new()).collect(),
            ..Self::default()
        }
    }

    /// Whether nothing is under way.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// How many flushes are under way for nobody.
    #[inline]
    pub fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Begins to make `scope` stable for `waiter`.
    pub fn start(&mut self, io: &mut IoUnit, scope: FlushScope, waiter: Waiter) -> Started {
        let chosen = |index: usize| match scope {
            FlushScope::Nothing => false,
            FlushScope::Namespace(nsid) => index + 1 == nsid as usize,
            FlushScope::All => true,
        };
        let slot = self.free.pop().unwrap_or(self.operations.len());
        let mut remaining = 0;
        let mut failure = None;
        for (index, namespace) in io.namespaces_mut().iter_mut().enumerate() {
            if !chosen(index) {
                continue;
            }
            self.next_ticket += 1;
            match namespace.media_mut().start_flush(self.next_ticket) {
                Ok(FlushStart::Done) => {}
                Ok(FlushStart::Pending) => {
                    self.tickets[index].push_back((self.next_ticket, slot));
                    self.pending += 1;
                    remaining += 1;
                }
                Err(error) => failure = Some(media_status(&error)),
            }
        }
        if remaining == 0 {
            if slot < self.operations.len() {
                self.free.push(slot);
            }
            return Started::Ended(failure.unwrap_or(Status::SUCCESS));
        }
        let operation = Some(Operation {
            waiter,
            remaining,
            failure,
        });
        match self.operations.get_mut(slot) {
            Some(place) => *place = operation,
            None => self.operations.push(operation),
        }
        Started::Pending
    }

    /// Asks the media which flushes have ended, and hands over the waiters of those that are
    /// complete.
    pub fn poll(&mut self, io: &mut IoUnit, mut ended: impl FnMut(Waiter, Status)) {
        for (index, namespace) in io.namespaces_mut().iter_mut().enumerate() {
            while !self.tickets[index].is_empty() {
                let Some((ticket, result)) = namespace.media_mut().poll_flush() else {
                    break;
                };
                let failure = result.err().map(|error| media_status(&error));
                if let Some((waiter, status)) = self.ticket_ended(index, ticket, failure) {
                    ended(waiter, status);
                }
            }
        }
    }

    fn ticket_ended(
        &mut self,
        namespace: usize,
        ticket: FlushTicket,
        failure: Option<Status>,
    ) -> Option<(Waiter, Status)> {
        let tickets = &mut self.tickets[namespace];
        let at = tickets.iter().position(|(known, _)| *known == ticket)?;
        let (_, slot) = tickets.remove(at)?;
        self.pending -= 1;
        let place = self.operations.get_mut(slot)?;
        let operation = place.as_mut()?;
        operation.remaining -= 1;
        operation.failure = operation.failure.or(failure);
        if operation.remaining > 0 {
            return None;
        }
        let operation = place.take()?;
        self.free.push(slot);
        self.abandoned -= usize::from(matches!(operation.waiter, Waiter::Nobody));
        Some((
            operation.waiter,
            operation.failure.unwrap_or(Status::SUCCESS),
        ))
    }

    /// Takes out every waiting command that `wanted` picks. The flushes themselves go on.
    pub fn extract(&mut self, wanted: impl Fn(&Completed) -> bool) -> Vec<Completed> {
        let mut taken = Vec::new();
        for operation in self.operations.iter_mut().flatten() {
            if let Waiter::Command(command) = operation.waiter
                && wanted(&command)
            {
                operation.waiter = Waiter::Nobody;
                self.abandoned += 1;
                taken.push(command);
            }
        }
        taken
    }

    /// Forgets every flush, as the media do when their power is cut.
    pub fn forget(&mut self) {
        self.operations.clear();
        self.free.clear();
        self.tickets.iter_mut().for_each(VecDeque::clear);
        self.pending = 0;
        self.abandoned = 0;
    }

    /// Forgets every waiter: a reset.
    pub fn abandon(&mut self) {
        self.abandoned = 0;
        for operation in self.operations.iter_mut().flatten() {
            operation.waiter = Waiter::Nobody;
            self.abandoned += 1;
        }
    }
}

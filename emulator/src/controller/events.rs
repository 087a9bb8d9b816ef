// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Asynchronous events and the requests that carry them (NVMe Base 2.0c, 5.2).

use std::collections::VecDeque;

use crate::spec::Status;
use crate::spec::log::{AsyncEvent, AsyncEventType, LogId};

/// Requests that may be outstanding (AERL + 1).
pub const MAX_REQUESTS: usize = 4;

/// Requests that wait, and events that wait for one.
#[derive(Debug, Default)]
pub struct Events {
    requests: VecDeque<u16>,
    pending: Vec<AsyncEvent>,
    masked: [bool; 3],
}

impl Events {
    /// Drops requests, events and masks: a controller reset.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Parks an Asynchronous Event Request.
    ///
    /// # Errors
    /// Asynchronous Event Request Limit Exceeded.
    pub fn park(&mut self, cid: u16) -> Result<(), Status> {
        if self.requests.len() >= MAX_REQUESTS {
            return Err(Status::EVENT_REQUEST_LIMIT_EXCEEDED);
        }
        self.requests.push_back(cid);
        Ok(())
    }

    /// Takes a parked request back, for Abort.
    pub fn withdraw(&mut self, cid: u16) -> bool {
        let at = self.requests.iter().position(|parked| *parked == cid);
        at.and_then(|at| self.requests.remove(at)).is_some()
    }

    /// Notes that something happened. The same event is not noted twice, so that no guest can make
    /// the list grow.
    pub fn raise(&mut self, event: AsyncEvent) {
        if !self.pending.contains(&event) {
            self.pending.push(event);
        }
    }

    /// Whether nothing waits to be reported.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes over the events that `other` noted.
    pub fn take_over(&mut self, other: &mut Self) {
        for event in other.pending.drain(..) {
            self.raise(event);
        }
    }

    /// The next event that may be reported, and the request that carries it. Further events of its
    /// type wait until the host has read the log page.
    pub fn deliver(&mut self) -> Option<(u16, AsyncEvent)> {
        let at = self
            .pending
            .iter()
            .position(|event| !self.masked[slot(event.event_type())])?;
        let cid = self.requests.pop_front()?;
        let event = self.pending.remove(at);
        self.masked[slot(event.event_type())] = true;
        Some((cid, event))
    }

    /// Whether [`Events::deliver`] has something to give.
    #[inline]
    pub fn deliverable(&self) -> bool {
        !self.pending.is_empty()
            && !self.requests.is_empty()
            && self
                .pending
                .iter()
                .any(|event| !self.masked[slot(event.event_type())])
    }

    /// The host has read a log page without Retain Asynchronous Event: events of its type may be
    /// reported again.
    pub fn log_page_read(&mut self, page: LogId) {
        for kind in [
            AsyncEventType::Error,
            AsyncEventType::Smart,
            AsyncEventType::Notice,
        ] {
            if page == page_of(kind) {
                self.masked[slot(kind)] = false;
            }
        }
    }
}

fn slot(kind: AsyncEventType) -> usize {
    match kind {
        AsyncEventType::Error => 0,
        AsyncEventType::Smart => 1,
        AsyncEventType::Notice => 2,
    }
}

fn page_of(kind: AsyncEventType) -> LogId {
    match kind {
        AsyncEventType::Error => LogId::ERROR,
        AsyncEventType::Smart => LogId::SMART,
        AsyncEventType::Notice => LogId::CHANGED_NAMESPACES,
    }
}

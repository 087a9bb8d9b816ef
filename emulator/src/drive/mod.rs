// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who owns the loop: the pollers (threads, clock, sleep and wake) or, in virtual time, the calendar.

pub mod calendar;
mod clock;
mod event;
mod lanes;
mod poller;
#[cfg(test)]
mod tests;
mod turns;

use std::os::fd::BorrowedFd;

pub use clock::Clock;
pub use event::{Event, wait_readable};
pub use poller::{Poller, PollerCounters, PollerGone, PollerHandle, PollerOptions, pin_thread};

use crate::pci::{MsiPort, NvmeFunction};
use crate::timing::Nanos;

/// A guest's side of the loop: what brings its accesses to the function and messages back. All of
/// it is called on the poller's thread.
pub trait FrontEnd: MsiPort + Send + 'static {
    /// What ends a guest's session.
    type Error: std::error::Error + Send + 'static;

    /// Hands accesses that wait to `function`, a bounded number. Returns whether there were any.
    /// Called once a turn, so that with nothing waiting it must cost next to nothing.
    ///
    /// An access may change where the guest finds plain memory (see
    /// [`NvmeFunction::mapped_doorbells`]): that takes effect before the access is answered.
    ///
    /// # Errors
    /// The guest broke the protocol.
    fn serve(&mut self, now: Nanos, function: &mut NvmeFunction) -> Result<bool, Self::Error>;

    /// A turn is over: signals what has been put in the guest's way since the last one, once, and
    /// follows whatever the step, or an errand of another thread before it, has changed of
    /// `function`.
    ///
    /// # Errors
    /// As [`FrontEnd::serve`].
    fn flush(&mut self, function: &mut NvmeFunction) -> Result<(), Self::Error>;

    /// Asks the guest to notify, then looks once more. Returns false when work has arrived
    /// meanwhile.
    ///
    /// # Errors
    /// As [`FrontEnd::serve`].
    fn prepare_sleep(&mut self) -> Result<bool, Self::Error>;

    /// Tells the guest that its notifications are not needed. Also called when a session begins.
    ///
    /// # Errors
    /// As [`FrontEnd::serve`].
    fn resume_polling(&mut self) -> Result<(), Self::Error>;

    /// Whether the guest waits for an access to be served. Asked once a turn where several pollers
    /// share the work.
    fn has_work(&self) -> bool {
        true
    }

    /// A way for the messages of another poller. `None`: all of them have to go by this front end.
    fn lane_port(&self) -> Option<Box<dyn MsiPort + Send>> {
        None
    }

    /// What becomes readable when the guest notifies.
    fn notifiers(&self) -> Vec<BorrowedFd<'_>>;

    /// Takes notifications back, without blocking.
    fn clear_notifications(&mut self);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A step machine: fetch, execute, due list, complete. Never blocks, starts a thread or reads a
//! clock.

use crate::controller::InterruptSink;
use crate::dma::GuestRam;
use crate::timing::Nanos;

/// Offset of the first doorbell register in BAR0 (CAP.DSTRD = 0, so a doorbell is 4 bytes).
pub const DOORBELLS: u64 = 0x1000;

/// The device without its transport: what every front end drives.
pub struct Engine {
    _private: (),
}

impl Engine {
    /// Gives the device its guest's memory. The controller starts disabled.
    pub fn attach(&mut self, _ram: GuestRam) {
        unimplemented!()
    }

    /// The guest is gone: every queue, event and reference to its memory is dropped; media keep
    /// their data, the volatile write cache included.
    pub fn detach(&mut self) {
        unimplemented!()
    }

    /// Reads `size` (1, 2, 4 or 8) bytes of BAR0 at `offset`, registers and doorbells. Never fails:
    /// what is not there reads as 0.
    pub fn read_register(&mut self, _offset: u64, _size: usize) -> u64 {
        unimplemented!()
    }

    /// Writes `size` (1, 2, 4 or 8) bytes of BAR0 at `offset` at time `now`. A doorbell write is
    /// noted, and acted upon by the next step.
    pub fn write_register(&mut self, _now: Nanos, _offset: u64, _size: usize, _value: u64) {
        unimplemented!()
    }

    /// Does everything that can be done at `now`: fetches and executes commands, posts the
    /// completions that are due, raises interrupts, each vector at most once. Returns when the next
    /// completion is due, if any is waiting for its time.
    pub fn step(&mut self, _now: Nanos, _interrupts: &mut dyn InterruptSink) -> Option<Nanos> {
        unimplemented!()
    }

    /// Whether the last step found nothing to do and nothing is under way, so that only the guest
    /// can cause work.
    pub fn is_idle(&self) -> bool {
        unimplemented!()
    }

    /// Publishes the real event indices so that the guest's next doorbell traps, and looks once
    /// more. Returns false, with polling resumed, when work had arrived meanwhile.
    pub fn prepare_sleep(&mut self) -> bool {
        unimplemented!()
    }

    /// Back to polling: event indices stay one behind the last seen tail.
    pub fn resume_polling(&mut self) {
        unimplemented!()
    }

    /// Function-level or subsystem reset by the transport.
    pub fn reset(&mut self) {
        unimplemented!()
    }
}

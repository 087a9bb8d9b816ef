// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A step machine: fetch, execute, due list, complete. Never blocks, starts a thread or reads a
//! clock.

use crate::controller::{ControllerConfig, InterruptSink, NamespaceConfig, SetupError};
use crate::dma::GuestRam;
use crate::observe::Counters;
use crate::timing::{Model, Nanos, Profile};

/// Offset of the first doorbell register in BAR0 (CAP.DSTRD = 0, so a doorbell is 4 bytes).
pub const DOORBELLS: u64 = 0x1000;

/// The device without its transport: what every front end drives.
pub struct Engine {
    _private: (),
}

impl Engine {
    /// A device with the given namespaces (NSID 1, 2, ... in order) and speed. No guest yet.
    ///
    /// # Errors
    /// [`SetupError`] names the value that cannot work.
    pub fn new(
        _config: ControllerConfig,
        _namespaces: Vec<NamespaceConfig>,
        _model: Model,
    ) -> Result<Self, SetupError> {
        unimplemented!()
    }

    /// What has been counted since the device was made; queue 0 is the admin queue.
    pub fn counters(&self) -> &Counters {
        unimplemented!()
    }

    /// The speed that new commands get.
    pub fn profile(&self) -> &Profile {
        unimplemented!()
    }

    /// Changes the speed of the commands that arrive from now on, while a guest runs.
    pub fn set_profile(&mut self, _profile: Profile) {
        unimplemented!()
    }

    /// How the device was set up.
    pub fn config(&self) -> &ControllerConfig {
        unimplemented!()
    }

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
    /// noted, and acted upon by the next step. Without a guest nothing happens.
    pub fn write_register(&mut self, _now: Nanos, _offset: u64, _size: usize, _value: u64) {
        unimplemented!()
    }

    /// Does everything that can be done at `now`: fetches and executes commands, posts the
    /// completions that are due, raises interrupts, each vector at most once. Returns when it wants
    /// to be called next: the time of the next completion or of a delayed interrupt, or `now` itself
    /// when it stopped at a burst limit and has more to do. `None`: only the guest, or a flush under
    /// way (then [`Engine::is_idle`] is false), can cause work. `now` never goes backwards.
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A step machine: fetch, execute, due list, complete. Never blocks, starts a thread or reads a
//! clock.
//!
//! A command's way: its slot in the completion queue is reserved, its entry copied out of the
//! submission queue and executed at once (data moves now); the timing model says when it is due;
//! until then its completion waits in the due list. One step posts what is due, gives every queue
//! one burst, and raises each interrupt vector at most once.

mod aborts;
mod admission;
mod doorbell_scan;
mod doorbells;
mod due;
mod faults;
mod flushes;
mod interrupts;
mod lane;
mod sweep;
mod tracing;

use std::sync::Arc;

use crate::controller::{
    Controller, ControllerConfig, FlushScope, InterruptSink, NamespaceConfig, RegisterEffect,
    SetupError,
};
use crate::dma::{DoorbellPage, GuestRam, ShadowDoorbells};
use crate::observe::{Counters, Trace, VmExits};
use crate::spec::Status;
use crate::timing::{Floor, Model, Nanos, Profile, ProfileError};
use aborts::HeldAbort;
use admission::Admission;
use doorbell_scan::DoorbellScan;
use due::{Completed, DueList};
use faults::FaultState;
use flushes::{Flushes, Started, Waiter};
use interrupts::Vectors;

pub use crate::spec::registers::DOORBELLS;
pub use lane::{Lane, LaneShare};

/// The device without its transport: what every front end drives.
pub struct Engine {
    controller: Controller,
    admission: Admission,
    due: DueList,
    flushes: Flushes,
    vectors: Vectors,
    held_aborts: Vec<HeldAbort>,
    /// A shutdown has yet to begin its flush.
    shutdown_waits: bool,
    /// Completions of the burst under way that are due at once.
    ready: Vec<Completed>,
    /// Position in the list of active queues from which the next sweep starts.
    first_queue: usize,
    doorbell_scan: DoorbellScan,
    polling: bool,
    /// Nothing is to be done before the next completion is due or the guest does something.
    quiet: bool,
    /// Lanes that have some of the queues.
    lent: u16,
    /// Fault rules and what they hold back; `None`, and nothing is asked, without rules.
    faults: Option<Box<FaultState>>,
    /// Who takes notes of each command; `None`, and nothing is noted, without one.
    trace: Option<Box<Trace>>,
    /// Since when the host has kept this device from its work, in the next step.
    away_since: Option<Nanos>,
}

impl Engine {
    /// A device with the given namespaces (NSID 1, 2, ... in order) and speed. No guest yet.
    ///
    /// # Errors
    /// [`SetupError`] names the value that cannot work.
    pub fn new(
        config: ControllerConfig,
        namespaces: Vec<NamespaceConfig>,
        model: Model,
    ) -> Result<Self, SetupError> {
        let controller = Controller::new(config, namespaces)?;
        Ok(Self::of(controller, Admission::new(model)))
    }

    fn of(controller: Controller, admission: Admission) -> Self {
        let config = &controller.config;
        Self {
            admission,
            due: DueList::default(),
            flushes: Flushes::new(controller.io.namespaces().len()),
            vectors: Vectors::new(config.vectors, config.queue_pairs),
            held_aborts: Vec::new(),
            shutdown_waits: false,
            ready: Vec::with_capacity(sweep::LARGEST_BURST as usize),
            first_queue: 0,
            doorbell_scan: DoorbellScan::default(),
            polling: true,
            quiet: true,
            lent: 0,
            faults: None,
            trace: None,
            away_since: None,
            controller,
        }
    }

    /// What has been counted since the device was made; queue 0 is the admin queue.
    pub fn counters(&self) -> &Counters {
        &self.controller.counters
    }

    /// Says who counts the exits of the device's guest, so that its counters tell them too.
    pub fn set_exits(&mut self, exits: Arc<VmExits>) {
        self.controller.counters.set_exits(exits);
    }

    /// Takes notes of each command from now on. With several pollers, only of those of the first.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = Some(Box::new(trace));
    }

    /// Takes no more notes, and gives back who took them.
    pub fn take_trace(&mut self) -> Option<Trace> {
        self.trace.take().map(|trace| *trace)
    }

    /// The speed that new commands get.
    pub fn profile(&self) -> &Profile {
        self.admission.profile()
    }

    /// Changes the speed of the commands that arrive from now on, while a guest runs.
    ///
    /// # Errors
    /// When the emulation cannot be so fast, as far as it knows its own floor.
    pub fn set_profile(&mut self, profile: Profile) -> Result<(), ProfileError> {
        profile.check_floor(Floor::of_way(self.admission.floor()))?;
        self.admission.set_profile(profile);
        Ok(())
    }

    /// Sets the composite temperature in kelvins. Beyond a threshold the host is warned.
    pub fn set_temperature(&mut self, kelvins: u16) {
        self.controller.set_temperature(kelvins);
        self.quiet = false;
    }

    /// Tells the host, if it asked for such notices, that a namespace's attributes changed.
    pub fn namespace_changed(&mut self, nsid: u32) {
        self.controller.namespace_changed(nsid);
        self.quiet = false;
    }

    /// How the device was set up.
    pub fn config(&self) -> &ControllerConfig {
        &self.controller.config
    }

    /// The page of doorbells, with [`DoorbellMode::Mapped`]. It is the same one for as long as the
    /// engine lives.
    ///
    /// [`DoorbellMode::Mapped`]: crate::controller::DoorbellMode::Mapped
    pub fn doorbell_page(&self) -> Option<&Arc<DoorbellPage>> {
        self.controller.queues.page()
    }

    /// Whether the controller processes commands: CSTS.RDY, and no shutdown was asked for.
    pub fn is_running(&self) -> bool {
        self.controller.registers.is_running()
    }

    /// Gives the device its guest's memory. The controller starts disabled.
    pub fn attach(&mut self, ram: GuestRam) {
        self.reset();
        self.controller.queues.forget_creations();
        self.controller.ram = Some(ram);
    }

    /// The guest is gone: every queue, event and reference to its memory is dropped; media keep
    /// their data, the volatile write cache included.
    pub fn detach(&mut self) {
        self.reset();
        self.controller.ram = None;
    }

    /// Reads `size` (1, 2, 4 or 8) bytes of BAR0 at `offset`, registers and doorbells. Never fails:
    /// what is not there reads as 0.
    pub fn read_register(&mut self, offset: u64, size: usize) -> u64 {
        let value = self.controller.registers.read(offset, size);
        match &self.faults {
            Some(faults) => faults.register(offset, size, value),
            None => value,
        }
    }

    /// Writes `size` (1, 2, 4 or 8) bytes of BAR0 at `offset` at time `now`. A doorbell write is
    /// noted, and acted upon by the next step. Without a guest nothing happens; nor does it for
    /// accesses that the specification leaves undefined: registers narrower than 32 bits or not
    /// aligned, doorbells of any size but 32 bits or before CSTS.RDY.
    pub fn write_register(&mut self, now: Nanos, offset: u64, size: usize, value: u64) {
        if self.controller.ram.is_none() || self.is_removed() {
            return;
        }
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        let (low, high) = (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        if let Some(doorbell) = offset.checked_sub(DOORBELLS) {
            if size == 4 && doorbell.is_multiple_of(4) && self.controller.registers.is_running() {
                self.ring(now, doorbell, low);
            }
            return;
        }
        match size {
            4 if offset.is_multiple_of(4) => self.write_dword(now, offset, low),
            8 if offset.is_multiple_of(8) => {
                self.write_dword(now, offset, low);
                self.write_dword(now, offset + 4, high);
            }
            _ => log::debug!("write of {size} bytes to {offset:#x} ignored"),
        }
    }

    fn write_dword(&mut self, now: Nanos, offset: u64, value: u32) {
        let io_queues = self.controller.queues.has_io_queues();
        self.quiet = false;
        match self.controller.registers.write(offset, value, io_queues) {
            RegisterEffect::None => {}
            RegisterEffect::Enable => {
                self.controller.enable();
                self.reserve_due();
            }
            RegisterEffect::Disable => {
                self.drop_commands();
                self.controller.disable();
            }
            RegisterEffect::Shutdown => self.shut_down(now),
            RegisterEffect::SubsystemReset => {
                self.drop_commands();
                self.controller.reset(true);
                if let Some(faults) = &mut self.faults {
                    faults.heal();
                }
            }
        }
    }

    /// CC.SHN: what the media hold back must be stable before CSTS.SHST says "complete", and nothing
    /// is written to the host's memory after that, so commands under way are dropped.
    fn shut_down(&mut self, now: Nanos) {
        self.drop_commands();
        self.controller.registers.shutdown_begins();
        self.controller.health.tick(now, false);
        self.shutdown_waits = true;
        self.start_shutdown_flush();
    }

    /// Begins the flush of a shutdown, unless too many are still under way for nobody.
    fn start_shutdown_flush(&mut self) {
        if self.flushes.abandoned() >= sweep::MOST_ABANDONED_FLUSHES {
            return;
        }
        self.shutdown_waits = false;
        let io = &mut self.controller.io;
        if let Started::Ended(status) = self.flushes.start(io, FlushScope::All, Waiter::Shutdown) {
            self.shutdown_flushed(status);
        }
    }

    fn shutdown_flushed(&mut self, status: Status) {
        if !status.is_success() {
            log::error!("shutdown: a medium could not be flushed");
        }
        if self.controller.registers.shutdown_occurring() {
            self.controller.registers.shutdown_ends();
        }
    }

    /// Goes on with a shutdown and with nothing else: what remains to do without access to the
    /// host's memory.
    pub fn finish_shutdown(&mut self, now: Nanos) {
        if self.is_shutting_down() {
            self.finish_flushes(now);
        }
    }

    /// Whether a shutdown waits for the media.
    pub fn is_shutting_down(&self) -> bool {
        self.controller.registers.shutdown_occurring()
    }

    /// Does everything that can be done at `now`: fetches and executes commands, posts the
    /// completions that are due, raises interrupts, each vector at most once. Returns when it wants
    /// to be called next: the time of the next completion or of a delayed interrupt, or `now` itself
    /// when it stopped at a burst limit and has more to do. `None`: only the guest, or a flush under
    /// way (then [`Engine::is_idle`] is false), can cause work. `now` never goes backwards.
    pub fn step(&mut self, now: Nanos, interrupts: &mut dyn InterruptSink) -> Option<Nanos> {
        self.controller.ram.as_ref()?;
        let mut worked = self.faults.is_some() && self.act_on_time(now);
        while let Some(completed) = self.due.pop(now) {
            self.post(completed, now);
            worked = true;
        }
        if !self.flushes.is_empty() {
            worked |= self.finish_flushes(now);
        }
        let mut more = false;
        if self.controller.registers.is_running() {
            let swept = self.sweep(now);
            self.scan_doorbells(now);
            worked |= swept.executed;
            more = swept.more;
            worked |= self.deliver_events(now);
        }
        let mut deadline = self.raise_interrupts(now, interrupts);
        if self.faults.is_some() {
            deadline = earlier(deadline, self.finish_step_with_faults(now, interrupts));
        }
        let outstanding = self.due.len() > 0 || !self.flushes.is_empty();
        self.controller.health.tick(now, outstanding);
        self.quiet = !worked && !more && self.flushes.is_empty() && deadline.is_none();
        self.away_since = None;
        if more {
            return Some(now);
        }
        earlier(self.due.next(), deadline)
    }

    /// Says that from `since` to the next step the host ran something else: what is late for that
    /// is the host's doing.
    pub fn was_away(&mut self, since: Nanos) {
        self.away_since = Some(since);
    }

    /// Whether the last step found nothing to do.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether the last step found nothing to do and nothing is under way, so that only the guest
    /// can cause work.
    pub fn is_idle(&self) -> bool {
        self.quiet && self.due.len() == 0 && !self.faults_wait()
    }

    /// Whether a flush is under way: the media's own time, not the model's, says when it ends.
    pub fn is_flushing(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Publishes the real event indices so that the guest's next doorbell traps, and looks once
    /// more. Returns false, with polling resumed, when work had arrived meanwhile or is under way.
    /// Completions that only wait for their time are no work until then. With a page of doorbells it
    /// is always false while the controller runs: nothing would wake the device.
    pub fn prepare_sleep(&mut self) -> bool {
        let rings_unheard = self.doorbell_page().is_some() && self.is_running();
        if !self.quiet || rings_unheard {
            return false;
        }
        self.polling = false;
        if !self.is_running() {
            // Nothing is rung, and after a shutdown the host's memory is not to be touched.
            return true;
        }
        self.announce_all();
        ShadowDoorbells::barrier();
        if self.work_arrived() {
            self.resume_polling();
            return false;
        }
        true
    }

    /// Back to polling: event indices stay behind the last seen tail.
    pub fn resume_polling(&mut self) {
        self.polling = true;
        if self.is_running() {
            self.announce_all();
        }
    }

    /// Function-level or subsystem reset by the transport.
    pub fn reset(&mut self) {
        self.drop_commands();
        self.controller.reset(false);
        self.polling = true;
        if let Some(faults) = &mut self.faults {
            faults.heal();
        }
    }

    /// Everything under way is forgotten: its queues are about to go.
    fn drop_commands(&mut self) {
        self.due.clear();
        self.flushes.abandon();
        self.vectors.clear();
        self.held_aborts.clear();
        self.shutdown_waits = false;
        self.ready.clear();
        if let Some(faults) = &mut self.faults {
            faults.drop_commands();
        }
        if let Some(trace) = &mut self.trace {
            trace.reset();
        }
    }

    /// As many completions may wait as there are completion queue slots.
    fn reserve_due(&mut self) {
        self.due.reserve(self.controller.queues.completion_slots());
    }
}

fn earlier(one: Option<Nanos>, other: Option<Nanos>) -> Option<Nanos> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;

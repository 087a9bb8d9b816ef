// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A PCI function with an NVMe controller in it.

use std::sync::Arc;

use vfio_bindings::bindings::vfio::{VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX};

use super::{BAR0_SIZE, ConfigSpace, MSIX_PBA, MSIX_TABLE, MsiPort, Msix};
use crate::controller::{InterruptSink, PCI_VENDOR_ID};
use crate::dma::{DoorbellPage, GuestRam};
use crate::engine::{DOORBELLS, Engine, Lane, LaneShare};
use crate::fault::Rules;
use crate::observe::VmExits;
use crate::timing::Nanos;

/// Who the function says it is. The subsystem's identifiers are the same.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// PCI vendor identifier.
    pub vendor_id: u16,
    /// PCI device identifier.
    pub device_id: u16,
    /// Revision.
    pub revision: u8,
}

impl Default for Identity {
    /// Not an assigned identifier, so that no driver has quirks for it; drivers bind by class.
    fn default() -> Self {
        Self {
            vendor_id: PCI_VENDOR_ID,
            device_id: 0x0001,
            revision: 1,
        }
    }
}

/// What an access goes to, in VFIO's numbering of a PCI device's regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Registers, doorbells, MSI-X table and pending bits.
    Bar0,
    /// Configuration space.
    Config,
}

impl Region {
    /// The region with a VFIO index, if the function has it.
    pub fn from_vfio_index(index: u32) -> Option<Self> {
        match index {
            VFIO_PCI_BAR0_REGION_INDEX => Some(Self::Bar0),
            VFIO_PCI_CONFIG_REGION_INDEX => Some(Self::Config),
            _ => None,
        }
    }
}

/// The device as a front end sees it.
pub struct NvmeFunction {
    config: ConfigSpace,
    msix: Msix,
    engine: Engine,
}

impl NvmeFunction {
    /// Wraps `engine`, with `vectors` MSI-X vectors: one for each queue pair and one for the admin
    /// queue.
    pub fn new(engine: Engine, identity: &Identity, vectors: u16) -> Self {
        let msix = Msix::new(vectors);
        Self {
            config: ConfigSpace::new(identity, msix.vectors()),
            msix,
            engine,
        }
    }

    /// A guest with this memory has come. The function starts as after a reset.
    pub fn attach(&mut self, ram: GuestRam) {
        self.config.reset();
        self.msix.reset();
        self.engine.attach(ram);
    }

    /// The guest is gone; nothing refers to its memory any more.
    pub fn detach(&mut self) {
        self.engine.detach();
        self.msix.reset();
        self.config.reset();
    }

    /// Reads any number of bytes. What is not there reads as ones, as on a bus.
    pub fn read(&mut self, region: Region, offset: u64, data: &mut [u8]) {
        match region {
            _ if self.engine.is_removed() => data.fill(0xFF),
            Region::Config => self.config.read(offset, data),
            Region::Bar0 if self.config.memory_enabled() => {
                for (offset, range) in Pieces::new(offset, data.len()) {
                    self.read_bar0(offset, &mut data[range]);
                }
            }
            Region::Bar0 => data.fill(0xFF),
        }
    }

    /// Writes any number of bytes at time `now`. What is not there is ignored.
    pub fn write(&mut self, now: Nanos, region: Region, offset: u64, data: &[u8]) {
        match region {
            _ if self.engine.is_removed() => {}
            Region::Config => self.write_config(offset, data),
            Region::Bar0 if self.config.memory_enabled() => {
                for (offset, range) in Pieces::new(offset, data.len()) {
                    self.write_bar0(now, offset, &data[range]);
                }
            }
            Region::Bar0 => {}
        }
    }

    /// [`Engine::step`], with interrupts through MSI-X to `port`. A function that is not bus master
    /// leaves memory alone: its queues wait, and only a shutdown goes on.
    pub fn step(&mut self, now: Nanos, port: &mut dyn MsiPort) -> Option<Nanos> {
        if self.engine.is_removed() {
            // Messages that waited are gone with it.
            self.msix.reset();
        }
        if !self.config.bus_master() {
            self.engine.finish_shutdown(now);
            return None;
        }
        self.msix.deliver_pending(port);
        let mut sink = MsixSink {
            msix: &mut self.msix,
            port,
        };
        self.engine.step(now, &mut sink)
    }

    /// Whether nothing happens before the guest does something: no command is under way and no
    /// message waits for room.
    pub fn is_idle(&self) -> bool {
        if !self.config.bus_master() {
            return !self.engine.is_shutting_down();
        }
        self.engine.is_idle() && !self.wants_retry()
    }

    /// Whether the last step found nothing to do.
    pub fn is_quiet(&self) -> bool {
        self.engine.is_quiet()
    }

    /// See [`Engine::was_away`].
    pub fn was_away(&mut self, since: Nanos) {
        self.engine.was_away(since);
    }

    /// Whether a message waits for room in the port, which must be tried again.
    pub fn wants_retry(&self) -> bool {
        self.msix.wants_retry()
    }

    /// [`Engine::prepare_sleep`]; there is nothing to prepare for a function that is not bus master:
    /// whatever is rung waits until it is made one, and that traps.
    pub fn prepare_sleep(&mut self) -> bool {
        !self.config.bus_master() || self.engine.prepare_sleep()
    }

    /// Undoes [`NvmeFunction::prepare_sleep`].
    pub fn resume_polling(&mut self) {
        if self.config.bus_master() {
            self.engine.resume_polling();
        }
    }

    /// A lane of this function, for another poller: see [`Engine::lane`].
    pub fn lane(&mut self) -> Option<FunctionLane> {
        Some(FunctionLane {
            lane: self.engine.lane()?,
            msix: Msix::new(self.msix.vectors()),
        })
    }

    /// Whether queues may be lent now, and there are any for this lane.
    pub fn can_lend(&self, share: LaneShare) -> bool {
        self.config.bus_master() && !self.wants_retry() && self.engine.can_lend(share)
    }

    /// Lends a lane its queues. Until it is taken back, the guest and others must not reach the
    /// function: only [`NvmeFunction::step`] and what belongs to sleeping may be called.
    pub fn lend(&mut self, lane: &mut FunctionLane, share: LaneShare) {
        self.msix.copy_to(&mut lane.msix);
        self.engine.lend(&mut lane.lane, share);
    }

    /// Takes back what a lane has.
    pub fn take_back(&mut self, lane: &mut FunctionLane) {
        self.engine.take_back(&mut lane.lane);
        self.msix.take_over(&mut lane.msix);
    }

    /// Whether an admin command waits, for which lanes must be taken back.
    #[inline]
    pub fn look_for_admin(&mut self) -> bool {
        self.engine.look_for_admin()
    }

    /// Replaces the fault rules: see [`Engine::set_faults`]. A controller that a rule has removed is
    /// there again, as after a reset.
    pub fn set_faults(&mut self, rules: Rules) {
        let removed = self.engine.is_removed();
        self.engine.set_faults(rules);
        if removed {
            self.config.reset();
            self.msix.reset();
        }
    }

    /// Says who counts the exits of the function's guest: see [`Engine::set_exits`].
    pub fn set_exits(&mut self, exits: Arc<VmExits>) {
        self.engine.set_exits(exits);
    }

    /// The address that the guest gave BAR0, while the function answers there: memory space is
    /// enabled and the address is not 0. Hostile as everything from the guest: it may lie anywhere.
    pub fn bar0(&self) -> Option<u64> {
        let address = self.config.bar0();
        let answers = self.config.memory_enabled() && !self.engine.is_removed();
        (answers && address != 0).then_some(address)
    }

    /// The page of doorbells, with [`DoorbellMode::Mapped`]. It is the same one for as long as the
    /// function lives.
    ///
    /// [`DoorbellMode::Mapped`]: crate::controller::DoorbellMode::Mapped
    pub fn doorbell_page(&self) -> Option<&Arc<DoorbellPage>> {
        self.engine.doorbell_page()
    }

    /// The guest physical address at which [`NvmeFunction::doorbell_page`] has to be plain memory
    /// now, aligned to the page; `None` while accesses to the doorbells have to trap.
    ///
    /// A front end compares this after each access and each step, before the guest goes on, and lays
    /// or removes the page accordingly. What another of the guest's processors writes to the page
    /// until it is removed has no effect: it is cleared before it may be laid again. The address is
    /// the guest's: what it may cover is for the front end to judge.
    pub fn mapped_doorbells(&self) -> Option<u64> {
        self.doorbell_page()?;
        let bar0 = self.bar0().filter(|_| self.engine.is_running())?;
        bar0.checked_add(DOORBELLS)
    }

    /// The controller's engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The controller's engine, to change it.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let effects = self.config.write(offset, data);
        if effects.function_level_reset {
            self.engine.reset();
            self.config.reset();
            self.msix.reset();
        }
        // A function that may not write to memory may not send messages either; it keeps them.
        self.msix.set_control(
            self.config.msix_enabled(),
            self.config.msix_function_masked() || !self.config.bus_master(),
        );
    }

    /// One naturally aligned access of 1, 2, 4 or 8 bytes.
    fn read_bar0(&mut self, offset: u64, data: &mut [u8]) {
        match offset {
            0..MSIX_TABLE => {
                let value = self.engine.read_register(offset, data.len());
                data.copy_from_slice(&value.to_le_bytes()[..data.len()]);
            }
            MSIX_TABLE..MSIX_PBA => self.msix.read_table(offset - MSIX_TABLE, data),
            MSIX_PBA..BAR0_SIZE => self.msix.read_pending(offset - MSIX_PBA, data),
            _ => data.fill(0xFF),
        }
    }

    fn write_bar0(&mut self, now: Nanos, offset: u64, data: &[u8]) {
        match offset {
            0..MSIX_TABLE => {
                let mut value = [0; 8];
                value[..data.len()].copy_from_slice(data);
                self.engine
                    .write_register(now, offset, data.len(), u64::from_le_bytes(value));
            }
            MSIX_TABLE..MSIX_PBA => self.msix.write_table(offset - MSIX_TABLE, data),
            _ => {} // the pending bits are read-only
        }
    }
}

/// What another poller has of a function: see [`NvmeFunction::lane`].
pub struct FunctionLane {
    lane: Lane,
    msix: Msix,
}

impl FunctionLane {
    /// As [`NvmeFunction::step`], of the queues that the lane has.
    pub fn step(&mut self, now: Nanos, port: &mut dyn MsiPort) -> Option<Nanos> {
        self.msix.deliver_pending(port);
        let mut sink = MsixSink {
            msix: &mut self.msix,
            port,
        };
        self.lane.step(now, &mut sink)
    }

    /// Whether it has something that only the function can tell the host.
    #[inline]
    pub fn calls(&self) -> bool {
        self.lane.calls()
    }

    /// See [`NvmeFunction::is_idle`].
    pub fn is_idle(&self) -> bool {
        self.lane.is_idle() && !self.wants_retry()
    }

    /// See [`NvmeFunction::is_quiet`].
    pub fn is_quiet(&self) -> bool {
        self.lane.is_quiet()
    }

    /// See [`Engine::was_away`].
    pub fn was_away(&mut self, since: Nanos) {
        self.lane.was_away(since);
    }

    /// See [`NvmeFunction::wants_retry`].
    pub fn wants_retry(&self) -> bool {
        self.msix.wants_retry()
    }

    /// See [`NvmeFunction::prepare_sleep`].
    pub fn prepare_sleep(&mut self) -> bool {
        self.lane.prepare_sleep()
    }

    /// Undoes [`FunctionLane::prepare_sleep`].
    pub fn resume_polling(&mut self) {
        self.lane.resume_polling();
    }
}

/// Raises the controller's interrupts as messages.
struct MsixSink<'a> {
    msix: &'a mut Msix,
    port: &'a mut dyn MsiPort,
}

impl InterruptSink for MsixSink<'_> {
    fn raise(&mut self, vector: u16) {
        self.msix.raise(vector, self.port);
    }
}

/// Cuts an access into naturally aligned ones of at most 8 bytes. What would pass the end of the
/// address space is left out.
struct Pieces {
    offset: u64,
    at: usize,
    length: usize,
}

impl Pieces {
    fn new(offset: u64, length: usize) -> Self {
        Self {
            offset,
            at: 0,
            length,
        }
    }
}

impl Iterator for Pieces {
    type Item = (u64, std::ops::Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.length - self.at;
        let offset = self.offset.checked_add(u64::try_from(self.at).ok()?)?;
        let size = [8_usize, 4, 2, 1]
            .into_iter()
            .find(|&size| size <= left && offset.trailing_zeros() >= size.trailing_zeros())?;
        let range = self.at..self.at + size;
        self.at += size;
        Some((offset, range))
    }
}

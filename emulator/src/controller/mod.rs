// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers, queues, admin and I/O commands, events. Knows no PCI, thread, socket or clock; it
//! defines the ports it needs. Times are nanoseconds that the caller tells.

mod admin;
mod config;
mod doorbells;
mod events;
mod features;
mod health;
mod identify;
mod io;
mod log_pages;
mod namespace;
mod queues;
mod registers;

pub use admin::AdminOutcome;
pub use config::{BlockSize, ControllerConfig, DoorbellMode, NamespaceConfig, SetupError};
pub use doorbells::{DoorbellMemory, cq_slot, sq_slot};
pub use features::Features;
pub use identify::{ABORT_LIMIT, PCI_VENDOR_ID};
pub use io::{FlushScope, IoClass, IoContext, IoOutcome, IoUnit};
pub use namespace::media_status;
pub use queues::{
    CompletionQueue, CompletionQueueRequest, InvalidDoorbellValue, QueueTable, SubmissionQueue,
    SubmissionQueueRequest,
};
pub use registers::RegisterEffect;

use std::sync::Arc;

use crate::dma::{DoorbellPage, GuestRam, SegmentList};
use crate::fault::Damage;
use crate::observe::Counters;
use crate::spec::log::AsyncEvent;
use crate::spec::{AdminOpcode, Status, SubmissionQueueEntry};
use crate::timing::mix;
use events::Events;
use features::{EVENT_NAMESPACE, EVENT_TEMPERATURE};
use health::Health;
use namespace::Namespace;
use registers::RegisterFile;

/// Where the controller's interrupts go. Implemented by `pci` (MSI-X).
pub trait InterruptSink {
    /// Completions wait on a queue that uses interrupt vector `vector`.
    fn raise(&mut self, vector: u16);
}

/// The controller: state and commands. The engine decides when they run.
pub struct Controller {
    pub(crate) config: ControllerConfig,
    pub(crate) registers: RegisterFile,
    pub(crate) queues: QueueTable,
    pub(crate) io: IoUnit,
    pub(crate) features: Features,
    pub(crate) events: Events,
    pub(crate) health: Health,
    pub(crate) counters: Counters,
    pub(crate) ram: Option<GuestRam>,
    /// Features after a reset.
    defaults: Features,
    /// Buffer of the admin command under way.
    buffer: SegmentList,
    changed_namespaces: Vec<u32>,
    /// The temperature was beyond a threshold when it was last looked at.
    too_hot_or_cold: bool,
}

impl Controller {
    /// A controller without a guest.
    ///
    /// # Errors
    /// [`SetupError`] names the value that cannot work.
    pub fn new(
        config: ControllerConfig,
        namespaces: Vec<NamespaceConfig>,
    ) -> Result<Self, SetupError> {
        config.validate()?;
        let namespaces = (1..)
            .zip(namespaces)
            .map(|(nsid, namespace)| Namespace::new(namespace, &config.serial, nsid))
            .collect::<Result<_, _>>()?;
        let page = match config.doorbells {
            DoorbellMode::Mapped => {
                let page = DoorbellPage::new();
                Some(page.map_err(|error| SetupError::NoDoorbellPage(error.to_string()))?)
            }
            DoorbellMode::Exit | DoorbellMode::Shadow => None,
        };
        let features = Features::new(&config);
        let mut controller = Self {
            registers: RegisterFile::new(&config),
            queues: QueueTable::new(config.queue_pairs, page.map(Arc::new)),
            io: IoUnit::new(namespaces, config.max_transfer),
            defaults: features.clone(),
            features,
            events: Events::default(),
            health: Health::default(),
            counters: Counters::new(usize::from(config.queue_pairs) + 1),
            ram: None,
            buffer: SegmentList::with_capacity(config.max_transfer as usize),
            changed_namespaces: Vec::new(),
            too_hot_or_cold: false,
            config,
        };
        controller.restore_media_cache();
        Ok(controller)
    }

    /// A controller of the same namespaces that has nothing of its own: queues are lent to it. `None`
    /// when a medium is for one thread only.
    pub fn another(&self) -> Option<Self> {
        Some(Self {
            config: self.config.clone(),
            registers: self.registers.clone(),
            queues: self.queues.another(),
            io: self.io.another(self.config.max_transfer)?,
            features: self.features.clone(),
            events: Events::default(),
            health: Health::default(),
            counters: Counters::new(self.queues.identifiers()),
            ram: None,
            defaults: self.defaults.clone(),
            buffer: SegmentList::default(),
            changed_namespaces: Vec::new(),
            too_hot_or_cold: false,
        })
    }

    /// Lends I/O queues to `other`, with everything that their commands depend on.
    pub fn lend(&mut self, other: &mut Self, wanted: impl Fn(u16) -> bool) {
        self.health.share();
        other.registers.clone_from(&self.registers);
        other.features.clone_from(&self.features);
        other.ram.clone_from(&self.ram);
        let originals = self.io.namespaces().iter();
        for (namespace, original) in other.io.namespaces_mut().iter_mut().zip(originals) {
            namespace.follow(original);
        }
        self.queues.lend(&mut other.queues, wanted);
    }

    /// Takes back what was lent to `other`, and takes over what it counted and noted.
    pub fn take_back(&mut self, other: &mut Self) {
        self.queues.take_back(&mut other.queues);
        self.events.take_over(&mut other.events);
        self.health.take_over(&mut other.health);
        self.counters.take_over(&mut other.counters);
        other.ram = None;
    }

    /// CC.EN 0 -> 1: makes the admin queues and becomes ready, or fails (CSTS.CFS).
    pub fn enable(&mut self) {
        // There are no queues yet. But a page of doorbells may have been the guest's for a moment
        // longer than the controller was enabled.
        self.queues.clear();
        match self.try_enable() {
            Some(()) => self.registers.set_ready(),
            None => {
                log::warn!("cannot start: CC, AQA, ASQ or ACQ is not valid");
                self.queues.clear();
                self.registers.set_fatal();
            }
        }
    }

    fn try_enable(&mut self) -> Option<()> {
        if !self.registers.can_enable() {
            return None;
        }
        let ram = self.ram.as_ref()?;
        let (base, entries) = self.registers.admin_cq();
        let request = CompletionQueueRequest {
            qid: 0,
            base,
            entries,
            vector: 0,
            interrupts: true,
        };
        self.queues.create_cq(ram, &request).ok()?;
        let (base, entries) = self.registers.admin_sq();
        let request = SubmissionQueueRequest {
            qid: 0,
            base,
            entries,
            cqid: 0,
        };
        self.queues.create_sq(ram, &request).ok()
    }

    /// CC.EN 1 -> 0: queues, events, what doorbells in memory hold and features are gone; data and
    /// logs stay.
    pub fn disable(&mut self) {
        self.queues.clear();
        self.events.clear();
        self.features = self.defaults.clone();
        self.too_hot_or_cold = false;
        for namespace in self.io.namespaces_mut() {
            namespace.error_recovery = 0;
        }
        self.restore_media_cache();
        self.registers.disable();
    }

    /// A reset of the function (`subsystem` false) or of the whole subsystem.
    pub fn reset(&mut self, subsystem: bool) {
        self.disable();
        self.registers.reset_all(subsystem);
    }

    /// What a reset makes of the cache feature must hold for the media too.
    fn restore_media_cache(&mut self) {
        let on = self.features.volatile_cache();
        for namespace in self.io.namespaces_mut() {
            namespace.media.set_volatile_cache(on);
        }
    }

    /// A host that has written to the slot of a queue that does not exist is told so, once for each
    /// write that is noticed.
    pub fn report_stray(&mut self, slot: u32) {
        if self.queues.take_stray(slot) {
            log::debug!("doorbell slot {slot} was written; its queue does not exist");
            self.events.raise(AsyncEvent::InvalidDoorbellRegister);
        }
    }

    /// Executes an I/O command.
    pub fn execute_io(&mut self, sqe: &SubmissionQueueEntry) -> IoOutcome {
        self.with_io(|io, cx| io.execute(cx, sqe))
    }

    /// Executes an I/O command whose data a fault rule damages.
    pub fn execute_damaged(&mut self, sqe: &SubmissionQueueEntry, damage: Damage) -> IoOutcome {
        self.with_io(|io, cx| io.execute_damaged(cx, sqe, damage))
    }

    #[inline]
    fn with_io(
        &mut self,
        execute: impl FnOnce(&mut IoUnit, &IoContext<'_>) -> IoOutcome,
    ) -> IoOutcome {
        let Some(ram) = &self.ram else {
            return IoOutcome::failed(Status::INTERNAL_ERROR);
        };
        let cx = IoContext {
            ram,
            page_size: self.registers.page_size() as usize,
            max_transfer: self.config.max_transfer,
            write_through: !self.features.volatile_cache(),
        };
        execute(&mut self.io, &cx)
    }

    /// Cuts the power of the media, which lose what was not stable; a controller that runs stops with
    /// CSTS.CFS.
    pub fn cut_power(&mut self, seed: u64) {
        for (nsid, namespace) in (1..).zip(self.io.namespaces_mut()) {
            let lost = namespace.media_mut().power_cut(mix(seed, nsid));
            log::warn!("power cut: namespace {nsid}: {lost:?}");
        }
        self.counters.faults.power_cuts += 1;
        self.registers.set_failed();
    }

    /// Sets the composite temperature in kelvins: a warning and its event follow when it crosses a
    /// threshold.
    pub fn set_temperature(&mut self, kelvins: u16) {
        self.health.temperature = kelvins;
        self.check_temperature();
    }

    pub(super) fn check_temperature(&mut self) {
        let (over, under) = self.features.temperature_thresholds();
        let warning = self.health.too_hot_or_cold(over, under);
        if warning && !self.too_hot_or_cold && self.features.wants_event(EVENT_TEMPERATURE) {
            self.events.raise(AsyncEvent::Temperature);
        }
        self.too_hot_or_cold = warning;
    }

    /// Notes that a namespace's attributes changed other than by a command of this host.
    pub fn namespace_changed(&mut self, nsid: u32) {
        if self.io.namespace(nsid).is_none() || self.changed_namespaces.contains(&nsid) {
            return;
        }
        self.changed_namespaces.push(nsid);
        self.changed_namespaces.sort_unstable();
        if self.features.wants_event(EVENT_NAMESPACE) {
            self.events.raise(AsyncEvent::NamespaceAttributeChanged);
        }
    }

    /// The status of a failed command as its completion shows it: Do Not Retry where a retry cannot
    /// help, More where the error log tells more. Writes the error log entry.
    pub fn report_failure(
        &mut self,
        sqid: u16,
        sqe: &SubmissionQueueEntry,
        status: Status,
    ) -> Status {
        let status = if status.is_transient() {
            status
        } else {
            status.do_not_retry()
        };
        if !is_worth_an_entry(sqid, sqe.opcode, status) {
            return status;
        }
        let status = status.more();
        self.health.log_error(sqid, sqe, status);
        status
    }
}

/// Whether a failure belongs into the error log. Questions do not (Identify, Get Features and Get
/// Log Page, and opcodes that are not supported: asking is how a host finds out what there is), nor
/// does what a host brought about on purpose (Abort, queue deletion, a Compare that differs).
fn is_worth_an_entry(sqid: u16, opcode: u8, status: Status) -> bool {
    let outcome = status.without_flags();
    if matches!(
        outcome,
        Status::INVALID_OPCODE
            | Status::ABORT_REQUESTED
            | Status::ABORTED_SQ_DELETION
            | Status::COMPARE_FAILURE
            | Status::EVENT_REQUEST_LIMIT_EXCEEDED
            | Status::ABORT_LIMIT_EXCEEDED
    ) {
        return false;
    }
    let question = sqid == 0
        && matches!(
            AdminOpcode(opcode),
            AdminOpcode::IDENTIFY | AdminOpcode::GET_FEATURES | AdminOpcode::GET_LOG_PAGE
        );
    !question || outcome == Status::DATA_TRANSFER_ERROR
}

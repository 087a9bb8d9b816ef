// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The controller: registers, admin queue, queue pairs.

use crate::check::{Failure, Outcome, at_least, equal, equal_in, that};
use crate::clock::Patience;
use crate::command::{
    ASYNC_EVENT_REQUEST, Command, Completion, DELETE_CQ, DELETE_SQ, DOORBELL_BUFFER_CONFIG,
    SET_FEATURES, SUCCESS, create_cq, create_sq, log_page, low16, low32,
};
use crate::doorbell::{Bell, Mode, Shadow};
use crate::identify::{self, Identity};
use crate::layout::Parameters;
use crate::memory::{Arena, Region};
use crate::mmio::Mmio;
use crate::pci::{self, Function};
use crate::rings::{QueueMemory, QueuePair};

/// Register: Controller Capabilities.
pub const CAP: u64 = 0x00;
/// Register: Version.
pub const VS: u64 = 0x08;
/// Register: Controller Configuration.
pub const CC: u64 = 0x14;
/// Register: Controller Status.
pub const CSTS: u64 = 0x1C;
/// Register: Admin Queue Attributes.
pub const AQA: u64 = 0x24;
/// Register: Admin Submission Queue.
pub const ASQ: u64 = 0x28;
/// Register: Admin Completion Queue.
pub const ACQ: u64 = 0x30;
/// The first doorbell.
pub const DOORBELLS: u64 = 0x1000;
/// Bytes of doorbells.
pub const DOORBELL_BYTES: u64 = 0x1000;

/// CC: entries of 64 and 16 bytes, everything else 0.
const CC_SIZES: u64 = 4 << 20 | 6 << 16;
/// CC.EN.
const CC_EN: u64 = 1;
/// CC.SHN: normal shutdown.
const CC_SHN_NORMAL: u64 = 1 << 14;
/// CSTS.RDY.
pub const CSTS_RDY: u64 = 1;
/// CSTS.CFS.
pub const CSTS_CFS: u64 = 1 << 1;
/// CSTS.SHST and its value "complete".
const CSTS_SHST: u64 = 3 << 2;
const CSTS_SHST_COMPLETE: u64 = 2 << 2;

/// Entries of the admin queues.
const ADMIN_ENTRIES: u32 = 32;
/// Identifiers of Asynchronous Event Requests begin here; other admin commands' stay below.
const EVENT_CIDS: u16 = 0xE000;
/// The Error Information log.
const LOG_ERROR: u8 = 0x01;

/// The controller and what the driver holds for it.
pub struct Controller {
    /// Its PCI function.
    pub function: Function,
    /// BAR0.
    pub bar: Mmio,
    /// How doorbells are rung.
    pub mode: Mode,
    /// How long the device may take for anything.
    pub patience: Patience,
    /// What Identify said; all 0 before.
    pub identity: Identity,
    /// The admin queue pair.
    pub admin: QueuePair,
    /// A page for what admin commands give.
    pub page: Region,
    shadow: Option<Shadow>,
    shadow_pages: Shadow,
    next_cid: u16,
    /// Dword 0 of an asynchronous event that has come.
    event: Option<u32>,
    /// Doorbell registers that I/O queues have written, as far as accounted for.
    registers_written: u64,
}

impl Controller {
    /// Finds the controller, which is left disabled.
    ///
    /// # Errors
    /// There is none, or it does not stop.
    pub fn find(parameters: &Parameters, arena: &mut Arena) -> Outcome<Self> {
        let function = Function::find()?;
        function.enable()?;
        let bar = pci::bar0();
        let memory = QueueMemory::new(arena, ADMIN_ENTRIES);
        let bells = [0, 1].map(|slot| Bell::new(bar.part(DOORBELLS, DOORBELL_BYTES), None, slot));
        let mut controller = Self {
            function,
            bar,
            mode: Mode::new(parameters.doorbells),
            patience: Patience(parameters.patience_ticks),
            identity: Identity::default(),
            admin: QueuePair::new(0, ADMIN_ENTRIES, memory, bells),
            page: arena.pages(1),
            shadow: None,
            shadow_pages: Shadow {
                doorbells: arena.pages(1),
                events: arena.pages(1),
            },
            next_cid: 0,
            event: None,
            registers_written: 0,
        };
        controller.disable()?;
        Ok(controller)
    }

    /// From found to ready, with what Identify says known and queue pairs allowed for.
    ///
    /// # Errors
    /// Whatever does not go as it must.
    pub fn bring_up(&mut self, parameters: &Parameters) -> Outcome {
        self.check_capabilities()?;
        self.enable()?;
        let version = self.bar.read32(VS);
        self.admin(identify::command(0x01, 0, self.page.address()))?;
        self.identity = identify::controller(self.page, low32(version), self.mode)?;
        self.admin(identify::command(0x02, 0, self.page.address()))?;
        identify::namespace_list(self.page)?;
        self.admin(identify::command(0x00, 1, self.page.address()))?;
        identify::namespace(self.page, parameters)?;
        self.prepare_queues(parameters)
    }

    /// After [`Controller::enable`]: as many queues as wanted, and the shadow doorbells where they
    /// are used.
    ///
    /// # Errors
    /// They are not granted.
    pub fn prepare_queues(&mut self, parameters: &Parameters) -> Outcome {
        let wanted = Command::new(SET_FEATURES)
            .cdw(10, 0x07)
            .cdw(11, identify::number_of_queues(parameters.queue_pairs));
        let granted = self.admin(wanted)?.result;
        for half in [granted & 0xFFFF, granted >> 16] {
            at_least(
                "queues that Number of Queues grants",
                parameters.queue_pairs,
                u64::from(half) + 1,
            )?;
        }
        if self.mode == Mode::Shadow {
            self.configure_shadow()?;
        }
        Ok(())
    }

    fn configure_shadow(&mut self) -> Outcome {
        let pages = self.shadow_pages;
        // The driver hands the pages over as they are after a reset: all doorbells 0.
        pages.doorbells.fill(0);
        pages.events.fill(0);
        let command = Command::new(DOORBELL_BUFFER_CONFIG)
            .prp(pages.doorbells.address(), pages.events.address());
        self.admin(command)?;
        self.shadow = Some(pages);
        Ok(())
    }

    fn check_capabilities(&self) -> Outcome {
        let cap = self.bar.read(CAP, 8);
        equal(
            "the halves of CAP are the whole",
            cap,
            self.bar.read32(CAP + 4) << 32 | self.bar.read32(CAP),
        )?;
        at_least("CAP.MQES", 1, cap & 0xFFFF)?;
        equal("CAP.DSTRD: doorbells of 4 bytes", 0, cap >> 32 & 0xF)?;
        that("CAP.CSS: the NVM command set", cap >> 37 & 1 == 1)?;
        equal("CAP.MPSMIN: pages of 4 KiB", 0, cap >> 48 & 0xF)?;
        at_least("VS: at least NVMe 1.4", 0x0001_0400, self.bar.read32(VS))
    }

    /// Largest queue in entries.
    pub fn queue_limit(&self) -> u64 {
        (self.bar.read(CAP, 8) & 0xFFFF) + 1
    }

    /// CC.EN 0 -> 1, with fresh admin queues.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn enable(&mut self) -> Outcome {
        let bells = [0, 1].map(|slot| self.bell(slot));
        self.admin = QueuePair::new(0, ADMIN_ENTRIES, self.admin.memory(), bells);
        self.event = None;
        let entries = u64::from(ADMIN_ENTRIES - 1);
        let memory = self.admin.memory();
        self.bar.write32(AQA, entries << 16 | entries);
        self.bar.write(ASQ, 8, memory.sq.address());
        self.bar.write(ACQ, 8, memory.cq.address());
        equal("ASQ as written", memory.sq.address(), self.bar.read(ASQ, 8))?;
        self.bar.write32(CC, CC_SIZES | CC_EN);
        self.wait_status("CSTS.RDY after CC.EN = 1", CSTS_RDY | CSTS_CFS, CSTS_RDY)
    }

    /// CC.EN 1 -> 0: a controller reset. Ready for [`Controller::enable`].
    ///
    /// # Errors
    /// It does not stop.
    pub fn disable(&mut self) -> Outcome {
        self.bar.write32(CC, CC_SIZES);
        self.shadow = None;
        self.wait_status("CSTS.RDY clear after CC.EN = 0", CSTS_RDY, 0)
    }

    /// A normal shutdown.
    ///
    /// # Errors
    /// It does not end.
    pub fn shut_down(&mut self) -> Outcome {
        self.bar.write32(CC, CC_SIZES | CC_EN | CC_SHN_NORMAL);
        let message = "CSTS.SHST complete after CC.SHN";
        self.wait_status(message, CSTS_SHST, CSTS_SHST_COMPLETE)
    }

    #[track_caller]
    fn wait_status(&self, message: &'static str, mask: u64, wanted: u64) -> Outcome {
        let mut last = 0;
        let waited = self.patience.wait(message, || {
            last = self.bar.read32(CSTS);
            (last & mask == wanted).then_some(())
        });
        waited.map_err(|failure| Failure {
            expected: wanted,
            seen: last,
            ..failure
        })
    }

    /// A doorbell as it is rung now.
    fn bell(&self, slot: u64) -> Bell {
        // The admin queue's doorbells are never shadowed.
        let shadow = if slot < 2 { None } else { self.shadow };
        let registers = self.bar.part(DOORBELLS, DOORBELL_BYTES);
        Bell::new(registers, shadow, slot)
    }

    /// The doorbell register of any queue, there or not: twice the queue, and 1 more for completion
    /// queues.
    pub fn register_bell(&self, slot: u64) -> Bell {
        Bell::new(self.bar.part(DOORBELLS, DOORBELL_BYTES), None, slot)
    }

    /// Puts an admin command and rings; gives its identifier.
    fn submit_admin(&mut self, command: Command, cid: u16) -> u16 {
        self.admin.put(&command.cid(cid));
        self.admin.ring();
        cid
    }

    /// Takes what has come on the admin queue: an event is noted, anything else is given.
    fn take_admin(&mut self) -> Outcome<Option<Completion>> {
        let Some(completion) = self.admin.take_checked()? else {
            return Ok(None);
        };
        self.admin.release();
        if completion.cid < EVENT_CIDS {
            return Ok(Some(completion));
        }
        let status = u64::from(completion.status);
        equal("status of an asynchronous event", SUCCESS.into(), status)?;
        that("one asynchronous event at a time", self.event.is_none())?;
        self.event = Some(completion.result);
        Ok(None)
    }

    /// Executes an admin command, whatever its status.
    ///
    /// # Errors
    /// It does not complete, or another one does.
    pub fn try_admin(&mut self, command: Command) -> Outcome<Completion> {
        self.next_cid = (self.next_cid + 1) % EVENT_CIDS;
        let cid = self.submit_admin(command, self.next_cid);
        let opcode = command.0[0] & 0xFF;
        let patience = self.patience;
        let completion = patience
            .wait(
                "an admin command completes (detail: opcode)",
                || match self.take_admin() {
                    Ok(None) => None,
                    Ok(Some(completion)) => Some(Ok(completion)),
                    Err(failure) => Some(Err(failure)),
                },
            )
            .map_err(|failure| failure.with(opcode))??;
        equal_in(
            "CID of an admin completion (detail: opcode)",
            cid.into(),
            completion.cid.into(),
            opcode,
        )?;
        Ok(completion)
    }

    /// Executes an admin command that must succeed.
    ///
    /// # Errors
    /// It does not.
    #[track_caller]
    pub fn admin(&mut self, command: Command) -> Outcome<Completion> {
        let completion = self.try_admin(command)?;
        equal_in(
            "status of an admin command (detail: opcode)",
            SUCCESS.into(),
            completion.status.into(),
            command.0[0] & 0xFF,
        )?;
        Ok(completion)
    }

    /// Makes a queue pair; with a `vector`, its completions interrupt.
    ///
    /// # Errors
    /// The controller does not want it.
    pub fn create_queue(
        &mut self,
        id: u16,
        entries: u32,
        memory: QueueMemory,
        vector: Option<u16>,
    ) -> Outcome<QueuePair> {
        let slot = 2 * u64::from(id);
        let bells = [slot, slot + 1].map(|slot| self.bell(slot));
        let pair = QueuePair::new(id, entries, memory, bells);
        self.admin(create_cq(id, entries, memory.cq.address(), vector))?;
        self.admin(create_sq(id, entries, memory.sq.address(), id))?;
        Ok(pair)
    }

    /// Deletes a submission queue: all its commands that were fetched have completed when this is
    /// done.
    ///
    /// # Errors
    /// The controller does not want to.
    pub fn delete_sq(&mut self, pair: &QueuePair) -> Outcome {
        self.admin(Command::new(DELETE_SQ).cdw(10, pair.id.into()))?;
        Ok(())
    }

    /// Deletes a completion queue.
    ///
    /// # Errors
    /// As above.
    pub fn delete_cq(&mut self, pair: &QueuePair) -> Outcome {
        self.admin(Command::new(DELETE_CQ).cdw(10, pair.id.into()))?;
        Ok(())
    }

    /// Hands the controller a request for an event.
    pub fn ask_for_event(&mut self) {
        self.event = None;
        self.submit_admin(Command::new(ASYNC_EVENT_REQUEST), EVENT_CIDS);
    }

    /// Whether an event has come that [`Controller::wait_event`] has not given yet.
    ///
    /// # Errors
    /// Something else came.
    pub fn event_came(&mut self) -> Outcome<bool> {
        let other = self.take_admin()?;
        that("nothing but an event on the admin queue", other.is_none())?;
        Ok(self.event.is_some())
    }

    /// Waits for the event that was asked for; gives dword 0.
    ///
    /// # Errors
    /// It does not come.
    pub fn wait_event(&mut self) -> Outcome<u64> {
        let patience = self.patience;
        patience.wait("an asynchronous event comes", || match self.event_came() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(failure) => Some(Err(failure)),
        })??;
        Ok(self.event.take().unwrap_or(0).into())
    }

    /// Reads the error log, so that error events may come again.
    ///
    /// # Errors
    /// It fails.
    pub fn read_error_log(&mut self) -> Outcome {
        self.admin(log_page(LOG_ERROR, 64, self.page.address()))?;
        Ok(())
    }

    /// Adds what `pair`'s doorbells have written to the account, as it goes.
    pub fn account(&mut self, pair: &QueuePair) {
        self.registers_written += pair.registers_written();
    }

    /// Doorbell registers of I/O queues written so far, as far as accounted for.
    pub fn io_registers_written(&self) -> u64 {
        self.registers_written
    }

    /// Entries for a queue of `depth` commands.
    ///
    /// # Errors
    /// The controller's queues are not that large.
    pub fn entries_for(&self, depth: u64) -> Outcome<u32> {
        at_least(
            "CAP.MQES is enough for the depth",
            depth + 1,
            self.queue_limit(),
        )?;
        Ok(low32(depth + 1))
    }
}

/// A queue identifier.
pub fn queue_id(number: u64) -> u16 {
    low16(number)
}

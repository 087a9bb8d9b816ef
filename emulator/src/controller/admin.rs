// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Admin commands (NVMe Base 2.0c, 5).

use zerocopy::IntoBytes;

use super::features::{FeatureEffect, FeatureValue, set_error_recovery};
use super::io::{FlushScope, check_flags};
use super::queues::{CompletionQueueRequest, SubmissionQueueRequest};
use super::{BlockSize, Controller, DoorbellMode, cq_slot, sq_slot};
use crate::dma::ShadowDoorbells;
use crate::spec::feature::{
    CAPABILITY_NAMESPACE, FeatureId, FeatureSelect, HOST_BEHAVIOR_BYTES, TimestampData,
};
use crate::spec::{AdminOpcode, NSID_BROADCAST, Status, SubmissionQueueEntry};

/// Entry sizes that CC must name before I/O queues are made, as powers of two.
const IOSQES: u8 = 6;
const IOCQES: u8 = 4;

/// How an admin command goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminOutcome {
    /// It is done, with dword 0 of the completion.
    Done(u32),
    /// It is done once these namespaces are flushed.
    Flush(FlushScope),
    /// It waits for an asynchronous event.
    AwaitEvent,
    /// The commands of this submission queue must be completed, then the queue removed.
    DeleteSubmissionQueue(u16),
    /// A command is to be aborted.
    Abort {
        /// Its submission queue.
        sqid: u16,
        /// Its identifier.
        cid: u16,
    },
}

const DONE: AdminOutcome = AdminOutcome::Done(0);

impl Controller {
    /// Executes an admin command.
    ///
    /// # Errors
    /// The status that it completes with.
    pub fn execute_admin(
        &mut self,
        sqe: &SubmissionQueueEntry,
        now: u64,
    ) -> Result<AdminOutcome, Status> {
        match AdminOpcode(sqe.opcode) {
            AdminOpcode::DELETE_SQ => self.delete_sq(sqe),
            AdminOpcode::CREATE_SQ => self.create_sq(sqe),
            AdminOpcode::GET_LOG_PAGE => {
                check_flags(sqe)?;
                self.get_log_page(sqe, now).map(|()| DONE)
            }
            AdminOpcode::DELETE_CQ => self.delete_cq(sqe),
            AdminOpcode::CREATE_CQ => self.create_cq(sqe),
            AdminOpcode::IDENTIFY => {
                check_flags(sqe)?;
                self.identify(sqe).map(|()| DONE)
            }
            AdminOpcode::ABORT => {
                check_flags(sqe)?;
                let (sqid, cid) = halves(sqe.cdw10.get());
                Ok(AdminOutcome::Abort { sqid, cid })
            }
            AdminOpcode::SET_FEATURES => self.set_features(sqe, now),
            AdminOpcode::GET_FEATURES => self.get_features(sqe, now),
            AdminOpcode::ASYNC_EVENT_REQUEST => {
                check_flags(sqe)?;
                self.events.park(sqe.cid.get())?;
                Ok(AdminOutcome::AwaitEvent)
            }
            AdminOpcode::DOORBELL_BUFFER_CONFIG
                if self.config.doorbells == DoorbellMode::Shadow =>
            {
                self.doorbell_buffer_config(sqe)
            }
            AdminOpcode::FORMAT_NVM => self.format(sqe),
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    fn create_cq(&mut self, sqe: &SubmissionQueueEntry) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let (qid, size) = halves(sqe.cdw10.get());
        let (flags, vector) = halves(sqe.cdw11.get());
        let (_, most) = self.features.queue_limits();
        if qid == 0 || qid > most || self.queues.cq(qid).is_some() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        let entries = self.queue_entries(size, self.registers.cc().iocqes() == IOCQES)?;
        let base = self.queue_base(sqe, flags)?;
        let interrupts = flags & 1 << 1 != 0;
        if interrupts && vector >= self.config.vectors {
            return Err(Status::INVALID_INTERRUPT_VECTOR);
        }
        let request = CompletionQueueRequest {
            qid,
            base,
            entries,
            vector,
            interrupts,
        };
        self.report_stray(cq_slot(qid));
        let ram = self.ram.as_ref().ok_or(Status::INTERNAL_ERROR)?;
        let made = self.queues.create_cq(ram, &request);
        made.map_err(|_| Status::INVALID_FIELD)?;
        Ok(DONE)
    }

    fn create_sq(&mut self, sqe: &SubmissionQueueEntry) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let (qid, size) = halves(sqe.cdw10.get());
        let (flags, cqid) = halves(sqe.cdw11.get());
        let (most, most_cq) = self.features.queue_limits();
        // "Completion Queue Invalid" is for an identifier that could be one but is not there yet;
        // one out of range is an invalid identifier.
        if cqid == 0 || cqid <= most_cq && self.queues.cq(cqid).is_none() {
            return Err(Status::COMPLETION_QUEUE_INVALID);
        }
        if cqid > most_cq || qid == 0 || qid > most || self.queues.sq(qid).is_some() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        let entries = self.queue_entries(size, self.registers.cc().iosqes() == IOSQES)?;
        let base = self.queue_base(sqe, flags)?;
        let request = SubmissionQueueRequest {
            qid,
            base,
            entries,
            cqid,
        };
        self.report_stray(sq_slot(qid));
        let ram = self.ram.as_ref().ok_or(Status::INTERNAL_ERROR)?;
        let made = self.queues.create_sq(ram, &request);
        made.map_err(|_| Status::INVALID_FIELD)?;
        if let Some(counters) = self.counters.queue_mut(qid) {
            counters.creations = counters.creations.wrapping_add(1);
        }
        Ok(DONE)
    }

    /// Entries of a queue from the 0's based QSIZE. A wrong entry size in CC is reported like a
    /// wrong queue size: the specification has no status of its own for it.
    fn queue_entries(&self, size: u16, entry_size_ok: bool) -> Result<u32, Status> {
        let entries = u32::from(size) + 1;
        if size == 0 || entries > self.config.queue_depth || !entry_size_ok {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        Ok(entries)
    }

    /// PRP1 of a queue: physically contiguous (CAP.CQR is 1) and page aligned.
    fn queue_base(&self, sqe: &SubmissionQueueEntry, flags: u16) -> Result<u64, Status> {
        let base = sqe.prp1.get();
        let contiguous = flags & 1 != 0;
        if !contiguous || base == 0 || !base.is_multiple_of(self.registers.page_size().into()) {
            return Err(Status::INVALID_FIELD);
        }
        Ok(base)
    }

    fn delete_sq(&mut self, sqe: &SubmissionQueueEntry) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let (qid, _) = halves(sqe.cdw10.get());
        if qid == 0 || self.queues.sq(qid).is_none() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        Ok(AdminOutcome::DeleteSubmissionQueue(qid))
    }

    fn delete_cq(&mut self, sqe: &SubmissionQueueEntry) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let (qid, _) = halves(sqe.cdw10.get());
        if qid == 0 {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        self.queues.remove_cq(qid).map(|()| DONE)
    }

    fn get_features(
        &mut self,
        sqe: &SubmissionQueueEntry,
        now: u64,
    ) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let [id, select, ..] = sqe.cdw10.get().to_le_bytes();
        let feature = FeatureId(id);
        let select = FeatureSelect::from_bits(select & 7).ok_or(Status::INVALID_FIELD)?;
        let capabilities = self.features.capabilities(feature);
        let capabilities = capabilities.ok_or(Status::INVALID_FIELD)?;
        let (nsid, cdw11) = (sqe.nsid.get(), sqe.cdw11.get());
        let namespaced = capabilities & CAPABILITY_NAMESPACE != 0;
        if namespaced && self.io.namespace(nsid).is_none() {
            return Err(Status::INVALID_NAMESPACE);
        }
        let value = match select {
            FeatureSelect::Capabilities => return Ok(AdminOutcome::Done(capabilities)),
            FeatureSelect::Current => self.features.get(feature, cdw11, nsid, &self.io, now)?,
            // Nothing can be saved, so the saved value is the default.
            FeatureSelect::Default | FeatureSelect::Saved if namespaced => FeatureValue::Dword(0),
            FeatureSelect::Default | FeatureSelect::Saved => {
                self.defaults.get(feature, cdw11, nsid, &self.io, now)?
            }
        };
        match value {
            FeatureValue::Dword(dword) => Ok(AdminOutcome::Done(dword)),
            FeatureValue::Data(data) => self.send(sqe, &data).map(|()| DONE),
        }
    }

    fn set_features(
        &mut self,
        sqe: &SubmissionQueueEntry,
        now: u64,
    ) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let feature = FeatureId(sqe.cdw10.get().to_le_bytes()[0]);
        let capabilities = self.features.capabilities(feature);
        let capabilities = capabilities.ok_or(Status::INVALID_FIELD)?;
        if sqe.cdw10.get() & 1 << 31 != 0 {
            return Err(Status::FEATURE_NOT_SAVEABLE);
        }
        let (nsid, cdw11) = (sqe.nsid.get(), sqe.cdw11.get());
        if capabilities & CAPABILITY_NAMESPACE != 0 {
            return set_error_recovery(&mut self.io, nsid, cdw11).map(|()| DONE);
        }
        if !matches!(nsid, 0 | NSID_BROADCAST) {
            let known = self.io.namespace(nsid).ok_or(Status::INVALID_NAMESPACE);
            return known.and(Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC));
        }
        match feature {
            FeatureId::TIMESTAMP => {
                let mut data = TimestampData::default();
                self.receive(sqe, data.as_mut_bytes())?;
                self.features.set_timestamp(&data, now);
                return Ok(DONE);
            }
            FeatureId::HOST_BEHAVIOR => {
                let mut data = [0; HOST_BEHAVIOR_BYTES];
                self.receive(sqe, &mut data)?;
                return self.features.set_host_behavior(&data).map(|()| DONE);
            }
            FeatureId::NUMBER_OF_QUEUES if self.queues.has_io_queues() => {
                return Err(Status::COMMAND_SEQUENCE_ERROR);
            }
            _ => {}
        }
        let (dword0, effect) = self.features.set(feature, cdw11, &self.config)?;
        match effect {
            FeatureEffect::None => {}
            FeatureEffect::VolatileCache(on) => return Ok(self.set_volatile_cache(on)),
            FeatureEffect::TemperatureThreshold => self.check_temperature(),
        }
        Ok(AdminOutcome::Done(dword0))
    }

    /// Turning the cache off completes once everything in it is stable.
    fn set_volatile_cache(&mut self, on: bool) -> AdminOutcome {
        for namespace in self.io.namespaces_mut() {
            namespace.media.set_volatile_cache(on);
        }
        if on {
            DONE
        } else {
            AdminOutcome::Flush(FlushScope::All)
        }
    }

    fn doorbell_buffer_config(
        &mut self,
        sqe: &SubmissionQueueEntry,
    ) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let (doorbells, event_indices) = (sqe.prp1.get(), sqe.prp2.get());
        let page = u64::from(self.registers.page_size());
        let aligned = doorbells.is_multiple_of(page) && event_indices.is_multiple_of(page);
        if doorbells == 0 || event_indices == 0 || doorbells == event_indices || !aligned {
            return Err(Status::INVALID_FIELD);
        }
        let slots = u32::try_from(2 * self.queues.identifiers()).unwrap_or(u32::MAX);
        let ram = self.ram.as_ref().ok_or(Status::INTERNAL_ERROR)?;
        let shadow = ShadowDoorbells::new(ram, doorbells, event_indices, slots);
        let shadow = shadow.map_err(|_| Status::INVALID_FIELD)?;
        self.queues.set_shadow(shadow);
        Ok(DONE)
    }

    /// Format NVM: LBA formats without metadata or protection; user data erase or none, which both
    /// leave zeros.
    fn format(&mut self, sqe: &SubmissionQueueEntry) -> Result<AdminOutcome, Status> {
        check_flags(sqe)?;
        let cdw10 = sqe.cdw10.get();
        let field = |shift: u32, mask: u32| (cdw10 >> shift & mask).to_le_bytes()[0];
        let format = field(12, 0b11) << 4 | field(0, 0xF);
        let extended_metadata = field(4, 1) != 0;
        let protection = field(5, 0b111);
        let secure_erase = field(9, 0b111);
        let scope = match sqe.nsid.get() {
            NSID_BROADCAST => FlushScope::All,
            nsid if self.io.namespace(nsid).is_some() => FlushScope::Namespace(nsid),
            _ => return Err(Status::INVALID_NAMESPACE),
        };
        let block = BlockSize::from_index(format).ok_or(Status::INVALID_FORMAT)?;
        if protection != 0 || extended_metadata {
            return Err(Status::INVALID_FORMAT);
        }
        // Cryptographic erase is not offered (FNA bit 2).
        if secure_erase > 1 {
            return Err(Status::INVALID_FIELD);
        }
        match scope {
            FlushScope::Namespace(nsid) => {
                let namespace = self.io.namespace_mut(nsid);
                namespace.ok_or(Status::INVALID_NAMESPACE)?.format(block)?;
            }
            _ => {
                for namespace in self.io.namespaces_mut() {
                    namespace.format(block)?;
                }
            }
        }
        Ok(AdminOutcome::Flush(scope))
    }

    /// Copies `data` into the command's buffer.
    pub(super) fn send(&mut self, sqe: &SubmissionQueueEntry, data: &[u8]) -> Result<(), Status> {
        let ram = self.ram.as_ref().ok_or(Status::INTERNAL_ERROR)?;
        let page_size = self.registers.page_size() as usize;
        let (prp1, prp2) = (sqe.prp1.get(), sqe.prp2.get());
        self.buffer
            .resolve_prp(ram, prp1, prp2, data.len(), page_size)?;
        self.buffer.write_to_guest(ram, data);
        Ok(())
    }

    /// Copies the command's buffer into `data`.
    fn receive(&mut self, sqe: &SubmissionQueueEntry, data: &mut [u8]) -> Result<(), Status> {
        let ram = self.ram.as_ref().ok_or(Status::INTERNAL_ERROR)?;
        let page_size = self.registers.page_size() as usize;
        let (prp1, prp2) = (sqe.prp1.get(), sqe.prp2.get());
        self.buffer
            .resolve_prp(ram, prp1, prp2, data.len(), page_size)?;
        self.buffer.read_from_guest(ram, data);
        Ok(())
    }
}

/// The low and the high 16 bits of a dword.
fn halves(dword: u32) -> (u16, u16) {
    let [a, b, c, d] = dword.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

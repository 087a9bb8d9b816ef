// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Get Log Page (NVMe Base 2.0c, 5.16).

use zerocopy::{FromZeros, IntoBytes};

use super::health::ERROR_LOG_ENTRIES;
use super::identify::FIRMWARE;
use super::{Controller, DoorbellMode};
use crate::observe::{self, LOG_COUNTERS, QueueState};
use crate::spec::identify::CSI_NVM;
use crate::spec::log::{
    EFFECT_ALONE_IN_NAMESPACE, EFFECT_CONTENT_CHANGE, EFFECT_NAMESPACE_CAPABILITY,
    EFFECT_SUPPORTED, EffectsLog, ErrorLogEntry, FirmwareSlotLog, LOG_SUPPORTED, LogId,
};
use crate::spec::{AdminOpcode, NSID_BROADCAST, NvmOpcode, Status, SubmissionQueueEntry};

/// Most namespaces that the Changed Namespace List names one by one.
const CHANGED_NAMESPACES: usize = 1024;

const COUNTERS: LogId = LogId(LOG_COUNTERS);

impl Controller {
    /// Answers a Get Log Page command: `NUMD` dwords from the offset, zeros beyond the page's end.
    pub(super) fn get_log_page(
        &mut self,
        sqe: &SubmissionQueueEntry,
        now: u64,
    ) -> Result<(), Status> {
        let page = LogId(sqe.cdw10.get().to_le_bytes()[0]);
        let retain = sqe.cdw10.get() & 1 << 15 != 0;
        let dwords = u64::from(sqe.cdw10.get() >> 16) | u64::from(sqe.cdw11.get() & 0xFFFF) << 16;
        let length = (dwords + 1) * 4;
        let offset = u64::from(sqe.cdw12.get()) | u64::from(sqe.cdw13.get()) << 32;
        let offset_is_index = sqe.cdw14.get() & 1 << 23 != 0;
        if !matches!(
            page,
            LogId::SUPPORTED
                | LogId::ERROR
                | LogId::SMART
                | LogId::FIRMWARE_SLOT
                | LogId::CHANGED_NAMESPACES
                | LogId::EFFECTS
                | COUNTERS
        ) {
            return Err(Status::INVALID_LOG_PAGE);
        }
        if offset_is_index || offset % 4 != 0 || length > u64::from(self.config.max_transfer) {
            return Err(Status::INVALID_FIELD);
        }
        let data = self.log_page(page, sqe, now)?;
        let start = usize::try_from(offset).map_err(|_| Status::INVALID_FIELD)?;
        let rest = data.get(start..).ok_or(Status::INVALID_FIELD)?;
        let length = usize::try_from(length).map_err(|_| Status::INVALID_FIELD)?;
        let mut answer = vec![0; length];
        let copied = length.min(rest.len());
        answer[..copied].copy_from_slice(&rest[..copied]);
        self.send(sqe, &answer)?;
        if !retain {
            self.events.log_page_read(page);
            if page == LogId::CHANGED_NAMESPACES {
                self.changed_namespaces.clear();
            }
        }
        Ok(())
    }

    fn log_page(
        &self,
        page: LogId,
        sqe: &SubmissionQueueEntry,
        now: u64,
    ) -> Result<Vec<u8>, Status> {
        match page {
            LogId::SUPPORTED => Ok(supported_pages()),
            LogId::ERROR => {
                let mut log = vec![ErrorLogEntry::new_zeroed(); ERROR_LOG_ENTRIES];
                for (to, from) in log.iter_mut().zip(self.health.errors()) {
                    *to = *from;
                }
                Ok(log.as_bytes().to_vec())
            }
            LogId::SMART => {
                // LPA bit 0 is 0: the page is the controller's, not a namespace's.
                if !matches!(sqe.nsid.get(), 0 | NSID_BROADCAST) {
                    return Err(Status::INVALID_FIELD);
                }
                let thresholds = self.features.temperature_thresholds();
                let log = self.health.smart_log(&self.counters, now, thresholds);
                Ok(log.as_bytes().to_vec())
            }
            LogId::FIRMWARE_SLOT => {
                let mut log = FirmwareSlotLog::new_zeroed();
                log.afi = 1;
                log.revisions[0] = FIRMWARE;
                Ok(log.as_bytes().to_vec())
            }
            LogId::CHANGED_NAMESPACES => Ok(self.changed_namespace_list()),
            LogId::EFFECTS => {
                let csi = sqe.cdw14.get().to_le_bytes()[3];
                if csi != CSI_NVM {
                    return Err(Status::INVALID_FIELD);
                }
                Ok(self.effects().as_bytes().to_vec())
            }
            _ => Ok(self.counters_page(now)),
        }
    }

    fn counters_page(&self, now: u64) -> Vec<u8> {
        observe::write_page(&self.counters, now, |qid| QueueState {
            exists: self.queues.sq(qid).is_some(),
            polled: self.queues.cq(qid).is_some_and(|cq| !cq.interrupts()),
        })
    }

    /// Namespaces that changed since the page was last read; FFFFFFFFh alone when they are too many.
    fn changed_namespace_list(&self) -> Vec<u8> {
        let mut list = Vec::with_capacity(CHANGED_NAMESPACES * 4);
        if self.changed_namespaces.len() > CHANGED_NAMESPACES {
            list.extend_from_slice(&NSID_BROADCAST.to_le_bytes());
        } else {
            for nsid in &self.changed_namespaces {
                list.extend_from_slice(&nsid.to_le_bytes());
            }
        }
        list.resize(CHANGED_NAMESPACES * 4, 0);
        list
    }

    fn effects(&self) -> EffectsLog {
        let mut log = EffectsLog::new_zeroed();
        for opcode in [
            AdminOpcode::DELETE_SQ,
            AdminOpcode::CREATE_SQ,
            AdminOpcode::GET_LOG_PAGE,
            AdminOpcode::DELETE_CQ,
            AdminOpcode::CREATE_CQ,
            AdminOpcode::IDENTIFY,
            AdminOpcode::ABORT,
            AdminOpcode::SET_FEATURES,
            AdminOpcode::GET_FEATURES,
            AdminOpcode::ASYNC_EVENT_REQUEST,
        ] {
            log.admin[usize::from(opcode.0)].set(EFFECT_SUPPORTED);
        }
        if self.config.doorbells == DoorbellMode::Shadow {
            let opcode = AdminOpcode::DOORBELL_BUFFER_CONFIG;
            log.admin[usize::from(opcode.0)].set(EFFECT_SUPPORTED);
        }
        log.admin[usize::from(AdminOpcode::FORMAT_NVM.0)].set(
            EFFECT_SUPPORTED
                | EFFECT_CONTENT_CHANGE
                | EFFECT_NAMESPACE_CAPABILITY
                | EFFECT_ALONE_IN_NAMESPACE,
        );
        for opcode in [
            NvmOpcode::FLUSH,
            NvmOpcode::READ,
            NvmOpcode::COMPARE,
            NvmOpcode::VERIFY,
        ] {
            log.io[usize::from(opcode.0)].set(EFFECT_SUPPORTED);
        }
        for opcode in [
            NvmOpcode::WRITE,
            NvmOpcode::WRITE_ZEROES,
            NvmOpcode::DATASET_MANAGEMENT,
        ] {
            log.io[usize::from(opcode.0)].set(EFFECT_SUPPORTED | EFFECT_CONTENT_CHANGE);
        }
        log
    }
}

fn supported_pages() -> Vec<u8> {
    let mut page = vec![0; 1024];
    for id in [
        LogId::SUPPORTED,
        LogId::ERROR,
        LogId::SMART,
        LogId::FIRMWARE_SLOT,
        LogId::CHANGED_NAMESPACES,
        LogId::EFFECTS,
        COUNTERS,
    ] {
        let at = usize::from(id.0) * 4;
        page[at..at + 4].copy_from_slice(&LOG_SUPPORTED.to_le_bytes());
    }
    page
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Identify (NVMe Base 2.0c, 5.17): what the controller says about itself and its namespaces.

use zerocopy::little_endian::U64;
use zerocopy::{FromZeros, IntoBytes};

use super::events::MAX_REQUESTS;
use super::health::{CRITICAL_KELVIN, ERROR_LOG_ENTRIES, WARNING_KELVIN};
use super::namespace::Namespace;
use super::{BlockSize, Controller, DoorbellMode};
use crate::spec::identify::{
    CNTRLTYPE_IO, CSI_NVM, Cns, DLFEAT_ZEROS_AND_DEAC, DescriptorType, IDENTIFY_BYTES,
    IdentifyController, IdentifyControllerNvm, IdentifyNamespace, IdentifyNamespaceIndependent,
    LPA_EFFECTS, LPA_EXTENDED_DATA, LbaFormat, NSTAT_READY, OACS_DOORBELL_BUFFER, OACS_FORMAT,
    OAES_NAMESPACE_ATTRIBUTE, ONCS_COMPARE, ONCS_DATASET_MANAGEMENT, ONCS_SAVE_SELECT,
    ONCS_TIMESTAMP, ONCS_VERIFY, ONCS_WRITE_ZEROES, VWC_BROADCAST_FLUSH, VWC_PRESENT,
};
use crate::spec::registers::VERSION_2_0;
use crate::spec::{NSID_BROADCAST, Status, SubmissionQueueEntry};

/// Firmware revision.
pub const FIRMWARE: [u8; 8] = *b"0.1     ";

/// PCI vendor of the device, in configuration space as in Identify: a number that nobody was
/// assigned ("HP" in ASCII), so that no driver's quirk applies to it.
pub const PCI_VENDOR_ID: u16 = 0x4850;

/// Aborts that may wait at once (ACL + 1).
pub const ABORT_LIMIT: u8 = 4;

/// Identifiers in a namespace list.
const LIST_ENTRIES: usize = IDENTIFY_BYTES / 4;

impl Controller {
    /// Answers an Identify command.
    pub(super) fn identify(&mut self, sqe: &SubmissionQueueEntry) -> Result<(), Status> {
        let [cns, ..] = sqe.cdw10.get().to_le_bytes();
        let csi = sqe.cdw11.get().to_le_bytes()[3];
        let nsid = sqe.nsid.get();
        let data = match Cns(cns) {
            Cns::NAMESPACE | Cns::ALLOCATED_NAMESPACE => self.identify_namespace(nsid)?,
            Cns::CONTROLLER => self.identify_controller().as_bytes().to_vec(),
            Cns::ACTIVE_NAMESPACES | Cns::ALLOCATED_NAMESPACES => self.namespace_list(nsid)?,
            Cns::ACTIVE_NAMESPACES_COMMAND_SET => {
                command_set_is_nvm(csi)?;
                self.namespace_list(nsid)?
            }
            Cns::NAMESPACE_DESCRIPTORS => descriptors(self.active(nsid)?),
            Cns::NAMESPACE_COMMAND_SET => {
                command_set_is_nvm(csi)?;
                self.active(nsid)?;
                // No protection information: no storage tag masks, no extended formats.
                vec![0; IDENTIFY_BYTES]
            }
            Cns::CONTROLLER_COMMAND_SET => {
                command_set_is_nvm(csi)?;
                let mut data = IdentifyControllerNvm::new_zeroed();
                data.vsl = self.mdts();
                data.as_bytes().to_vec()
            }
            Cns::NAMESPACE_INDEPENDENT => {
                self.active(nsid)?;
                let mut data = IdentifyNamespaceIndependent::new_zeroed();
                data.nstat = NSTAT_READY;
                data.as_bytes().to_vec()
            }
            Cns::NAMESPACE_CONTROLLERS => {
                self.active(nsid)?;
                controller_list(sqe.cdw10.get())
            }
            Cns::CONTROLLERS => controller_list(sqe.cdw10.get()),
            Cns::COMMAND_SETS => command_sets(sqe.cdw10.get())?,
            _ => return Err(Status::INVALID_FIELD),
        };
        self.send(sqe, &data)
    }

    /// The namespace `nsid`, which must exist.
    fn active(&self, nsid: u32) -> Result<&Namespace, Status> {
        self.io.namespace(nsid).ok_or(Status::INVALID_NAMESPACE)
    }

    /// MDTS: a power of two of 4 KiB.
    fn mdts(&self) -> u8 {
        let log = self.config.max_transfer.trailing_zeros().saturating_sub(12);
        u8::try_from(log).unwrap_or(u8::MAX)
    }

    fn identify_controller(&self) -> IdentifyController {
        let mut id = IdentifyController::new_zeroed();
        id.vid.set(PCI_VENDOR_ID);
        id.ssvid.set(PCI_VENDOR_ID);
        id.sn = padded(&self.config.serial);
        id.mn = padded(&self.config.model);
        id.fr = FIRMWARE;
        id.rab = 4;
        id.mdts = self.mdts();
        id.ver.set(VERSION_2_0);
        id.oaes.set(OAES_NAMESPACE_ATTRIBUTE);
        id.cntrltype = CNTRLTYPE_IO;
        let doorbells = match self.config.doorbells {
            DoorbellMode::Shadow => OACS_DOORBELL_BUFFER,
            DoorbellMode::Exit | DoorbellMode::Mapped => 0,
        };
        id.oacs.set(OACS_FORMAT | doorbells);
        id.acl = ABORT_LIMIT - 1;
        id.aerl = u8::try_from(MAX_REQUESTS - 1).unwrap_or(u8::MAX);
        // One firmware slot, read-only.
        id.frmw = 1 << 1 | 1;
        id.lpa = LPA_EFFECTS | LPA_EXTENDED_DATA;
        id.elpe = u8::try_from(ERROR_LOG_ENTRIES - 1).unwrap_or(u8::MAX);
        id.wctemp.set(WARNING_KELVIN);
        id.cctemp.set(CRITICAL_KELVIN);
        let total = self.io.namespaces().iter().map(Namespace::bytes);
        id.tnvmcap = u128::from(total.fold(0u64, u64::saturating_add)).to_le_bytes();
        id.sqes = 6 << 4 | 6;
        id.cqes = 4 << 4 | 4;
        let count = u32::try_from(self.io.namespaces().len()).unwrap_or(u32::MAX);
        id.nn.set(count);
        id.mnan.set(count);
        id.oncs.set(
            ONCS_COMPARE
                | ONCS_DATASET_MANAGEMENT
                | ONCS_WRITE_ZEROES
                | ONCS_SAVE_SELECT
                | ONCS_TIMESTAMP
                | ONCS_VERIFY,
        );
        let cache = if self.config.volatile_write_cache {
            VWC_PRESENT
        } else {
            0
        };
        id.vwc = cache | VWC_BROADCAST_FLUSH;
        let nqn = format!("nqn.2014-08.org.nvmexpress:uuid:{}", self.subsystem_uuid());
        for (to, from) in id.subnqn.iter_mut().zip(nqn.bytes()) {
            *to = from;
        }
        // One power state: 9 W, no latency.
        id.power_states[0].maximum_power.set(900);
        id
    }

    /// A UUID for the subsystem's name, made from the serial number.
    fn subsystem_uuid(&self) -> String {
        let bytes = self
            .io
            .namespaces()
            .first()
            .map_or([0; 16], Namespace::uuid);
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    fn identify_namespace(&self, nsid: u32) -> Result<Vec<u8>, Status> {
        if nsid == NSID_BROADCAST {
            // Common capabilities exist only with namespace management.
            return Err(Status::INVALID_NAMESPACE);
        }
        let namespace = self.active(nsid)?;
        let mut id = IdentifyNamespace::new_zeroed();
        id.nsze.set(namespace.blocks());
        id.ncap.set(namespace.blocks());
        id.nuse.set(namespace.blocks());
        id.nlbaf = u8::try_from(BlockSize::ALL.len() - 1).unwrap_or(0);
        id.flbas = namespace.block_size().index();
        id.dlfeat = DLFEAT_ZEROS_AND_DEAC;
        id.nvmcap = u128::from(namespace.bytes()).to_le_bytes();
        id.nguid = namespace.nguid();
        for (format, block) in id.lbaf.iter_mut().zip(BlockSize::ALL) {
            *format = LbaFormat {
                lbads: block.shift(),
                rp: u8::from(block == BlockSize::B512),
                ..LbaFormat::default()
            };
        }
        Ok(id.as_bytes().to_vec())
    }

    /// Identifiers above `after`, in order, at most 1024.
    fn namespace_list(&self, after: u32) -> Result<Vec<u8>, Status> {
        if after >= NSID_BROADCAST - 1 {
            return Err(Status::INVALID_NAMESPACE);
        }
        let mut list = Vec::with_capacity(IDENTIFY_BYTES);
        let count = u32::try_from(self.io.namespaces().len()).unwrap_or(u32::MAX);
        for nsid in (after + 1..=count).take(LIST_ENTRIES) {
            list.extend_from_slice(&nsid.to_le_bytes());
        }
        list.resize(IDENTIFY_BYTES, 0);
        Ok(list)
    }
}

/// The namespace's names: NGUID, UUID and command set.
fn descriptors(namespace: &Namespace) -> Vec<u8> {
    let mut list = Vec::with_capacity(IDENTIFY_BYTES);
    let mut push = |kind: DescriptorType, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap_or(0);
        list.extend_from_slice(&[kind as u8, length, 0, 0]);
        list.extend_from_slice(bytes);
    };
    push(DescriptorType::Nguid, &namespace.nguid());
    push(DescriptorType::Uuid, &namespace.uuid());
    push(DescriptorType::Csi, &[CSI_NVM]);
    list.resize(IDENTIFY_BYTES, 0);
    list
}

/// Controllers from CNTID on: this one is number 0 and the only one. First stands how many there
/// are, then their identifiers, all 16 bits wide.
fn controller_list(cdw10: u32) -> Vec<u8> {
    let mut list = vec![0; IDENTIFY_BYTES];
    list[0] = u8::from(cdw10 >> 16 == 0);
    list
}

/// One combination of command sets: NVM alone. CNTID must be this controller (0) or FFFFh.
fn command_sets(cdw10: u32) -> Result<Vec<u8>, Status> {
    if !matches!(cdw10 >> 16, 0 | 0xFFFF) {
        return Err(Status::INVALID_FIELD);
    }
    let mut vectors = vec![U64::ZERO; IDENTIFY_BYTES / 8];
    vectors[0].set(1 << CSI_NVM);
    Ok(vectors.as_bytes().to_vec())
}

fn command_set_is_nvm(csi: u8) -> Result<(), Status> {
    if csi == CSI_NVM {
        Ok(())
    } else {
        Err(Status::INVALID_FIELD)
    }
}

/// ASCII, padded with spaces. The configuration has checked length and characters.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    field
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Identify data structures (NVMe Base 2.0c, 5.17.2; NVM Command Set 1.0c, 4.1.5).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Every Identify data structure is this long.
pub const IDENTIFY_BYTES: usize = 4096;

/// Controller or Namespace Structure (CNS); unknown values survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cns(pub u8);

impl Cns {
    /// Identify Namespace.
    pub const NAMESPACE: Self = Self(0x00);
    /// Identify Controller.
    pub const CONTROLLER: Self = Self(0x01);
    /// Active Namespace ID list.
    pub const ACTIVE_NAMESPACES: Self = Self(0x02);
    /// Namespace Identification Descriptor list.
    pub const NAMESPACE_DESCRIPTORS: Self = Self(0x03);
    /// I/O Command Set specific Identify Namespace.
    pub const NAMESPACE_COMMAND_SET: Self = Self(0x05);
    /// I/O Command Set specific Identify Controller.
    pub const CONTROLLER_COMMAND_SET: Self = Self(0x06);
    /// I/O Command Set specific Active Namespace ID list.
    pub const ACTIVE_NAMESPACES_COMMAND_SET: Self = Self(0x07);
    /// I/O Command Set independent Identify Namespace.
    pub const NAMESPACE_INDEPENDENT: Self = Self(0x08);
    /// Allocated Namespace ID list.
    pub const ALLOCATED_NAMESPACES: Self = Self(0x10);
    /// Identify Namespace of an allocated namespace.
    pub const ALLOCATED_NAMESPACE: Self = Self(0x11);
    /// Controller list of a namespace.
    pub const NAMESPACE_CONTROLLERS: Self = Self(0x12);
    /// Controller list of the subsystem.
    pub const CONTROLLERS: Self = Self(0x13);
    /// I/O Command Set data structure.
    pub const COMMAND_SETS: Self = Self(0x1C);
}

/// Command set identifier (CSI) of the NVM command set.
pub const CSI_NVM: u8 = 0;

/// A power state descriptor (figure 276): the fields that are used here.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PowerState {
    /// Maximum Power in units of 10 mW.
    pub maximum_power: U16,
    /// Reserved.
    pub reserved: [u8; 2],
    /// Entry Latency in microseconds.
    pub entry_latency: U32,
    /// Exit Latency in microseconds.
    pub exit_latency: U32,
    /// The rest: relative throughputs and latencies, idle and active power.
    pub rest: [u8; 20],
}

/// Identify Controller (figure 275).
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "fields carry the names of the specification")]
pub struct IdentifyController {
    pub vid: U16,
    pub ssvid: U16,
    pub sn: [u8; 20],
    pub mn: [u8; 40],
    pub fr: [u8; 8],
    pub rab: u8,
    pub ieee: [u8; 3],
    pub cmic: u8,
    pub mdts: u8,
    pub cntlid: U16,
    pub ver: U32,
    pub rtd3r: U32,
    pub rtd3e: U32,
    pub oaes: U32,
    pub ctratt: U32,
    pub rrls: U16,
    pub reserved_102: [u8; 9],
    pub cntrltype: u8,
    pub fguid: [u8; 16],
    pub crdt: [U16; 3],
    pub reserved_134: [u8; 122],
    pub oacs: U16,
    pub acl: u8,
    pub aerl: u8,
    pub frmw: u8,
    pub lpa: u8,
    pub elpe: u8,
    pub npss: u8,
    pub avscc: u8,
    pub apsta: u8,
    pub wctemp: U16,
    pub cctemp: U16,
    pub mtfa: U16,
    pub hmpre: U32,
    pub hmmin: U32,
    pub tnvmcap: [u8; 16],
    pub unvmcap: [u8; 16],
    pub rpmbs: U32,
    pub edstt: U16,
    pub dsto: u8,
    pub fwug: u8,
    pub kas: U16,
    pub hctma: U16,
    pub mntmt: U16,
    pub mxtmt: U16,
    pub sanicap: U32,
    pub reserved_332: [u8; 180],
    pub sqes: u8,
    pub cqes: u8,
    pub maxcmd: U16,
    pub nn: U32,
    pub oncs: U16,
    pub fuses: U16,
    pub fna: u8,
    pub vwc: u8,
    pub awun: U16,
    pub awupf: U16,
    pub icsvscc: u8,
    pub nwpc: u8,
    pub acwu: U16,
    pub cdfs: U16,
    pub sgls: U32,
    pub mnan: U32,
    pub reserved_544: [u8; 224],
    pub subnqn: [u8; 256],
    pub reserved_1024: [u8; 1024],
    pub power_states: [PowerState; 32],
    pub vendor: [u8; 1024],
}

const _: () = assert!(size_of::<IdentifyController>() == IDENTIFY_BYTES);

/// OACS: Format NVM.
pub const OACS_FORMAT: u16 = 1 << 1;
/// OACS: Doorbell Buffer Config.
pub const OACS_DOORBELL_BUFFER: u16 = 1 << 8;
/// ONCS: Compare.
pub const ONCS_COMPARE: u16 = 1 << 0;
/// ONCS: Dataset Management.
pub const ONCS_DATASET_MANAGEMENT: u16 = 1 << 2;
/// ONCS: Write Zeroes.
pub const ONCS_WRITE_ZEROES: u16 = 1 << 3;
/// ONCS: the Save field of Set Features and the Select field of Get Features.
pub const ONCS_SAVE_SELECT: u16 = 1 << 4;
/// ONCS: Timestamp.
pub const ONCS_TIMESTAMP: u16 = 1 << 6;
/// ONCS: Verify.
pub const ONCS_VERIFY: u16 = 1 << 7;
/// OAES: Namespace Attribute Notices.
pub const OAES_NAMESPACE_ATTRIBUTE: u32 = 1 << 8;
/// LPA: Commands Supported and Effects log.
pub const LPA_EFFECTS: u8 = 1 << 1;
/// LPA: extended data, that is, NUMDU and the log page offset.
pub const LPA_EXTENDED_DATA: u8 = 1 << 2;
/// VWC: a volatile write cache is present.
pub const VWC_PRESENT: u8 = 1 << 0;
/// VWC: Flush accepts the broadcast NSID.
pub const VWC_BROADCAST_FLUSH: u8 = 0b11 << 1;
/// CNTRLTYPE: an I/O controller.
pub const CNTRLTYPE_IO: u8 = 1;

/// An LBA format (NVM Command Set 1.0c, figure 98).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbaFormat {
    /// Metadata Size in bytes.
    pub ms: U16,
    /// LBA Data Size as a power of two.
    pub lbads: u8,
    /// Relative Performance in bits 1:0; 0 is best.
    pub rp: u8,
}

/// Identify Namespace of the NVM command set (NVM Command Set 1.0c, figure 97).
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "fields carry the names of the specification")]
pub struct IdentifyNamespace {
    pub nsze: U64,
    pub ncap: U64,
    pub nuse: U64,
    pub nsfeat: u8,
    pub nlbaf: u8,
    pub flbas: u8,
    pub mc: u8,
    pub dpc: u8,
    pub dps: u8,
    pub nmic: u8,
    pub rescap: u8,
    pub fpi: u8,
    pub dlfeat: u8,
    pub nawun: U16,
    pub nawupf: U16,
    pub nacwu: U16,
    pub nabsn: U16,
    pub nabo: U16,
    pub nabspf: U16,
    pub noiob: U16,
    pub nvmcap: [u8; 16],
    pub npwg: U16,
    pub npwa: U16,
    pub npdg: U16,
    pub npda: U16,
    pub nows: U16,
    pub mssrl: U16,
    pub mcl: U32,
    pub msrc: u8,
    pub reserved_81: [u8; 11],
    pub anagrpid: U32,
    pub reserved_96: [u8; 3],
    pub nsattr: u8,
    pub nvmsetid: U16,
    pub endgid: U16,
    pub nguid: [u8; 16],
    pub eui64: [u8; 8],
    pub lbaf: [LbaFormat; 64],
    pub vendor: [u8; 3712],
}

const _: () = assert!(size_of::<IdentifyNamespace>() == IDENTIFY_BYTES);

/// DLFEAT: deallocated blocks read as zeros (001b), and Write Zeroes can deallocate (bit 3).
pub const DLFEAT_ZEROS_AND_DEAC: u8 = 0b001 | 1 << 3;

/// I/O Command Set independent Identify Namespace (figure 280).
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "fields carry the names of the specification")]
pub struct IdentifyNamespaceIndependent {
    pub nsfeat: u8,
    pub nmic: u8,
    pub rescap: u8,
    pub fpi: u8,
    pub anagrpid: U32,
    pub nsattr: u8,
    pub reserved_9: u8,
    pub nvmsetid: U16,
    pub endgid: U16,
    pub nstat: u8,
    pub reserved_15: [u8; 4081],
}

const _: () = assert!(size_of::<IdentifyNamespaceIndependent>() == IDENTIFY_BYTES);

/// NSTAT: the namespace is ready.
pub const NSTAT_READY: u8 = 1 << 0;

/// Identify Controller of the NVM command set (NVM Command Set 1.0c, figure 101).
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdentifyControllerNvm {
    /// Verify Size Limit: 2^VSL memory pages; 0 is no limit.
    pub vsl: u8,
    /// Write Zeroes Size Limit: 2^WZSL memory pages; 0 is no limit.
    pub wzsl: u8,
    /// Write Uncorrectable Size Limit: 2^WUSL memory pages.
    pub wusl: u8,
    /// Dataset Management Ranges Limit; 0 is no limit.
    pub dmrl: u8,
    /// Dataset Management Range Size Limit in logical blocks.
    pub dmrsl: U32,
    /// Dataset Management Size Limit in logical blocks.
    pub dmsl: U64,
    /// Reserved.
    pub reserved_16: [u8; 4080],
}

const _: () = assert!(size_of::<IdentifyControllerNvm>() == IDENTIFY_BYTES);

/// Namespace Identifier Type (NIDT) of a descriptor (figure 278).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DescriptorType {
    /// IEEE Extended Unique Identifier, 8 bytes.
    Eui64 = 1,
    /// Namespace Globally Unique Identifier, 16 bytes.
    Nguid = 2,
    /// Namespace UUID, 16 bytes.
    Uuid = 3,
    /// Command Set Identifier, 1 byte.
    Csi = 4,
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn identify_controller_fields_stand_where_the_kernel_looks() {
        assert_eq!(offset_of!(IdentifyController, mdts), 77);
        assert_eq!(offset_of!(IdentifyController, cntlid), 78);
        assert_eq!(offset_of!(IdentifyController, ver), 80);
        assert_eq!(offset_of!(IdentifyController, oaes), 92);
        assert_eq!(offset_of!(IdentifyController, cntrltype), 111);
        assert_eq!(offset_of!(IdentifyController, oacs), 256);
        assert_eq!(offset_of!(IdentifyController, acl), 258);
        assert_eq!(offset_of!(IdentifyController, lpa), 261);
        assert_eq!(offset_of!(IdentifyController, wctemp), 266);
        assert_eq!(offset_of!(IdentifyController, tnvmcap), 280);
        assert_eq!(offset_of!(IdentifyController, sanicap), 328);
        assert_eq!(offset_of!(IdentifyController, sqes), 512);
        assert_eq!(offset_of!(IdentifyController, nn), 516);
        assert_eq!(offset_of!(IdentifyController, oncs), 520);
        assert_eq!(offset_of!(IdentifyController, vwc), 525);
        assert_eq!(offset_of!(IdentifyController, sgls), 536);
        assert_eq!(offset_of!(IdentifyController, mnan), 540);
        assert_eq!(offset_of!(IdentifyController, subnqn), 768);
        assert_eq!(offset_of!(IdentifyController, power_states), 2048);
        assert_eq!(offset_of!(IdentifyController, vendor), 3072);
    }

    #[test]
    fn identify_namespace_fields_stand_where_the_kernel_looks() {
        assert_eq!(offset_of!(IdentifyNamespace, nlbaf), 25);
        assert_eq!(offset_of!(IdentifyNamespace, dlfeat), 33);
        assert_eq!(offset_of!(IdentifyNamespace, nvmcap), 48);
        assert_eq!(offset_of!(IdentifyNamespace, nows), 72);
        assert_eq!(offset_of!(IdentifyNamespace, anagrpid), 92);
        assert_eq!(offset_of!(IdentifyNamespace, nguid), 104);
        assert_eq!(offset_of!(IdentifyNamespace, eui64), 120);
        assert_eq!(offset_of!(IdentifyNamespace, lbaf), 128);
        assert_eq!(offset_of!(IdentifyNamespaceIndependent, nstat), 14);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Log pages (NVMe Base 2.0c, 5.16.1) and asynchronous events (5.2).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Log page identifier (LID); unknown values survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub u8);

impl LogId {
    /// Supported Log Pages.
    pub const SUPPORTED: Self = Self(0x00);
    /// Error Information.
    pub const ERROR: Self = Self(0x01);
    /// SMART / Health Information.
    pub const SMART: Self = Self(0x02);
    /// Firmware Slot Information.
    pub const FIRMWARE_SLOT: Self = Self(0x03);
    /// Changed Namespace List.
    pub const CHANGED_NAMESPACES: Self = Self(0x04);
    /// Commands Supported and Effects.
    pub const EFFECTS: Self = Self(0x05);
}

/// An entry of the Error Information log (figure 206).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ErrorLogEntry {
    /// Number of this error since the device was made; 0 marks an unused entry.
    pub error_count: U64,
    /// Submission Queue ID.
    pub sqid: U16,
    /// Command ID.
    pub cid: U16,
    /// Status field in bits 15:1, phase tag in bit 0.
    pub status: U16,
    /// Parameter Error Location: byte in bits 7:0, bit in bits 10:8; FFFFh when there is none.
    pub parameter_error_location: U16,
    /// First LBA of the error.
    pub lba: U64,
    /// Namespace.
    pub nsid: U32,
    /// Vendor specific information available.
    pub vendor: u8,
    /// Transport Type; 0 is not stated.
    pub transport: u8,
    /// Reserved.
    pub reserved: [u8; 2],
    /// Command specific information.
    pub command_specific: U64,
    /// Transport specific information.
    pub transport_specific: U16,
    /// Reserved.
    pub reserved_42: [u8; 22],
}

const _: () = assert!(size_of::<ErrorLogEntry>() == 64);

/// SMART / Health Information (figure 207).
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "fields carry the names of the specification")]
pub struct SmartLog {
    pub critical_warning: u8,
    /// Composite temperature in kelvins, little endian, not aligned.
    pub temperature: [u8; 2],
    pub available_spare: u8,
    pub available_spare_threshold: u8,
    pub percentage_used: u8,
    pub endurance_group_warning: u8,
    pub reserved_7: [u8; 25],
    /// In thousands of 512-byte units, rounded up.
    pub data_units_read: [u8; 16],
    pub data_units_written: [u8; 16],
    pub host_read_commands: [u8; 16],
    pub host_write_commands: [u8; 16],
    /// In minutes.
    pub controller_busy_time: [u8; 16],
    pub power_cycles: [u8; 16],
    pub power_on_hours: [u8; 16],
    pub unsafe_shutdowns: [u8; 16],
    pub media_errors: [u8; 16],
    pub error_log_entries: [u8; 16],
    /// In minutes.
    pub warning_temperature_time: U32,
    pub critical_temperature_time: U32,
    pub temperature_sensors: [U16; 8],
    pub reserved_216: [u8; 296],
}

const _: () = assert!(size_of::<SmartLog>() == 512);

/// SMART critical warning: the temperature is beyond a threshold.
pub const WARNING_TEMPERATURE: u8 = 1 << 1;

/// Firmware Slot Information (figure 208).
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirmwareSlotLog {
    /// Active Firmware Info: active slot in bits 2:0.
    pub afi: u8,
    /// Reserved.
    pub reserved_1: [u8; 7],
    /// Firmware revisions of slots 1 to 7, ASCII.
    pub revisions: [[u8; 8]; 7],
    /// Reserved.
    pub reserved_64: [u8; 448],
}

const _: () = assert!(size_of::<FirmwareSlotLog>() == 512);

/// Commands Supported and Effects (figure 211).
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EffectsLog {
    /// Admin commands, by opcode.
    pub admin: [U32; 256],
    /// I/O commands, by opcode.
    pub io: [U32; 256],
    /// Reserved.
    pub reserved: [u8; 2048],
}

const _: () = assert!(size_of::<EffectsLog>() == 4096);

/// Effects: Command Supported.
pub const EFFECT_SUPPORTED: u32 = 1 << 0;
/// Effects: Logical Block Content Change.
pub const EFFECT_CONTENT_CHANGE: u32 = 1 << 1;
/// Effects: Namespace Capability Change.
pub const EFFECT_NAMESPACE_CAPABILITY: u32 = 1 << 2;
/// Effects, Command Submission and Execution: nothing else may be outstanding on the namespace.
pub const EFFECT_ALONE_IN_NAMESPACE: u32 = 0b001 << 16;

/// Supported Log Pages: the page is supported (LSUPP).
pub const LOG_SUPPORTED: u32 = 1 << 0;

/// An asynchronous event (5.2, figures 146 to 151).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsyncEvent {
    /// A write to the doorbell of a queue that does not exist.
    InvalidDoorbellRegister,
    /// A doorbell value that is not possible.
    InvalidDoorbellValue,
    /// A fatal error inside the controller.
    PersistentInternalError,
    /// The temperature crossed a threshold.
    Temperature,
    /// A namespace changed.
    NamespaceAttributeChanged,
}

/// Event type, and the mask bit that an event of this type sets until its log page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AsyncEventType {
    /// Error status.
    Error = 0,
    /// SMART / Health status.
    Smart = 1,
    /// Notice.
    Notice = 2,
}

impl AsyncEvent {
    /// Event type.
    pub const fn event_type(self) -> AsyncEventType {
        match self {
            Self::InvalidDoorbellRegister
            | Self::InvalidDoorbellValue
            | Self::PersistentInternalError => AsyncEventType::Error,
            Self::Temperature => AsyncEventType::Smart,
            Self::NamespaceAttributeChanged => AsyncEventType::Notice,
        }
    }

    const fn information(self) -> u8 {
        match self {
            Self::InvalidDoorbellRegister | Self::NamespaceAttributeChanged => 0x00,
            Self::InvalidDoorbellValue | Self::Temperature => 0x01,
            Self::PersistentInternalError => 0x03,
        }
    }

    /// The log page that tells more and, when read, lets events of this type through again.
    pub const fn log_page(self) -> LogId {
        match self.event_type() {
            AsyncEventType::Error => LogId::ERROR,
            AsyncEventType::Smart => LogId::SMART,
            AsyncEventType::Notice => LogId::CHANGED_NAMESPACES,
        }
    }

    /// Dword 0 of the completion: type in bits 2:0, information in bits 15:8, log page in bits
    /// 23:16.
    pub const fn dword0(self) -> u32 {
        u32::from_le_bytes([
            self.event_type() as u8,
            self.information(),
            self.log_page().0,
            0,
        ])
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn smart_log_fields_stand_where_the_kernel_looks() {
        assert_eq!(offset_of!(SmartLog, temperature), 1);
        assert_eq!(offset_of!(SmartLog, data_units_read), 32);
        assert_eq!(offset_of!(SmartLog, power_on_hours), 128);
        assert_eq!(offset_of!(SmartLog, error_log_entries), 176);
        assert_eq!(offset_of!(SmartLog, warning_temperature_time), 192);
        assert_eq!(offset_of!(SmartLog, temperature_sensors), 200);
    }

    #[test]
    fn error_log_entry_fields_stand_where_the_specification_puts_them() {
        assert_eq!(offset_of!(ErrorLogEntry, status), 12);
        assert_eq!(offset_of!(ErrorLogEntry, lba), 16);
        assert_eq!(offset_of!(ErrorLogEntry, nsid), 24);
        assert_eq!(offset_of!(ErrorLogEntry, command_specific), 32);
    }

    #[test]
    fn invalid_doorbell_value_event_names_type_information_and_page() {
        assert_eq!(AsyncEvent::InvalidDoorbellValue.dword0(), 0x0001_0100);
        assert_eq!(AsyncEvent::NamespaceAttributeChanged.dword0(), 0x0004_0002);
    }
}

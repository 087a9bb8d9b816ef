// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Features (NVMe Base 2.0c, 5.27.1): identifiers and fields.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Feature identifier (FID); unknown values survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureId(pub u8);

impl FeatureId {
    /// Arbitration.
    pub const ARBITRATION: Self = Self(0x01);
    /// Power Management.
    pub const POWER_MANAGEMENT: Self = Self(0x02);
    /// Temperature Threshold.
    pub const TEMPERATURE_THRESHOLD: Self = Self(0x04);
    /// Error Recovery (NVM command set).
    pub const ERROR_RECOVERY: Self = Self(0x05);
    /// Volatile Write Cache.
    pub const VOLATILE_WRITE_CACHE: Self = Self(0x06);
    /// Number of Queues.
    pub const NUMBER_OF_QUEUES: Self = Self(0x07);
    /// Interrupt Coalescing.
    pub const INTERRUPT_COALESCING: Self = Self(0x08);
    /// Interrupt Vector Configuration.
    pub const INTERRUPT_VECTOR: Self = Self(0x09);
    /// Write Atomicity Normal (NVM command set).
    pub const WRITE_ATOMICITY: Self = Self(0x0A);
    /// Asynchronous Event Configuration.
    pub const ASYNC_EVENT_CONFIG: Self = Self(0x0B);
    /// Timestamp.
    pub const TIMESTAMP: Self = Self(0x0E);
    /// Host Behavior Support.
    pub const HOST_BEHAVIOR: Self = Self(0x16);
}

/// Which value Get Features asks for (SEL, dword 10 bits 10:8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureSelect {
    /// The value in force.
    Current,
    /// The value after a reset.
    Default,
    /// The value saved by the host; the default when nothing can be saved.
    Saved,
    /// What may be done with the feature.
    Capabilities,
}

impl FeatureSelect {
    /// Decodes SEL; reserved values give `None`.
    pub const fn from_bits(sel: u8) -> Option<Self> {
        match sel {
            0 => Some(Self::Current),
            1 => Some(Self::Default),
            2 => Some(Self::Saved),
            3 => Some(Self::Capabilities),
            _ => None,
        }
    }
}

/// Capability bit: the feature can be saved.
pub const CAPABILITY_SAVEABLE: u32 = 1 << 0;
/// Capability bit: the feature belongs to a namespace.
pub const CAPABILITY_NAMESPACE: u32 = 1 << 1;
/// Capability bit: the feature can be changed.
pub const CAPABILITY_CHANGEABLE: u32 = 1 << 2;

/// Data of Timestamp (5.27.1.11).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimestampData {
    /// Milliseconds since 1970-01-01 00:00 UTC, little endian.
    pub milliseconds: [u8; 6],
    /// Synch in bit 0, Timestamp Origin in bits 3:1.
    pub attributes: u8,
    /// Reserved.
    pub reserved: u8,
}

const _: () = assert!(size_of::<TimestampData>() == 8);

/// Timestamp Origin (bits 3:1 of the attributes): the host set it.
pub const TIMESTAMP_ORIGIN_HOST: u8 = 0b001 << 1;

/// Bytes of the Host Behavior Support data (5.27.1.18).
pub const HOST_BEHAVIOR_BYTES: usize = 512;

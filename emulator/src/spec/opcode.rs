// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opcodes, as open enumerations: an unknown value survives and compares unequal to all names.

/// Opcode of an admin command (NVMe Base 2.0c, figure 138).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminOpcode(pub u8);

impl AdminOpcode {
    /// Delete I/O Submission Queue.
    pub const DELETE_SQ: Self = Self(0x00);
    /// Create I/O Submission Queue.
    pub const CREATE_SQ: Self = Self(0x01);
    /// Get Log Page.
    pub const GET_LOG_PAGE: Self = Self(0x02);
    /// Delete I/O Completion Queue.
    pub const DELETE_CQ: Self = Self(0x04);
    /// Create I/O Completion Queue.
    pub const CREATE_CQ: Self = Self(0x05);
    /// Identify.
    pub const IDENTIFY: Self = Self(0x06);
    /// Abort.
    pub const ABORT: Self = Self(0x08);
    /// Set Features.
    pub const SET_FEATURES: Self = Self(0x09);
    /// Get Features.
    pub const GET_FEATURES: Self = Self(0x0A);
    /// Asynchronous Event Request.
    pub const ASYNC_EVENT_REQUEST: Self = Self(0x0C);
    /// Doorbell Buffer Config.
    pub const DOORBELL_BUFFER_CONFIG: Self = Self(0x7C);
    /// Format NVM.
    pub const FORMAT_NVM: Self = Self(0x80);
}

/// Opcode of a command of the NVM command set (NVM Command Set 1.0c, figure 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvmOpcode(pub u8);

impl NvmOpcode {
    /// Flush.
    pub const FLUSH: Self = Self(0x00);
    /// Write.
    pub const WRITE: Self = Self(0x01);
    /// Read.
    pub const READ: Self = Self(0x02);
    /// Compare.
    pub const COMPARE: Self = Self(0x05);
    /// Write Zeroes.
    pub const WRITE_ZEROES: Self = Self(0x08);
    /// Dataset Management.
    pub const DATASET_MANAGEMENT: Self = Self(0x09);
    /// Verify.
    pub const VERIFY: Self = Self(0x0C);
}

/// The NSID that means every namespace.
pub const NSID_BROADCAST: u32 = 0xFFFF_FFFF;

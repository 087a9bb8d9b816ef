// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The status field of a completion (NVMe Base 2.0c, 3.3.3.2.1, figures 92 to 98).

/// Status field as it stands in a CQE's dword 3 bits 31:17: status code in bits 7:0, status code
/// type in bits 10:8, CRD in bits 12:11, More in bit 13, Do Not Retry in bit 14.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    const DNR: u16 = 1 << 14;
    const MORE: u16 = 1 << 13;

    const fn generic(code: u8) -> Self {
        Self(code as u16)
    }
    const fn command_specific(code: u8) -> Self {
        Self(1 << 8 | code as u16)
    }
    const fn media(code: u8) -> Self {
        Self(2 << 8 | code as u16)
    }

    /// Successful Completion.
    pub const SUCCESS: Self = Self::generic(0x00);
    /// Invalid Command Opcode.
    pub const INVALID_OPCODE: Self = Self::generic(0x01);
    /// Invalid Field in Command.
    pub const INVALID_FIELD: Self = Self::generic(0x02);
    /// Command ID Conflict.
    pub const COMMAND_ID_CONFLICT: Self = Self::generic(0x03);
    /// Data Transfer Error.
    pub const DATA_TRANSFER_ERROR: Self = Self::generic(0x04);
    /// Internal Error.
    pub const INTERNAL_ERROR: Self = Self::generic(0x06);
    /// Command Abort Requested.
    pub const ABORT_REQUESTED: Self = Self::generic(0x07);
    /// Command Aborted due to SQ Deletion.
    pub const ABORTED_SQ_DELETION: Self = Self::generic(0x08);
    /// Command Aborted due to Missing Fused Command.
    pub const ABORTED_MISSING_FUSED: Self = Self::generic(0x0A);
    /// Invalid Namespace or Format.
    pub const INVALID_NAMESPACE: Self = Self::generic(0x0B);
    /// Command Sequence Error.
    pub const COMMAND_SEQUENCE_ERROR: Self = Self::generic(0x0C);
    /// PRP Offset Invalid.
    pub const PRP_OFFSET_INVALID: Self = Self::generic(0x13);
    /// LBA Out of Range.
    pub const LBA_OUT_OF_RANGE: Self = Self::generic(0x80);
    /// Capacity Exceeded.
    pub const CAPACITY_EXCEEDED: Self = Self::generic(0x81);
    /// Namespace Not Ready.
    pub const NAMESPACE_NOT_READY: Self = Self::generic(0x82);
    /// Format In Progress.
    pub const FORMAT_IN_PROGRESS: Self = Self::generic(0x84);

    /// Completion Queue Invalid.
    pub const COMPLETION_QUEUE_INVALID: Self = Self::command_specific(0x00);
    /// Invalid Queue Identifier.
    pub const INVALID_QUEUE_IDENTIFIER: Self = Self::command_specific(0x01);
    /// Invalid Queue Size.
    pub const INVALID_QUEUE_SIZE: Self = Self::command_specific(0x02);
    /// Abort Command Limit Exceeded.
    pub const ABORT_LIMIT_EXCEEDED: Self = Self::command_specific(0x03);
    /// Asynchronous Event Request Limit Exceeded.
    pub const EVENT_REQUEST_LIMIT_EXCEEDED: Self = Self::command_specific(0x05);
    /// Invalid Interrupt Vector.
    pub const INVALID_INTERRUPT_VECTOR: Self = Self::command_specific(0x08);
    /// Invalid Log Page.
    pub const INVALID_LOG_PAGE: Self = Self::command_specific(0x09);
    /// Invalid Format.
    pub const INVALID_FORMAT: Self = Self::command_specific(0x0A);
    /// Invalid Queue Deletion.
    pub const INVALID_QUEUE_DELETION: Self = Self::command_specific(0x0C);
    /// Feature Identifier Not Saveable.
    pub const FEATURE_NOT_SAVEABLE: Self = Self::command_specific(0x0D);
    /// Feature Not Changeable.
    pub const FEATURE_NOT_CHANGEABLE: Self = Self::command_specific(0x0E);
    /// Feature Not Namespace Specific.
    pub const FEATURE_NOT_NAMESPACE_SPECIFIC: Self = Self::command_specific(0x0F);
    /// Attempted Write to Read Only Range.
    pub const WRITE_TO_READ_ONLY_RANGE: Self = Self::command_specific(0x82);

    /// Write Fault.
    pub const WRITE_FAULT: Self = Self::media(0x80);
    /// Unrecovered Read Error.
    pub const UNRECOVERED_READ_ERROR: Self = Self::media(0x81);
    /// Compare Failure.
    pub const COMPARE_FAILURE: Self = Self::media(0x85);

    /// Whether the command succeeded.
    pub const fn is_success(self) -> bool {
        self.code() == 0 && self.code_type() == 0
    }
    /// Status code (SC).
    pub const fn code(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
    /// Status code type (SCT).
    pub const fn code_type(self) -> u8 {
        self.0.to_le_bytes()[1] & 7
    }
    /// Status code and type alone.
    #[must_use]
    pub const fn without_flags(self) -> Self {
        Self(self.0 & 0x7FF)
    }
    /// Whether the same command may succeed when it is tried again: it was aborted, or the device
    /// or its medium failed.
    pub const fn is_transient(self) -> bool {
        matches!(
            self.without_flags(),
            Self::SUCCESS
                | Self::INTERNAL_ERROR
                | Self::ABORT_REQUESTED
                | Self::ABORTED_SQ_DELETION
                | Self::CAPACITY_EXCEEDED
                | Self::NAMESPACE_NOT_READY
                | Self::FORMAT_IN_PROGRESS
                | Self::WRITE_FAULT
                | Self::UNRECOVERED_READ_ERROR
        )
    }
    /// The same status with Do Not Retry set.
    #[must_use]
    pub const fn do_not_retry(self) -> Self {
        Self(self.0 | Self::DNR)
    }
    /// The same status with More set: an error log entry says more.
    #[must_use]
    pub const fn more(self) -> Self {
        Self(self.0 | Self::MORE)
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Status(sct {:x}, sc {:02x}",
            self.code_type(),
            self.code()
        )?;
        if self.0 & Self::DNR != 0 {
            f.write_str(", dnr")?;
        }
        f.write_str(")")
    }
}

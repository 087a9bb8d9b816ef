// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opcodes by name.

use crate::spec::{AdminOpcode, NvmOpcode};

const IO: [(&str, NvmOpcode); 7] = [
    ("read", NvmOpcode::READ),
    ("write", NvmOpcode::WRITE),
    ("flush", NvmOpcode::FLUSH),
    ("compare", NvmOpcode::COMPARE),
    ("write-zeroes", NvmOpcode::WRITE_ZEROES),
    ("dsm", NvmOpcode::DATASET_MANAGEMENT),
    ("verify", NvmOpcode::VERIFY),
];

const ADMIN: [(&str, AdminOpcode); 11] = [
    ("delete-sq", AdminOpcode::DELETE_SQ),
    ("create-sq", AdminOpcode::CREATE_SQ),
    ("get-log-page", AdminOpcode::GET_LOG_PAGE),
    ("delete-cq", AdminOpcode::DELETE_CQ),
    ("create-cq", AdminOpcode::CREATE_CQ),
    ("identify", AdminOpcode::IDENTIFY),
    ("abort", AdminOpcode::ABORT),
    ("set-features", AdminOpcode::SET_FEATURES),
    ("get-features", AdminOpcode::GET_FEATURES),
    (
        "doorbell-buffer-config",
        AdminOpcode::DOORBELL_BUFFER_CONFIG,
    ),
    ("format", AdminOpcode::FORMAT_NVM),
];

/// The opcode called `name`, of the admin or the NVM command set.
///
/// # Errors
/// The names that there are.
pub fn opcode(name: &str, admin: bool) -> Result<u8, String> {
    let found = if admin {
        let named = ADMIN.iter().find(|(known, _)| *known == name);
        named.map(|(_, opcode)| opcode.0)
    } else {
        let named = IO.iter().find(|(known, _)| *known == name);
        named.map(|(_, opcode)| opcode.0)
    };
    found.ok_or_else(|| {
        let known = if admin {
            ADMIN.map(|(known, _)| known).join(", ")
        } else {
            IO.map(|(known, _)| known).join(", ")
        };
        format!("\"{name}\" is none of {known}; a number from 0x00 to 0xFF may stand there too")
    })
}

/// Whether commands of an NVM opcode name a range of logical blocks in dwords 10 to 12.
pub fn has_lba(opcode: u8) -> bool {
    matches!(
        NvmOpcode(opcode),
        NvmOpcode::READ
            | NvmOpcode::WRITE
            | NvmOpcode::COMPARE
            | NvmOpcode::WRITE_ZEROES
            | NvmOpcode::VERIFY
    )
}

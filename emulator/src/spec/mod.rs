// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Wire formats and numbers of the NVM Express specifications (Base 2.0c, NVM Command Set 1.0c).
//!
//! No I/O, no unsafe code, no guest memory: plain data that survives unknown values.

mod command;
mod completion;
pub mod feature;
pub mod identify;
pub mod log;
mod opcode;
pub mod registers;
mod status;

pub use command::{DatasetRange, FUSE_NORMAL, PSDT_PRP, SubmissionQueueEntry};
pub use completion::CompletionQueueEntry;
pub use opcode::{AdminOpcode, NSID_BROADCAST, NvmOpcode};
pub use status::Status;

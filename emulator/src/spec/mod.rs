// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Wire formats and numbers of the NVM Express specifications (Base 2.0c, NVM Command Set 1.0c).
//!
//! No I/O, no unsafe code, no guest memory: plain data that survives unknown values.

mod command;
mod completion;
mod status;

pub use command::SubmissionQueueEntry;
pub use completion::CompletionQueueEntry;
pub use status::Status;

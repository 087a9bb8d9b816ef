// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages of User-Mode Linux's external time travel (`include/uapi/linux/um_timetravel.h`): 16
//! bytes, each answered by an ACK with its number but for WAIT and RUN, which with shared memory are
//! not answered.

use zerocopy::native_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An answer.
pub const ACK: u32 = 0;
/// The guest has come; its own number for itself follows.
pub const START: u32 = 1;
/// The guest asks to run at a time.
pub const REQUEST: u32 = 2;
/// The guest does not run any more.
pub const WAIT: u32 = 3;
/// What time it is.
pub const GET: u32 = 4;
/// The guest says what time it has come to.
pub const UPDATE: u32 = 5;
/// To the guest: it runs, at this time.
pub const RUN: u32 = 6;
/// What time of day it is.
pub const GET_TIME_OF_DAY: u32 = 8;
/// To whom it may concern.
pub const BROADCAST: u32 = 9;

/// A message of either side.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Message {
    /// What is said.
    pub operation: U32,
    /// Number, for the ACK.
    pub sequence: U32,
    /// A time in nanoseconds, or whatever else the operation needs.
    pub time: U64,
}

impl Message {
    /// A message.
    pub fn new(operation: u32, sequence: u32, time: u64) -> Self {
        Self {
            operation: U32::new(operation),
            sequence: U32::new(sequence),
            time: U64::new(time),
        }
    }

    /// The answer to this one.
    pub fn ack(&self, time: u64) -> Self {
        Self::new(ACK, self.sequence.get(), time)
    }
}

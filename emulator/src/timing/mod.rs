// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When a command completes: `admit(arrival, request) -> due`. Stateful, without a clock or a
//! thread. Times are nanoseconds on whatever clock the caller uses.

mod draw;
mod file;
mod floor;
mod histogram;
mod model;
mod profile;
mod service;
pub mod units;

#[cfg(test)]
mod tests;

pub(crate) use draw::{generator, mix, scale};
pub use file::ProfileError;
pub use floor::Floor;
pub use histogram::Histogram;
pub use model::Model;
pub use profile::{Interference, PerByte, Profile, WriteCache};
pub use service::{Service, Spread, Tail};

/// A point in time or a span, in nanoseconds.
pub type Nanos = u64;

/// Longest time that a profile may name: a minute.
const LONGEST: Nanos = 60_000_000_000;

/// What a command asks of the medium, as far as time is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Data from the medium.
    Read,
    /// Data to the medium, or to the write cache before it.
    Write,
    /// Data to the medium, whatever write cache there is (Force Unit Access).
    WriteThrough,
    /// All that is in the write cache to the medium.
    Flush,
    /// Everything else that an I/O queue carries.
    Other,
}

/// A command as the timing model sees it. Draws depend on where it stands (namespace, queue,
/// creation, sequence) and not on when it arrives, nor on what arrives beside it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Namespace identifier.
    pub nsid: u32,
    /// Submission queue identifier.
    pub queue: u16,
    /// How often the queue was created before (0 for the first time).
    pub queue_creation: u32,
    /// The command's number since the queue's creation.
    pub sequence: u64,
    /// What it asks for.
    pub work: Work,
    /// Data transferred, in bytes.
    pub bytes: u32,
}

/// A read of 4 KiB at a place, for tests.
#[cfg(test)]
pub(crate) fn read_of(queue: u16, sequence: u64) -> Request {
    Request {
        nsid: 1,
        queue,
        queue_creation: 0,
        sequence,
        work: Work::Read,
        bytes: 4096,
    }
}

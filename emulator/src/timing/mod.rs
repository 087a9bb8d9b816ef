// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When a command completes: `admit(arrival, request) -> due`. Stateful, without a clock or a
//! thread. Times are nanoseconds on whatever clock the caller uses.

mod profile;

pub use profile::{Profile, ProfileError};

/// A point in time or a span, in nanoseconds.
pub type Nanos = u64;

/// What a command asks of the medium, as far as time is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Data from the medium.
    Read,
    /// Data to the medium.
    Write,
    /// Everything else that an I/O queue carries.
    Other,
}

/// A command as the timing model sees it. Draws depend on all of it but the arrival.
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

/// The medium's state: which of its parts are busy until when.
pub struct Model {
    profile: Profile,
}

impl Model {
    /// An idle medium of the given speed. Draws depend on `seed`.
    pub fn new(profile: Profile, _seed: u64) -> Self {
        Self { profile }
    }

    /// The speed that new commands get.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// When a command that arrives at `arrival` completes: `arrival` or later.
    pub fn admit(&mut self, _arrival: Nanos, _request: &Request) -> Nanos {
        unimplemented!()
    }
}

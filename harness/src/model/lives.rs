// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the time of I/Os goes, from the application's first look at the clock to its last.

use emulator::timing::Nanos;

/// The life of an I/O: moments of the virtual clock.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// fio looked at the clock for it.
    pub begun: Nanos,
    /// The device heard of it.
    pub rung: Nanos,
    /// io_submit() had returned.
    pub submitted: Nanos,
    /// It was due.
    pub due: Nanos,
    /// The processor looked at the completion queue.
    pub seen: Nanos,
    /// io_getevents() had returned.
    pub over: Nanos,
}

/// Where the time of the I/Os went: the times of all that were counted added up, in nanoseconds.
///
/// An I/O begins when fio looks at the clock for it, its submission ends when io_submit() has
/// returned, and it is over when io_getevents() has. The device has it before its submission ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// From the beginning to the end.
    pub total: Nanos,
    /// From the beginning to the end of the submission, as fio's slat.
    pub submission: Nanos,
    /// From the doorbell to the end of the submission: the device works meanwhile.
    pub overlap: Nanos,
    /// From the doorbell until it is due.
    pub device: Nanos,
    /// From then until the processor looks at the completion queue.
    pub completion: Nanos,
    /// From then to the end.
    pub taking: Nanos,
}

impl Lives {
    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.submission += other.submission;
        self.overlap += other.overlap;
        self.device += other.device;
        self.completion += other.completion;
        self.taking += other.taking;
    }

    /// Adds an I/O.
    pub fn count(&mut self, life: &Moments) {
        self.add(&Self {
            total: life.over.saturating_sub(life.begun),
            submission: life.submitted.saturating_sub(life.begun),
            overlap: life.submitted.saturating_sub(life.rung),
            device: life.due.saturating_sub(life.rung),
            completion: life.seen.saturating_sub(life.due),
            taking: life.over.saturating_sub(life.seen),
        });
    }
}

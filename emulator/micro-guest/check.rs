// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Checks: what was wanted, what there was, where in the source.

use core::panic::Location;

/// A check that did not hold.
#[derive(Clone, Copy)]
pub struct Failure {
    /// What was checked.
    pub message: &'static str,
    /// The check in the source.
    pub place: &'static Location<'static>,
    /// What was wanted.
    pub expected: u64,
    /// What there was.
    pub seen: u64,
    /// More, as the message says.
    pub detail: u64,
}

/// What a step of a scenario gives.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure at the caller's place.
    #[track_caller]
    pub fn new(message: &'static str, expected: u64, seen: u64) -> Self {
        Self {
            message,
            place: Location::caller(),
            expected,
            seen,
            detail: 0,
        }
    }

    /// With more to tell.
    pub fn with(mut self, detail: u64) -> Self {
        self.detail = detail;
        self
    }
}

/// That `seen` is what was `expected`.
#[track_caller]
#[inline]
pub fn equal(message: &'static str, expected: u64, seen: u64) -> Outcome {
    equal_in(message, expected, seen, 0)
}

/// As [`equal`], with more to tell when it is not.
#[track_caller]
#[inline]
pub fn equal_in(message: &'static str, expected: u64, seen: u64, detail: u64) -> Outcome {
    if expected == seen {
        Ok(())
    } else {
        Err(Failure::new(message, expected, seen).with(detail))
    }
}

/// That `seen` is at least `least`.
#[track_caller]
#[inline]
pub fn at_least(message: &'static str, least: u64, seen: u64) -> Outcome {
    if seen >= least {
        Ok(())
    } else {
        Err(Failure::new(message, least, seen))
    }
}

/// That `holds`.
#[track_caller]
#[inline]
pub fn that(message: &'static str, holds: bool) -> Outcome {
    equal(message, 1, u64::from(holds))
}

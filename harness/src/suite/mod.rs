// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Correctness suites: lists of checks that run in a guest, in files that a user can read, change
//! and add to (`configs/suites/*.toml`).

mod definition;
mod judge;
mod ktap;
mod run;

pub use definition::{Check, CounterRule, Expectation, KernelChoice, Suite};
pub use judge::{Verdict, judge};
pub use ktap::Ktap;
pub use run::{Environment, Result, Totals, count, run, skipped};

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Correctness suites: lists of checks that run in a guest, in files that a user can read, change
//! and add to (`configs/suites/*.toml`, docs/suites.md).

mod definition;
mod expectation;
mod export;
mod guest_ktap;
mod judge;
mod kernel_log;
mod media;
mod plan;
mod run;
mod verdict;

pub use definition::{Check, KernelChoice, Suite, Take};
pub use expectation::{CounterRule, Expectation};
pub use export::{Exporter, Format};
pub use judge::judge;
pub use plan::{Item, KernelName, Kernels, Plan};
pub use run::{Environment, Result, run};
pub use verdict::{Status, Subtest, Totals, Verdict};

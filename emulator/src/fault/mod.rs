// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fault rules: which commands go wrong, and how.
//!
//! [`Rules`] are a checked TOML file (docs/faults.md). [`Faults`] counts for them and gives a
//! [`Verdict`] on each command when it arrives, which is carried out in three places: by the
//! controller (status, data), by the engine (completion, delay, interrupt) and by `pci` (registers,
//! removal). Draws depend on a command's place alone, as those of service times do.
//!
//! Without rules there is no [`Faults`], and the engine asks nobody.

mod damage;
mod faults;
mod file;
mod keys;
mod names;
mod rule;

#[cfg(test)]
mod tests;

pub use damage::{Corruption, Damage};
pub use faults::{Arrival, ControllerFault, Ending, Execution, Faults, RuleReport, Verdict};
pub use file::{FaultError, MAX_RULES, Rules};

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The KVM front end with a real guest: a program in user mode that drives the controller, on every
//! host that has KVM at all. Elsewhere each test is skipped by name.
//!
//! A test program of its own: one guest at a time, for a vCPU and the poller want a core each.

#[cfg(target_arch = "x86_64")]
mod scenarios;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    #[cfg(target_arch = "x86_64")]
    let trials = scenarios::trials();
    #[cfg(not(target_arch = "x86_64"))]
    let trials = Vec::new();
    libtest_mimic::run(&arguments, trials).exit_code()
}

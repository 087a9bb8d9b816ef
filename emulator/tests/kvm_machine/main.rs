// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine of `nvme-emulator vmm`, with kernels of a few instructions: how they are started,
//! what they find, how their end is told. Runs in supervisor mode, so slowly where KVM interprets
//! that, but everywhere where there is KVM.

#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod machine;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Why nothing of this can be run here.
fn missing() -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        return Some("this is no x86-64 host".into());
    }
    let found = emulator::frontend::kvm::probe();
    found
        .error
        .map(|error| format!("this host has no KVM: {error}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = missing();
    let trials = machine::TESTS
        .iter()
        .map(|(name, test)| {
            let missing = missing.clone();
            Trial::ignorable_test(*name, move || match missing {
                Some(reason) => Ok(libtest_mimic::Completion::ignored_with(reason)),
                None => {
                    test();
                    Ok(libtest_mimic::Completion::Completed)
                }
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

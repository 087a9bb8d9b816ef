// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who executes the guest's instructions.

use std::fmt;
use std::sync::OnceLock;

use emulator::frontend::kvm;

/// QEMU's accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// QEMU translates them, in turns on one thread, with every feature that it can translate. With
    /// a thread for each processor, kernels under QEMU 7.2 were seen to panic at boot, of an INT3 in
    /// code that another processor patches.
    Tcg,
    /// The host's processor, by KVM.
    Kvm,
}

impl Executor {
    /// KVM where it executes supervisor code natively; where it interprets that, QEMU's
    /// translation is a hundred times faster. Found out once.
    pub fn choose() -> Self {
        static CHOSEN: OnceLock<Executor> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            if kvm::probe().native {
                Self::Kvm
            } else {
                Self::Tcg
            }
        })
    }

    /// QEMU's options for it.
    pub fn options(self) -> [&'static str; 4] {
        match self {
            Self::Tcg => ["-accel", "tcg,thread=single", "-cpu", "max"],
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
        }
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcg => "TCG",
            Self::Kvm => "KVM",
        })
    }
}

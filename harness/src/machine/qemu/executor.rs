// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who executes the guest's instructions.

use std::fmt;
use std::sync::OnceLock;

use emulator::frontend::kvm;

/// QEMU's accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// QEMU translates them, in turns on one thread, with every feature that it can translate. With
    /// a thread for each processor, QEMU 7.2 now and then runs into code that the other processor is
    /// just patching: kernels then die of an INT3 at boot.
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

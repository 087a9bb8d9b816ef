// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who executes the guest's instructions.

use std::fmt;
use std::sync::OnceLock;

use emulator::frontend::kvm;

/// QEMU's accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// QEMU translates them, each processor's in a thread of its own, with every feature that it
    /// can translate.
    ///
    /// With one thread, or with room for one processor, QEMU 7.2 leaves the guest's memory barriers
    /// out, although its nvme runs beside the guest: shadow doorbells get lost, within seconds at
    /// depth 4. With several, a processor may trip over the INT3 by which the kernel patches code
    /// that another one runs: the boot, which patches, is left to one processor.
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

    /// The value of QEMU's `-smp` for a guest with `cpus` processors.
    pub fn processors(self, cpus: u32) -> String {
        match self {
            Self::Tcg => format!("{cpus},maxcpus={}", cpus.max(2)),
            Self::Kvm => cpus.to_string(),
        }
    }

    /// What it needs the guest's kernel to be told, and the agent.
    pub fn kernel_words(self, cpus: u32) -> &'static [&'static str] {
        match (self, cpus) {
            (Self::Kvm, _) => &[],
            (Self::Tcg, 1) => &["possible_cpus=1"],
            (Self::Tcg, _) => &["maxcpus=1", "noreplace-smp", "hipri.processors=late"],
        }
    }

    /// QEMU's options for it.
    pub fn options(self) -> [&'static str; 4] {
        match self {
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
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

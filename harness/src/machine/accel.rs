// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which way a guest runs.

use serde::Serialize;

use super::contract::Machine;
use super::host::Host;
use super::kvm::{self, Kvm};
use super::qemu::Qemu;
use super::uml::Uml;
use crate::exit::Failure;

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccelChoice {
    /// The fastest one that works here.
    #[default]
    Auto,
    /// Our own virtual machine monitor on KVM: the fastest, where KVM executes the guest's kernel.
    Kvm,
    /// User-Mode Linux: the guest kernel as a process; needs nothing of the host.
    Uml,
    /// The distribution's QEMU with its own nvme: several processors on any host.
    Qemu,
}

/// What is really used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// Our own virtual machine monitor.
    Kvm,
    /// User-Mode Linux.
    Uml,
    /// QEMU.
    Qemu,
}

impl Accel {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Uml => "uml",
            Self::Qemu => "qemu",
        }
    }

    /// What executes the guest.
    pub fn machine(self) -> &'static dyn Machine {
        match self {
            Self::Kvm => &Kvm,
            Self::Uml => &Uml,
            Self::Qemu => &Qemu,
        }
    }
}

/// A choice and the reason for it, in one line.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// What is used.
    pub accel: Accel,
    /// Why.
    pub reason: String,
}

/// Decides how the guest runs on this host.
///
/// # Errors
/// Exit 3, when KVM is asked for and cannot run a guest here.
pub fn decide(choice: AccelChoice, host: &Host) -> Result<Decision, Failure> {
    let found = &host.kvm;
    let (accel, reason) = match choice {
        AccelChoice::Uml => (Accel::Uml, "asked for".to_owned()),
        AccelChoice::Qemu => (Accel::Qemu, "asked for".to_owned()),
        AccelChoice::Kvm => {
            kvm::require(found)?;
            (Accel::Kvm, "asked for".to_owned())
        }
        AccelChoice::Auto if found.native => (
            Accel::Kvm,
            "KVM executes the guest's kernel natively".to_owned(),
        ),
        AccelChoice::Auto => (Accel::Uml, kvm::shortcoming(found)),
    };
    Ok(Decision { accel, reason })
}

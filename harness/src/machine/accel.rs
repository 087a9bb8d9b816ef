// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which way a guest runs.

use serde::Serialize;

use super::contract::Machine;
use super::host::Host;
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
    /// Our own virtual machine monitor on KVM (not built yet).
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
    /// User-Mode Linux.
    Uml,
    /// QEMU.
    Qemu,
}

impl Accel {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uml => "uml",
            Self::Qemu => "qemu",
        }
    }

    /// What executes the guest.
    pub fn machine(self) -> &'static dyn Machine {
        match self {
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
/// Exit 2, for what is not built yet.
pub fn decide(choice: AccelChoice, host: &Host) -> Result<Decision, Failure> {
    let (accel, reason) = match choice {
        AccelChoice::Uml => (Accel::Uml, "asked for"),
        AccelChoice::Qemu => (Accel::Qemu, "asked for"),
        AccelChoice::Auto if host.kvm_device => (
            Accel::Uml,
            "/dev/kvm is there, but the KVM front end is not built yet",
        ),
        AccelChoice::Auto => (Accel::Uml, "this host has no usable /dev/kvm"),
        AccelChoice::Kvm => {
            return Err(Failure::usage(
                "--accel kvm is not built yet: use --accel uml, which needs nothing of the host",
            ));
        }
    };
    Ok(Decision {
        accel,
        reason: reason.to_owned(),
    })
}

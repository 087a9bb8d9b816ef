// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which way a guest runs.

use serde::Serialize;

use super::contract::Machine;
use super::host::Host;
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
    /// The distribution's QEMU (not built yet).
    Qemu,
}

/// What is really used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// User-Mode Linux.
    Uml,
}

impl Accel {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uml => "uml",
        }
    }

    /// What executes the guest.
    pub fn machine(self) -> &'static dyn Machine {
        match self {
            Self::Uml => &Uml,
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
    let reason = match choice {
        AccelChoice::Uml => "asked for".to_owned(),
        AccelChoice::Auto if host.kvm_device => {
            "/dev/kvm is there, but the KVM front end is not built yet".to_owned()
        }
        AccelChoice::Auto => "this host has no usable /dev/kvm".to_owned(),
        AccelChoice::Kvm | AccelChoice::Qemu => {
            let name = if choice == AccelChoice::Kvm {
                "kvm"
            } else {
                "qemu"
            };
            return Err(Failure::usage(format!(
                "--accel {name} is not built yet: use --accel uml, which needs nothing of the host"
            )));
        }
    };
    Ok(Decision {
        accel: Accel::Uml,
        reason,
    })
}

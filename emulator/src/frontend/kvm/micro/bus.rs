// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the micro-guest finds beside its RAM: the PCI bus and the exit page.

use super::layout::EXIT;
use crate::frontend::kvm::pci_bus::Target;
use crate::frontend::kvm::{Bus, Ending, ExitKind, Handled, PciBus};
use crate::observe::ExitReason;

/// The guest's bus.
pub struct MicroBus {
    pci: PciBus,
}

impl MicroBus {
    /// A bus with nothing but `pci` and the exit page.
    pub fn new(pci: PciBus) -> Self {
        Self { pci }
    }
}

fn handled(target: Option<Target>, write: bool) -> Handled {
    Handled::by(match target {
        Some(Target::Bar0(offset)) => ExitKind::Bar0 { offset, write },
        Some(Target::Config) => ExitKind::Guest(ExitReason::Config),
        None => ExitKind::Guest(ExitReason::Mmio),
    })
}

impl Bus for MicroBus {
    fn mmio_read(&self, vcpu: usize, address: u64, data: &mut [u8]) -> Handled {
        handled(self.pci.read(vcpu, address, data), false)
    }

    fn mmio_write(&self, vcpu: usize, address: u64, data: &[u8]) -> Handled {
        // Before anything else: wherever the guest has put BAR0, it must be able to end.
        if let (EXIT, Ok(code)) = (address, data.try_into()) {
            return Handled {
                kind: ExitKind::Guest(ExitReason::Mmio),
                ending: Some(Ending::Exit(u32::from_le_bytes(code))),
            };
        }
        handled(self.pci.write(vcpu, address, data), true)
    }

    /// There are no ports.
    fn port_read(&self, _vcpu: usize, _port: u16, _data: &mut [u8]) -> Handled {
        Handled::by(ExitKind::Guest(ExitReason::PortIo))
    }

    fn port_write(&self, _vcpu: usize, _port: u16, _data: &[u8]) -> Handled {
        Handled::by(ExitKind::Guest(ExitReason::PortIo))
    }
}

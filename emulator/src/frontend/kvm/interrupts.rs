// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages to the guest by irqfds: one global interrupt number for each vector, routed to the
//! vector's message.
//!
//! A vector's message can change only while it is masked, and a masked vector sends nothing: so the
//! route is looked at when a message is sent, and the whole table is given to KVM anew when it has
//! changed. On the way of a completion that leaves one write to an eventfd.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::vm::{Irqchip, VmError, host_error, kvm_error};
use crate::pci::{Delivery, MsiMessage};

/// Pins of the I/O APIC that KVM emulates. Messages come behind them.
pub const IOAPIC_PINS: u32 = 24;
/// Pins of each of the two PICs.
const PIC_PINS: u32 = 8;

/// The vectors of a function and where their messages go. Clones are the same vectors, for several
/// threads.
#[derive(Clone)]
pub struct MsiRoutes(Arc<Routes>);

struct Routes {
    vm: Arc<VmFd>,
    /// Empty without interrupt controllers: then messages go nowhere, as on a bus where no
    /// interrupt controller listens.
    vectors: Vec<Vector>,
    /// Held while the table is given to KVM, so that the last one is the newest.
    programming: Mutex<()>,
}

struct Vector {
    event: EventFd,
    message: Mutex<Option<MsiMessage>>,
}

impl MsiRoutes {
    /// `vectors` vectors, none of them routed.
    ///
    /// # Errors
    /// When KVM or the host refuses.
    pub fn new(vm: Arc<VmFd>, irqchip: Irqchip, vectors: u16) -> Result<Self, VmError> {
        let mut routes = Routes {
            vm,
            vectors: Vec::new(),
            programming: Mutex::new(()),
        };
        if irqchip == Irqchip::None {
            return Ok(Self(Arc::new(routes)));
        }
        for gsi in IOAPIC_PINS..IOAPIC_PINS + u32::from(vectors) {
            let event = EventFd::new(EFD_NONBLOCK).map_err(host_error("an eventfd"))?;
            routes
                .vm
                .register_irqfd(&event, gsi)
                .map_err(kvm_error("raise interrupts by an eventfd"))?;
            routes.vectors.push(Vector {
                event,
                message: Mutex::new(None),
            });
        }
        routes.program().map_err(kvm_error("route interrupts"))?;
        Ok(Self(Arc::new(routes)))
    }

    /// Sends a vector's message.
    pub fn send(&self, vector: u16, message: MsiMessage) -> Delivery {
        let Some(entry) = self.0.vectors.get(usize::from(vector)) else {
            return Delivery::Sent;
        };
        if entry.message().replace(message) != Some(message)
            && let Err(error) = self.0.program()
        {
            // The guest wrote an address that no interrupt controller understands.
            log::warn!("vector {vector}: KVM does not take its message: {error}");
            *entry.message() = None;
            return Delivery::Sent;
        }
        // Full means that KVM has not yet taken the last one, which will do.
        let _ = entry.event.write(1);
        Delivery::Sent
    }
}

impl Vector {
    /// A thread that panicked while holding it left it whole: each use is one step.
    fn message(&self) -> MutexGuard<'_, Option<MsiMessage>> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    /// Gives KVM the whole table: it has no other way.
    fn program(&self) -> Result<(), kvm_ioctls::Error> {
        let _one_at_a_time = self
            .programming
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut entries = pins();
        for (gsi, vector) in (IOAPIC_PINS..).zip(&self.vectors) {
            let message = *vector.message();
            entries.extend(message.map(|message| message_route(gsi, message)));
        }
        let table = KvmIrqRouting::from_entries(&entries)
            .map_err(|_| kvm_ioctls::Error::new(libc::E2BIG))?;
        self.vm.set_gsi_routing(&table)
    }
}

/// The routes that KVM makes by itself for its own controllers: the table replaces them.
fn pins() -> Vec<kvm_irq_routing_entry> {
    let mut entries = Vec::new();
    for gsi in 0..IOAPIC_PINS {
        if gsi < PIC_PINS {
            entries.push(pin_route(gsi, KVM_IRQCHIP_PIC_MASTER, gsi));
        } else if gsi < 2 * PIC_PINS {
            entries.push(pin_route(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - PIC_PINS));
        }
        entries.push(pin_route(gsi, KVM_IRQCHIP_IOAPIC, gsi));
    }
    entries
}

fn pin_route(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        ..kvm_irq_routing_entry::default()
    };
    entry.u.irqchip.irqchip = irqchip;
    entry.u.irqchip.pin = pin;
    entry
}

fn message_route(gsi: u32, message: MsiMessage) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        ..kvm_irq_routing_entry::default()
    };
    let [a, b, c, d, e, f, g, h] = message.address.to_le_bytes();
    entry.u.msi.address_lo = u32::from_le_bytes([a, b, c, d]);
    entry.u.msi.address_hi = u32::from_le_bytes([e, f, g, h]);
    entry.u.msi.data = message.data;
    entry
}

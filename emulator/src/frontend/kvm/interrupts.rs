// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages to the guest by irqfds: one global interrupt number for each vector, routed to the
//! vector's message.
//!
//! A vector's message can change only while it is masked, and a masked vector sends nothing: so the
//! route is looked at when a message is sent, and the whole table is given to KVM anew when it has
//! changed. On the way of a completion that leaves one write to an eventfd.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::vm::{Irqchip, VmError, host_error, kvm_error};
use crate::pci::{Delivery, MsiMessage, MsiPort};

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
    events: Vec<EventFd>,
    /// The vectors' messages as KVM has them. Held while it is given others, so that nobody signals a
    /// vector whose message is on its way.
    messages: Mutex<Vec<Option<MsiMessage>>>,
}

impl MsiRoutes {
    /// `vectors` vectors, none of them routed.
    ///
    /// # Errors
    /// When KVM or the host refuses.
    pub fn new(vm: Arc<VmFd>, irqchip: Irqchip, vectors: u16) -> Result<Self, VmError> {
        let mut events = Vec::new();
        if irqchip != Irqchip::None {
            for gsi in IOAPIC_PINS..IOAPIC_PINS + u32::from(vectors) {
                let event = EventFd::new(EFD_NONBLOCK).map_err(host_error("an eventfd"))?;
                vm.register_irqfd(&event, gsi)
                    .map_err(kvm_error("raise interrupts by an eventfd"))?;
                events.push(event);
            }
            program(&vm, &[]).map_err(kvm_error("route interrupts"))?;
        }
        Ok(Self(Arc::new(Routes {
            vm,
            messages: Mutex::new(vec![None; events.len()]),
            events,
        })))
    }
}

impl MsiPort for MsiRoutes {
    fn send(&mut self, vector: u16, message: MsiMessage) -> Delivery {
        let Some(event) = self.0.events.get(usize::from(vector)) else {
            return Delivery::Sent;
        };
        if let Err(error) = self.0.route(vector, message) {
            // The guest wrote an address that no interrupt controller understands.
            log::warn!("vector {vector}: KVM does not take its message: {error}");
            return Delivery::Sent;
        }
        // Full means that KVM has not yet taken the last one, which will do.
        let _ = event.write(1);
        Delivery::Sent
    }
}

impl Routes {
    /// Makes sure that KVM has the vector's message.
    fn route(&self, vector: u16, message: MsiMessage) -> Result<(), kvm_ioctls::Error> {
        // A thread that panicked while holding it left a table that is given anew when it differs.
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::from(vector);
        if messages.get(index) == Some(&Some(message)) {
            return Ok(());
        }
        if let Some(entry) = messages.get_mut(index) {
            *entry = Some(message);
        }
        let programmed = program(&self.vm, &messages);
        if programmed.is_err()
            && let Some(entry) = messages.get_mut(index)
        {
            *entry = None;
        }
        programmed
    }
}

/// Gives KVM the whole table: it has no other way.
fn program(vm: &VmFd, messages: &[Option<MsiMessage>]) -> Result<(), kvm_ioctls::Error> {
    let mut entries = pins();
    let messages = (IOAPIC_PINS..).zip(messages);
    entries.extend(messages.filter_map(|(gsi, message)| Some(message_route(gsi, (*message)?))));
    let table =
        KvmIrqRouting::from_entries(&entries).map_err(|_| kvm_ioctls::Error::new(libc::E2BIG))?;
    vm.set_gsi_routing(&table)
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtual machine monitor on KVM with the NVMe controller in its process.
//!
//! The guest's I/O queues are memory that the poller reads: on the polled path no access of the
//! guest leaves it. What must leave it (configuration space, registers, the admin doorbells) goes
//! from the vCPU's thread to the poller's, which owns the function:
//!
//! ```text
//! vCPU thread: KVM_RUN ─ exit ─ Bus ─ AccessPort ──cell──┐        ┌─ NvmeFunction
//!                                                        ├─ poller ┤
//! guest RAM, doorbell page: memory of both ──────────────┘        └─ MsiRoutes ─ irqfd ─ guest
//! ```
//!
//! [`Vm`] and [`Vcpus`] know nothing of what the guest is; [`Device`] is the controller as both
//! kinds of guest (Linux, micro-guest) attach it.

mod access;
#[cfg(test)]
mod access_tests;
mod confinement;
mod device;
mod interrupts;
pub mod linux;
mod memory;
#[cfg(target_arch = "x86_64")]
pub mod micro;
mod pci_bus;
mod probe;
mod statistics;
mod vcpu;
mod vm;

pub use access::AccessPort;
pub use confinement::{ConfinementError, Enforcement, Role, confine_process, confine_thread};
pub use device::{Device, DeviceOptions, KvmFront};
pub use interrupts::MsiRoutes;
pub use memory::{HugePages, MemoryError, MemoryOptions};
pub use pci_bus::{DEVICE_SLOT, PciBus};
pub use probe::{KvmProbe, NATIVE_BELOW_NS, probe};
pub use statistics::KvmExits;
pub use vcpu::{Bus, Ending, ExitKind, Handled, Vcpus, VcpusHandle};
pub use vm::{Irqchip, Vm, VmError};

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers, queues, admin and I/O commands, events. Knows no PCI, thread, socket or clock; it
//! defines the ports it needs.

mod config;

pub use config::{BlockSize, ControllerConfig, NamespaceConfig, SetupError};

/// Where the controller's interrupts go. Implemented by `pci` (MSI-X).
pub trait InterruptSink {
    /// Completions wait on a queue that uses interrupt vector `vector`.
    fn raise(&mut self, vector: u16);
}

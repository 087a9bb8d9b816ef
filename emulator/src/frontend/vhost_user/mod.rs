// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A PCI device behind a vhost-user socket: the server side of User-Mode Linux's virtio-pcidev.
//!
//! UML speaks vhost-user to a virtio device whose two queues carry PCI accesses (queue 0, "cmd") and
//! interrupts (queue 1, "irq"). The published vhost crates cannot serve UML 6.12 (its SET_MEM_TABLE
//! is longer than they accept), so the protocol is here, in layers:
//!
//! ```text
//! server      accepts guests, one after another; ends on a stop
//! virtual_time   serves one guest whose time is simulated
//! session     the protocol's state machine: features, memory table, queues
//! message     requests and their strict bounds
//! connection  bytes and file descriptors on the socket
//! pcidev      PCI accesses and interrupts on the two queues
//! vring       split virtqueues in guest memory
//! ```
//!
//! In real-time mode kicks are eventfds. While the poller is awake it reads the queues itself and
//! tells the guest not to kick.

mod connection;
mod lost_memory;
mod memory;
mod message;
mod pcidev;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod virtual_time;
mod vring;

pub use pcidev::{Notifier, PciQueues, Queue, QueueError};
pub use server::{Server, ServerError};
pub use session::{RingOwner, SessionError};
pub use virtual_time::{Served, VirtualServer, VirtualTimeError};
pub use vring::{Vring, VringError, VringLayout};

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtual machine monitor on KVM with the NVMe controller in its process.
//!
//! The guest's I/O queues are memory that the poller reads: on the polled path no access of the
//! guest leaves it. What must leave it (configuration space, registers, the admin doorbells) goes
//! from the vCPU's thread to the poller's, which owns the function.

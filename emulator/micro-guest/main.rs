// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The micro-guest: a program without a kernel that drives an NVMe controller as a user-space
//! driver does, polled.
//!
//! The virtual machine monitor starts it in 64-bit user mode (CPL 3) with flat segments and
//! identity-mapped memory ([`layout`]), interrupts off, no descriptor table for them: any exception
//! is a triple fault. User mode runs natively on every KVM host, also where KVM interprets
//! supervisor code.
//!
//! Each vCPU enters with its number in RDI, the address of the parameter page in RSI and a stack of
//! its own. vCPU 0 runs the scenario and ends the guest by a write to the exit page; the others wait
//! until it has work for them.
#![no_std]
#![no_main]

mod builtins;
mod check;
mod clock;
mod command;
mod controller;
mod doorbell;
mod entry;
mod identify;
#[expect(dead_code, reason = "some of it is the host's alone")]
mod layout;
mod memory;
mod mmio;
mod model;
mod pci;
mod random;
mod report;
mod rings;
mod scenarios;
mod team;
mod transfer;
mod workload;

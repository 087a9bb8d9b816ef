// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine that boots Linux: a PC with nothing on it but processors, memory, PCI, two serial
//! ports and an NVMe function.

mod acpi;
mod boot;
mod chipset;
mod cpu;
mod interpreter;
mod layout;
mod machine;
mod serial;

pub use boot::{BootError, BootOptions, Entry};
pub use cpu::{Features, set_entry};
pub use machine::{MOST_CPUS, Machine, MachineError, MachineOptions, RunningMachine};
pub use serial::SerialPort;

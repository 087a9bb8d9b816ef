// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where everything is in the guest's physical memory and on its ports.

use crate::frontend::kvm::memory;
use crate::frontend::kvm::pci_bus::ECAM_SIZE;

/// Descriptor table for the first instructions.
pub const GDT: u64 = 0x500;
/// PVH start information (64 bytes), its module list and its memory map.
pub const START_INFO: u64 = 0x6000;
/// See [`START_INFO`].
pub const MODULES: u64 = 0x6100;
/// See [`START_INFO`].
pub const MEMORY_MAP: u64 = 0x6200;
/// Boot parameters of the 64-bit protocol, one page.
pub const ZERO_PAGE: u64 = 0x7000;
/// First of six pages of page tables for the 64-bit protocol.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Bytes of the longest command line, its end included (COMMAND_LINE_SIZE of x86).
pub const COMMAND_LINE_SIZE: usize = 2048;
/// End of what is RAM below 1 MiB.
pub const LOW_RAM_END: u64 = 0x9_FC00;
/// Where kernels look for the ACPI root pointer; the other tables follow.
pub const ACPI: u64 = 0xE_0000;
/// End of the room for ACPI tables.
pub const ACPI_END: u64 = 0x10_0000;
/// RAM again.
pub const HIGH_RAM: u64 = 0x10_0000;

/// Window for PCI memory.
pub const PCI_MEMORY: u64 = 0xC000_0000;
/// Bytes of the window.
pub const PCI_MEMORY_SIZE: u64 = 0x2000_0000;
/// PCI configuration space.
pub const ECAM: u64 = 0xE000_0000;
/// I/O APIC.
pub const IOAPIC: u32 = 0xFEC0_0000;
/// Local APICs.
pub const LOCAL_APIC: u32 = 0xFEE0_0000;

/// First serial port: the console.
pub const COM1: u16 = 0x3F8;
/// Its interrupt.
pub const COM1_IRQ: u32 = 4;
/// Second serial port: the agent's channel.
pub const COM2: u16 = 0x2F8;
/// Its interrupt.
pub const COM2_IRQ: u32 = 3;
/// Ports of a 16550.
pub const COM_PORTS: u16 = 8;

/// PM1a event block: status and enable.
pub const PM1_EVENT: u16 = 0x600;
/// PM1a control block.
pub const PM1_CONTROL: u16 = 0x604;
/// The timer of 3.579545 MHz.
pub const PM_TIMER: u16 = 0x608;
/// The interrupt that ACPI events would have.
pub const SCI_IRQ: u8 = 9;
/// SLP_TYP that means "soft off".
pub const SLEEP_TYPE_OFF: u8 = 5;
/// Reset control register.
pub const RESET: u16 = 0xCF9;
/// What is written to [`RESET`] for a hard reset.
pub const RESET_VALUE: u8 = 0x06;
/// Command port of the keyboard controller, of which only its reset line is there.
pub const KEYBOARD: u16 = 0x64;
/// Pulse the reset line.
pub const KEYBOARD_RESET: u8 = 0xFE;

/// A range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// RAM, or reserved.
    pub ram: bool,
}

/// The memory map of a guest with `bytes` of RAM.
pub fn memory_map(bytes: u64) -> Vec<MapEntry> {
    let entry = |start, end: u64, ram| MapEntry {
        start,
        length: end - start,
        ram,
    };
    let mut map = vec![
        entry(0, LOW_RAM_END, true),
        entry(ACPI, ACPI_END, false),
        // Kernels use the window only when they are told that nothing else may.
        entry(ECAM, ECAM + ECAM_SIZE, false),
    ];
    for (start, length) in memory::ranges(bytes) {
        map.push(entry(start.max(HIGH_RAM), start + length, true));
    }
    map.sort_by_key(|entry| entry.start);
    map
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration space of a type 0 function (PCI Express Base 4.0, 7.5).

use super::function::Identity;
use super::{BAR0_SIZE, MSIX_PBA, MSIX_TABLE};

/// Size of a PCI Express function's configuration space in bytes.
pub const CONFIG_SPACE_SIZE: usize = 4096;

/// Mass storage controller, non-volatile memory, NVM Express I/O controller.
const CLASS_NVME: [u8; 3] = [0x02, 0x08, 0x01];

// The header's registers.
const VENDOR_ID: usize = 0x00;
const DEVICE_ID: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const BAR0: usize = 0x10;
const SUBSYSTEM_VENDOR_ID: usize = 0x2C;
const SUBSYSTEM_ID: usize = 0x2E;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3C;

const COMMAND_MEMORY_SPACE: u16 = 1 << 1;
const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// Memory space, bus master, parity error response, SERR#, interrupt disable.
const COMMAND_WRITABLE: u16 = 1 << 1 | 1 << 2 | 1 << 6 | 1 << 8 | 1 << 10;
const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Memory BAR, 64-bit, not prefetchable.
const BAR_MEMORY_64: u64 = 0b100;

// Where we put the capabilities.
const PM: usize = 0x40;
const MSIX: usize = 0x50;
const PCIE: usize = 0x60;

/// Power management version 1.2 (encoded as 3), without PME, D1 and D2.
const PM_CAPABILITIES: u16 = 3;
const PM_CONTROL: usize = PM + 4;
const PM_STATE: u8 = 0b11;
const PM_D3HOT: u8 = 0b11;
const PM_NO_SOFT_RESET: u8 = 1 << 3;

const MSIX_CONTROL: usize = MSIX + 2;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;

/// Capability version 2, root complex integrated endpoint: it stands on the root bus, without a
/// link of its own.
const PCIE_CAPABILITIES: u16 = 9 << 4 | 2;
/// Role-based error reporting, function level reset; payloads of 128 bytes.
const DEVICE_CAPABILITIES: u32 = 1 << 28 | 1 << 15;
const DEVICE_CONTROL: usize = PCIE + 8;
/// Relaxed ordering, no snoop and read requests of 512 bytes, as after a reset.
const DEVICE_CONTROL_RESET: u16 = 1 << 4 | 1 << 11 | 2 << 12;
const DEVICE_CONTROL_WRITABLE: u16 = 0x7FFF & !(1 << 8 | 1 << 9 | 1 << 10);
const INITIATE_FLR: u16 = 1 << 15;

/// What a write asks of the rest of the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigEffects {
    /// Initiate Function Level Reset was set.
    pub function_level_reset: bool,
}

/// Configuration space as bytes, with a mask of the bits that software may change.
pub struct ConfigSpace {
    bytes: Box<[u8; CONFIG_SPACE_SIZE]>,
    writable: Box<[u8; CONFIG_SPACE_SIZE]>,
    at_reset: Box<[u8; CONFIG_SPACE_SIZE]>,
}

impl ConfigSpace {
    /// The space of a function with `vectors` (1 to 2048) MSI-X vectors, as after a reset.
    pub fn new(identity: &Identity, vectors: u16) -> Self {
        let mut space = Self {
            bytes: Box::new([0; CONFIG_SPACE_SIZE]),
            writable: Box::new([0; CONFIG_SPACE_SIZE]),
            at_reset: Box::new([0; CONFIG_SPACE_SIZE]),
        };
        space.fill_header(identity);
        space.fill_capabilities(vectors);
        space.at_reset = space.bytes.clone();
        space
    }

    fn fill_header(&mut self, identity: &Identity) {
        self.put(VENDOR_ID, identity.vendor_id.to_le_bytes());
        self.put(DEVICE_ID, identity.device_id.to_le_bytes());
        self.put(STATUS, STATUS_CAPABILITIES.to_le_bytes());
        self.put(REVISION, [identity.revision]);
        self.put(CLASS, CLASS_NVME);
        self.put(SUBSYSTEM_VENDOR_ID, identity.vendor_id.to_le_bytes());
        self.put(SUBSYSTEM_ID, identity.device_id.to_le_bytes());
        self.put(BAR0, BAR_MEMORY_64.to_le_bytes());
        self.allow(COMMAND, COMMAND_WRITABLE.to_le_bytes());
        // The address bits below the size stay 0: that is how software learns the size.
        self.allow(BAR0, (!(BAR0_SIZE - 1)).to_le_bytes());
        self.allow(INTERRUPT_LINE, [0xFF]);
    }

    fn fill_capabilities(&mut self, vectors: u16) {
        let [pm, msix, pcie] = [PM, MSIX, PCIE].map(low_byte);
        self.put(CAPABILITIES, [pm]);

        self.put(PM, [0x01, msix]);
        self.put(PM + 2, PM_CAPABILITIES.to_le_bytes());
        self.put(PM_CONTROL, [PM_NO_SOFT_RESET]);
        self.allow(PM_CONTROL, [PM_STATE]);

        self.put(MSIX, [0x11, pcie]);
        self.put(MSIX_CONTROL, vectors.saturating_sub(1).to_le_bytes());
        self.allow(
            MSIX_CONTROL,
            (MSIX_ENABLE | MSIX_FUNCTION_MASK).to_le_bytes(),
        );
        // Bits 2:0 of both are the BAR's number, 0.
        self.put(MSIX + 4, MSIX_TABLE.to_le_bytes());
        self.put(MSIX + 8, MSIX_PBA.to_le_bytes());

        self.put(PCIE, [0x10, 0]);
        self.put(PCIE + 2, PCIE_CAPABILITIES.to_le_bytes());
        self.put(PCIE + 4, DEVICE_CAPABILITIES.to_le_bytes());
        self.put(DEVICE_CONTROL, DEVICE_CONTROL_RESET.to_le_bytes());
        self.allow(DEVICE_CONTROL, DEVICE_CONTROL_WRITABLE.to_le_bytes());
    }

    /// Reads at `offset`; what lies outside reads as ones.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xFF);
        if let Ok(start) = usize::try_from(offset)
            && let Some(tail) = self.bytes.get(start..)
        {
            let length = data.len().min(tail.len());
            data[..length].copy_from_slice(&tail[..length]);
        }
    }

    /// Writes at `offset`; bits that software may not change, and bytes outside, are ignored.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> ConfigEffects {
        let Ok(start) = usize::try_from(offset) else {
            return ConfigEffects::default();
        };
        let power_state = self.bytes[PM_CONTROL] & PM_STATE;
        let mut effects = ConfigEffects::default();
        for (at, &byte) in (start..CONFIG_SPACE_SIZE).zip(data) {
            let mask = self.writable[at];
            self.bytes[at] = (self.bytes[at] & !mask) | (byte & mask);
            // The bit always reads as 0, so it is not in the mask.
            effects.function_level_reset |=
                at == DEVICE_CONTROL + 1 && byte & INITIATE_FLR.to_le_bytes()[1] != 0;
        }
        // D1 and D2 are not supported: a write of either is discarded (7.5.2.2).
        if !matches!(self.bytes[PM_CONTROL] & PM_STATE, 0 | PM_D3HOT) {
            self.bytes[PM_CONTROL] = (self.bytes[PM_CONTROL] & !PM_STATE) | power_state;
        }
        effects
    }

    /// Back to the state after a reset. BAR addresses are lost too, as in a function level reset.
    pub fn reset(&mut self) {
        self.bytes.copy_from_slice(&self.at_reset[..]);
    }

    /// Whether the function answers accesses to its BAR: memory space enabled, power state D0.
    pub fn memory_enabled(&self) -> bool {
        self.u16_at(COMMAND) & COMMAND_MEMORY_SPACE != 0 && self.bytes[PM_CONTROL] & PM_STATE == 0
    }

    /// Whether the function may write to memory, messages of interrupts included.
    pub fn bus_master(&self) -> bool {
        self.u16_at(COMMAND) & COMMAND_BUS_MASTER != 0
    }

    /// MSI-X Enable of the message control register.
    pub fn msix_enabled(&self) -> bool {
        self.u16_at(MSIX_CONTROL) & MSIX_ENABLE != 0
    }

    /// Function Mask of the message control register.
    pub fn msix_function_masked(&self) -> bool {
        self.u16_at(MSIX_CONTROL) & MSIX_FUNCTION_MASK != 0
    }

    /// The address that software gave BAR0.
    pub fn bar0(&self) -> u64 {
        let low = u64::from(u32::from_le_bytes(self.four_at(BAR0)));
        let high = u64::from(u32::from_le_bytes(self.four_at(BAR0 + 4)));
        (high << 32 | low) & !(BAR0_SIZE - 1)
    }

    fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn four_at(&self, at: usize) -> [u8; 4] {
        [0, 1, 2, 3].map(|i| self.bytes[at + i])
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    fn allow<const N: usize>(&mut self, at: usize, mask: [u8; N]) {
        self.writable[at..at + N].copy_from_slice(&mask);
    }
}

/// A capability's place as the one byte of a next pointer.
const fn low_byte(at: usize) -> u8 {
    at.to_le_bytes()[0]
}

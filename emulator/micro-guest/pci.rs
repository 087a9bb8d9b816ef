// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds the controller on bus 0 and gives it an address (PCI Express Base 4.0, 7.5).

use crate::check::{Failure, Outcome, equal, equal_in, that};
use crate::layout::{BAR0, BAR0_BYTES, ECAM, ECAM_BYTES};
use crate::mmio::Mmio;

/// Bytes of a function's configuration space.
pub const CONFIG_BYTES: u64 = 4096;
/// Devices of a bus.
const DEVICES: u64 = 32;
/// Functions of a device.
const FUNCTIONS: u64 = 8;

/// Mass storage, non-volatile memory, NVM Express.
const CLASS_NVME: u64 = 0x01_08_02;

/// Command register, and Status in its upper half.
pub const COMMAND: u64 = 0x04;
/// Base address register 0.
pub const BAR: u64 = 0x10;
/// Command: memory space and bus master.
pub const COMMAND_ON: u64 = 1 << 1 | 1 << 2;

/// Capability: power management.
pub const CAPABILITY_PM: u64 = 0x01;
/// Capability: PCI Express.
pub const CAPABILITY_PCIE: u64 = 0x10;
/// Capability: MSI-X.
pub const CAPABILITY_MSIX: u64 = 0x11;

/// MSI-X as the capability describes it.
#[derive(Clone, Copy)]
pub struct Msix {
    /// Where the capability is.
    pub capability: u64,
    /// Vectors.
    pub vectors: u64,
    /// Where the table is in BAR0.
    pub table: u64,
    /// Where the pending bits are in BAR0.
    pub pending: u64,
}

/// A PCI function: its configuration space.
#[derive(Clone, Copy)]
pub struct Function {
    /// Configuration space.
    pub config: Mmio,
    device: u64,
}

/// Configuration space of any function of bus 0.
fn config_of(device: u64, function: u64) -> Mmio {
    // SAFETY: the host maps the window, and it is no memory.
    let bus = unsafe { Mmio::new(ECAM, ECAM_BYTES) };
    bus.part((device << 3 | function) << 12, CONFIG_BYTES)
}

/// BAR0 where the guest has put it.
pub fn bar0() -> Mmio {
    // SAFETY: the window is mapped and no memory of this program: registers, or in mapped mode a page
    // that the device reads.
    unsafe { Mmio::new(BAR0, BAR0_BYTES) }
}

impl Function {
    /// The one NVMe controller on the bus.
    ///
    /// # Errors
    /// There is none, or another one.
    pub fn find() -> Outcome<Self> {
        let mut found = None;
        for device in 0..DEVICES {
            let config = config_of(device, 0);
            if config.read(0, 2) == 0xFFFF || config.read32(8) >> 8 != CLASS_NVME {
                continue;
            }
            let other = found.replace(Self { config, device });
            that("one NVMe controller on the bus, not two", other.is_none())?;
        }
        found.ok_or_else(|| Failure::new("an NVMe controller on bus 0 (class code)", CLASS_NVME, 0))
    }

    /// Configuration space of a function that does not exist, on the same device.
    pub fn absent_function(&self) -> Mmio {
        config_of(self.device, FUNCTIONS - 1)
    }

    /// Configuration space of a device that does not exist.
    ///
    /// # Errors
    /// The bus is full.
    pub fn absent_device(&self) -> Outcome<Mmio> {
        (0..DEVICES)
            .rev()
            .map(|device| config_of(device, 0))
            .find(|config| config.read(0, 2) == 0xFFFF)
            .ok_or_else(|| Failure::new("a device number without a device", 1, 0))
    }

    /// Sizes BAR0, puts it where the guest wants it and turns the function on.
    ///
    /// # Errors
    /// What BAR0 says of itself is not what this controller's is.
    pub fn enable(&self) -> Outcome {
        self.config.write(COMMAND, 2, 0);
        self.config.write32(BAR, 0xFFFF_FFFF);
        self.config.write32(BAR + 4, 0xFFFF_FFFF);
        let (low, high) = (self.config.read32(BAR), self.config.read32(BAR + 4));
        equal("BAR0 is 64-bit memory, not prefetchable", 0b0100, low & 0xF)?;
        let mask = high << 32 | low & !0xF;
        equal("size of BAR0", BAR0_BYTES, mask.wrapping_neg())?;
        self.put_bar();
        let at = self.config.read32(BAR + 4) << 32 | self.config.read32(BAR) & !0xF;
        equal("address of BAR0 as written", BAR0, at)?;
        self.config.write(COMMAND, 2, COMMAND_ON);
        equal(
            "memory space and bus master are on",
            COMMAND_ON,
            self.config.read(COMMAND, 2) & COMMAND_ON,
        )
    }

    /// Writes BAR0's address and turns the function on, without any check.
    pub fn put_bar(&self) {
        self.config.write32(BAR, BAR0 & 0xFFFF_FFFF);
        self.config.write32(BAR + 4, BAR0 >> 32);
        self.config.write(COMMAND, 2, COMMAND_ON);
    }

    /// Where a capability is.
    ///
    /// # Errors
    /// The list does not have it, or does not end.
    pub fn capability(&self, id: u64) -> Outcome<u64> {
        let mut at = self.config.read(0x34, 1) & !3;
        for _ in 0..48 {
            if at < 0x40 {
                return Err(Failure::new("a PCI capability", id, 0));
            }
            let header = self.config.read(at, 2);
            if header & 0xFF == id {
                return Ok(at);
            }
            at = header >> 8 & !3;
        }
        Err(Failure::new("the list of capabilities ends", id, at))
    }

    /// MSI-X as the capability describes it.
    ///
    /// # Errors
    /// There is none, or its table or pending bits are not inside BAR0.
    pub fn msix(&self) -> Outcome<Msix> {
        let capability = self.capability(CAPABILITY_MSIX)?;
        let place = |offset| {
            let word = self.config.read32(capability + offset);
            equal_in("MSI-X structures are in BAR0", 0, word & 7, word).map(|()| word)
        };
        let msix = Msix {
            capability,
            vectors: (self.config.read(capability + 2, 2) & 0x7FF) + 1,
            table: place(4)?,
            pending: place(8)?,
        };
        that(
            "MSI-X table and pending bits lie inside BAR0",
            msix.table + 16 * msix.vectors <= BAR0_BYTES
                && msix.pending + msix.vectors.div_ceil(64) * 8 <= BAR0_BYTES,
        )?;
        Ok(msix)
    }

    /// Resets the function (Initiate Function Level Reset). Nothing of its set-up survives.
    ///
    /// # Errors
    /// There is no PCI Express capability.
    pub fn reset(&self) -> Outcome {
        let control = self.capability(CAPABILITY_PCIE)? + 8;
        self.config.write(control, 2, 1 << 15);
        Ok(())
    }
}

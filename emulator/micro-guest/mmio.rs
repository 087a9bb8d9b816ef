// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses to devices, in every width. Plain moves and nothing else, which every KVM can emulate.

use core::arch::asm;

/// The widths of an access, in bytes.
pub const WIDTHS: [u64; 4] = [1, 2, 4, 8];

/// A window of device memory.
#[derive(Clone, Copy)]
pub struct Mmio {
    start: u64,
    bytes: u64,
}

impl Mmio {
    /// The `bytes` from address `start` on.
    ///
    /// # Safety
    /// They are mapped, and no memory of this program.
    pub const unsafe fn new(start: u64, bytes: u64) -> Self {
        Self { start, bytes }
    }

    /// A part of the window.
    pub fn part(self, offset: u64, bytes: u64) -> Self {
        assert!(offset + bytes <= self.bytes, "outside the device's window");
        Self {
            start: self.start + offset,
            bytes,
        }
    }

    fn address(self, offset: u64, width: u64) -> u64 {
        assert!(
            offset + width <= self.bytes,
            "access outside the device's window"
        );
        self.start + offset
    }

    /// Reads `width` (1, 2, 4 or 8) bytes at any `offset`.
    pub fn read(self, offset: u64, width: u64) -> u64 {
        let from = self.address(offset, width);
        let value: u64;
        // SAFETY: the bytes are mapped and belong to a device, says `new`.
        unsafe {
            match width {
                1 => asm!("movzx {:e}, byte ptr [{}]", out(reg) value, in(reg) from),
                2 => asm!("movzx {:e}, word ptr [{}]", out(reg) value, in(reg) from),
                4 => asm!("mov {:e}, dword ptr [{}]", out(reg) value, in(reg) from),
                _ => asm!("mov {}, qword ptr [{}]", out(reg) value, in(reg) from),
            }
        }
        value
    }

    /// Writes the low `width` (1, 2, 4 or 8) bytes of `value` at any `offset`.
    pub fn write(self, offset: u64, width: u64, value: u64) {
        let to = self.address(offset, width);
        // SAFETY: as in `read`; what a device then does to memory is what `Region` allows for.
        unsafe {
            match width {
                1 => asm!("mov byte ptr [{}], {}", in(reg) to, in(reg_byte) value.to_le_bytes()[0]),
                2 => asm!("mov word ptr [{}], {:x}", in(reg) to, in(reg) value),
                4 => asm!("mov dword ptr [{}], {:e}", in(reg) to, in(reg) value),
                _ => asm!("mov qword ptr [{}], {}", in(reg) to, in(reg) value),
            }
        }
    }

    /// Reads 4 bytes.
    pub fn read32(self, offset: u64) -> u64 {
        self.read(offset, 4)
    }

    /// Writes 4 bytes.
    pub fn write32(self, offset: u64, value: u64) {
        self.write(offset, 4, value);
    }
}

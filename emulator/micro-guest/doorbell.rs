// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Doorbells: a register each, and with Doorbell Buffer Config a word of memory that spares the
//! register's trap (NVMe Base 2.0c, 3.1.4, 5.8 and B.5).

use core::sync::atomic::{Ordering, fence};

use crate::layout::{DOORBELLS_MAPPED, DOORBELLS_SHADOW};
use crate::memory::Region;
use crate::mmio::Mmio;

/// How the guest rings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every ring is a register write that traps.
    Exit,
    /// Doorbell Buffer Config.
    Shadow,
    /// Register writes that do not trap: to the driver the same as `Exit`.
    Mapped,
}

impl Mode {
    /// From the parameter.
    pub fn new(number: u64) -> Self {
        match number {
            DOORBELLS_SHADOW => Self::Shadow,
            DOORBELLS_MAPPED => Self::Mapped,
            _ => Self::Exit,
        }
    }
}

/// The pages of Doorbell Buffer Config: a 32-bit slot for each doorbell, in the registers' order.
#[derive(Clone, Copy)]
pub struct Shadow {
    /// What the driver rings.
    pub doorbells: Region,
    /// When the device wants to be told.
    pub events: Region,
}

/// One doorbell.
#[derive(Clone, Copy)]
pub struct Bell {
    registers: Mmio,
    offset: u64,
    shadow: Option<Shadow>,
    value: u32,
    /// How often the register was written.
    pub registers_written: u64,
}

impl Bell {
    /// The doorbell at `slot` (twice the queue, and 1 more for the completion queue).
    pub fn new(registers: Mmio, shadow: Option<Shadow>, slot: u64) -> Self {
        Self {
            registers,
            offset: 4 * slot,
            shadow,
            value: 0,
            registers_written: 0,
        }
    }

    /// Rings with a new value: queue entries stored before are visible to a device that sees it.
    #[inline]
    pub fn ring(&mut self, value: u32) {
        let old = core::mem::replace(&mut self.value, value);
        if let Some(shadow) = &self.shadow {
            let slot = shadow.doorbells.atomic32(self.offset);
            slot.store(value.to_le(), Ordering::Release);
            // The device publishes its event index, passes a barrier and reads the doorbell.
            barrier();
            let event = shadow.events.atomic32(self.offset).load(Ordering::Relaxed);
            if !is_passed(u32::from_le(event), value, old) {
                return;
            }
        }
        self.write_register(value);
    }

    /// Writes the register whatever the event index says.
    pub fn write_register(&mut self, value: u32) {
        fence(Ordering::Release);
        self.registers.write32(self.offset, value.into());
        self.registers_written += 1;
    }

    /// Writes a value where the device looks for it, as a driver that has gone wrong: the slot if
    /// there is one, else the register.
    pub fn misuse(&mut self, value: u32) {
        if let Some(shadow) = &self.shadow {
            let slot = shadow.doorbells.atomic32(self.offset);
            slot.store(value.to_le(), Ordering::Release);
        } else {
            self.registers.write32(self.offset, value.into());
        }
    }

    /// Rings with the last good value again.
    pub fn repair(&mut self) {
        let value = self.value;
        self.misuse(value);
    }
}

/// A full barrier, as Linux has it between processors: a locked access to a line of one's own, which
/// costs less than a fence.
#[inline]
fn barrier() {
    // SAFETY: it changes nothing: what is on top of the stack is or-ed with 0. The compiler takes it
    // for an access to any memory.
    unsafe { core::arch::asm!("lock or dword ptr [rsp], 0") };
}

/// Whether a doorbell that moves from `old` to `new` passes the event index: all three 16 bits
/// wide, wrapping.
#[inline]
fn is_passed(event: u32, new: u32, old: u32) -> bool {
    (new.wrapping_sub(event).wrapping_sub(1) & 0xFFFF) < (new.wrapping_sub(old) & 0xFFFF)
}

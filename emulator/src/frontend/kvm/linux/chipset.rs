// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is on the guest's ports and beside its RAM: PCI, serial ports, power management.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use kvm_ioctls::VcpuFd;

use super::interpreter::Interpreter;
use super::layout::{
    COM_PORTS, COM1, COM2, KEYBOARD, KEYBOARD_RESET, PM_TIMER, PM1_CONTROL, PM1_EVENT, RESET,
    SLEEP_TYPE_OFF,
};
use super::serial::SerialPort;
use crate::drive::Clock;
use crate::frontend::kvm::pci_bus::{PciBus, Target};
use crate::frontend::kvm::{Bus, Ending, ExitKind, Handled};
use crate::observe::ExitReason;

/// Frequency of the power management timer in Hz (ACPI 6.5, 4.8.3.3).
const PM_TIMER_HZ: u128 = 3_579_545;
/// PM1 control: SCI enable, that is, ACPI mode. It cannot be left.
const SCI_ENABLE: u16 = 1;
/// PM1 control: go to the sleep state of bits 12:10.
const SLEEP_ENABLE: u16 = 1 << 13;
/// Bits of the reset control register that ask for a reset.
const RESET_CPU: u8 = 1 << 2;

/// Everything but RAM and interrupt controllers.
pub struct Chipset {
    /// The root bus.
    pub pci: PciBus,
    /// The console.
    pub console: Arc<SerialPort>,
    /// The agent's channel.
    pub channel: Arc<SerialPort>,
    /// For guests on a KVM that interprets them.
    pub interpreter: Option<Interpreter>,
    clock: Clock,
    pm1_status: AtomicU16,
    pm1_enable: AtomicU16,
}

impl Chipset {
    /// A chipset with these parts.
    pub fn new(
        pci: PciBus,
        console: Arc<SerialPort>,
        channel: Arc<SerialPort>,
        interpreter: Option<Interpreter>,
    ) -> Self {
        Self {
            pci,
            console,
            channel,
            interpreter,
            clock: Clock::new(),
            pm1_status: AtomicU16::new(0),
            pm1_enable: AtomicU16::new(0),
        }
    }

    /// The serial port at `port`, and its register there.
    fn serial(&self, port: u16) -> Option<(&SerialPort, u8)> {
        let offset = |first: u16| {
            let offset = port.checked_sub(first).filter(|at| *at < COM_PORTS)?;
            u8::try_from(offset).ok()
        };
        match (offset(COM1), offset(COM2)) {
            (Some(offset), _) => Some((&self.console, offset)),
            (None, Some(offset)) => Some((&self.channel, offset)),
            (None, None) => None,
        }
    }

    fn pm_timer(&self) -> u32 {
        let ticks = u128::from(self.clock.now()) * PM_TIMER_HZ / 1_000_000_000;
        // It wraps, as every 32-bit timer.
        let [a, b, c, d, ..] = ticks.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// Fixed-feature registers as one block of bytes from [`PM1_EVENT`] on.
    fn read_power(&self, port: u16, data: &mut [u8]) -> bool {
        let Some(offset) = port.checked_sub(PM1_EVENT).filter(|at| *at < 12) else {
            return false;
        };
        let mut block = [0; 12];
        let status = self.pm1_status.load(Ordering::Relaxed).to_le_bytes();
        let enable = self.pm1_enable.load(Ordering::Relaxed).to_le_bytes();
        block[0..2].copy_from_slice(&status);
        block[2..4].copy_from_slice(&enable);
        block[4..6].copy_from_slice(&SCI_ENABLE.to_le_bytes());
        block[8..12].copy_from_slice(&self.pm_timer().to_le_bytes());
        const { assert!(PM1_CONTROL == PM1_EVENT + 4 && PM_TIMER == PM1_EVENT + 8) };
        for (byte, from) in data.iter_mut().zip(block.iter().skip(offset.into())) {
            *byte = *from;
        }
        true
    }

    fn write_power(&self, port: u16, data: &[u8]) -> Option<Handled> {
        let handled = Handled::by(ExitKind::Guest(ExitReason::PortIo));
        let value = match *data {
            [low] => u16::from(low),
            [low, high, ..] => u16::from_le_bytes([low, high]),
            [] => 0,
        };
        match port {
            PM1_EVENT => {
                // Status bits are cleared by writing ones.
                self.pm1_status.fetch_and(!value, Ordering::Relaxed);
                if let [_, _, low, high] = *data {
                    let enable = u16::from_le_bytes([low, high]);
                    self.pm1_enable.store(enable, Ordering::Relaxed);
                }
                Some(handled)
            }
            port if port == PM1_EVENT + 2 => {
                self.pm1_enable.store(value, Ordering::Relaxed);
                Some(handled)
            }
            PM1_CONTROL => {
                let sleep_type = value >> 10 & 7;
                if value & SLEEP_ENABLE != 0 && sleep_type == u16::from(SLEEP_TYPE_OFF) {
                    return Some(ending(Ending::PowerOff));
                }
                Some(handled)
            }
            _ => None,
        }
    }
}

fn ending(ending: Ending) -> Handled {
    Handled {
        kind: ExitKind::Guest(ExitReason::PortIo),
        ending: Some(ending),
    }
}

fn handled(target: Option<Target>, write: bool) -> Handled {
    Handled::by(match target {
        Some(Target::Bar0(offset)) => ExitKind::Bar0 { offset, write },
        Some(Target::Config) => ExitKind::Guest(ExitReason::Config),
        None => ExitKind::Guest(ExitReason::Mmio),
    })
}

impl Bus for Chipset {
    fn mmio_read(&self, vcpu: usize, address: u64, data: &mut [u8]) -> Handled {
        handled(self.pci.read(vcpu, address, data), false)
    }

    fn mmio_write(&self, vcpu: usize, address: u64, data: &[u8]) -> Handled {
        handled(self.pci.write(vcpu, address, data), true)
    }

    fn port_read(&self, vcpu: usize, port: u16, data: &mut [u8]) -> Handled {
        if let (Some((serial, offset)), [byte]) = (self.serial(port), &mut *data) {
            *byte = serial.read(offset);
        } else if self.pci.port_read(vcpu, port, data) {
            return Handled::by(ExitKind::Guest(ExitReason::Config));
        } else {
            self.read_power(port, data);
        }
        Handled::by(ExitKind::Guest(ExitReason::PortIo))
    }

    fn port_write(&self, vcpu: usize, port: u16, data: &[u8]) -> Handled {
        if let (Some((serial, offset)), [byte]) = (self.serial(port), data) {
            serial.write(offset, *byte);
            return Handled::by(ExitKind::Guest(ExitReason::PortIo));
        }
        match (port, data) {
            (RESET, [value]) if value & RESET_CPU != 0 => return ending(Ending::Reset),
            (KEYBOARD, [KEYBOARD_RESET]) => return ending(Ending::Reset),
            _ => {}
        }
        if self.pci.port_write(vcpu, port, data) {
            return Handled::by(ExitKind::Guest(ExitReason::Config));
        }
        self.write_power(port, data)
            .unwrap_or(Handled::by(ExitKind::Guest(ExitReason::PortIo)))
    }

    fn mend(&self, _vcpu: usize, fd: &mut VcpuFd) -> bool {
        self.interpreter
            .as_ref()
            .is_some_and(|interpreter| interpreter.mend(fd))
    }
}

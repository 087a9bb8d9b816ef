// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The root bus: a host bridge, and the NVMe function behind it. Configuration space is reached by
//! the memory-mapped window (PCI Express Base 4.0, 7.2.2) and by the ports CF8h and CFCh (PCI Local
//! Bus 3.0, 3.2.2.3.2).

use std::sync::atomic::{AtomicU32, Ordering};

use super::access::AccessPort;
use crate::pci::{BAR0_SIZE, CONFIG_SPACE_SIZE, Region};

/// Device number of the NVMe function on bus 0.
pub const DEVICE_SLOT: u8 = 1;
/// The port that selects a register.
pub const CONFIG_ADDRESS: u16 = 0xCF8;
/// The four ports through which it is read and written.
pub const CONFIG_DATA: u16 = 0xCFC;
/// Bytes of the memory-mapped window: bus 0 only.
pub const ECAM_SIZE: u64 = 1 << 20;

const CONFIG_ENABLE: u32 = 1 << 31;

/// A host bridge without a maker: the class is what software looks at.
const HOST_BRIDGE: [u8; 16] = [
    0x50, 0x48, 0x00, 0x00, // our vendor identifier, device 0
    0x00, 0x00, 0x00, 0x00, // command, status
    0x01, 0x00, 0x00, 0x06, // revision, bridge device, host bridge
    0x00, 0x00, 0x00, 0x00, // header type 0
];

/// What an access went to, for the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// BAR0, at this offset.
    Bar0(u64),
    /// Configuration space.
    Config,
}

/// The bus.
pub struct PciBus {
    function: AccessPort,
    ecam: u64,
    /// What was written to [`CONFIG_ADDRESS`].
    selected: AtomicU32,
}

impl PciBus {
    /// A bus whose memory-mapped window is at `ecam`.
    pub fn new(function: AccessPort, ecam: u64) -> Self {
        Self {
            function,
            ecam,
            selected: AtomicU32::new(0),
        }
    }

    /// A read of guest memory that is not RAM. `None`: not ours.
    pub fn read(&self, vcpu: usize, address: u64, data: &mut [u8]) -> Option<Target> {
        if let Some(offset) = self.function.bar0_offset(address, BAR0_SIZE) {
            self.function.read(vcpu, Region::Bar0, offset, data);
            return Some(Target::Bar0(offset));
        }
        let offset = self.ecam_offset(address)?;
        let [device, register] = ecam_parts(offset);
        self.read_config(vcpu, device, register, data);
        Some(Target::Config)
    }

    /// A write to guest memory that is not RAM. `None`: not ours.
    pub fn write(&self, vcpu: usize, address: u64, data: &[u8]) -> Option<Target> {
        if let Some(offset) = self.function.bar0_offset(address, BAR0_SIZE) {
            self.function.write(vcpu, Region::Bar0, offset, data);
            return Some(Target::Bar0(offset));
        }
        let offset = self.ecam_offset(address)?;
        let [device, register] = ecam_parts(offset);
        self.write_config(vcpu, device, register, data);
        Some(Target::Config)
    }

    /// A read of a port. Returns whether it is ours.
    pub fn port_read(&self, vcpu: usize, port: u16, data: &mut [u8]) -> bool {
        match port {
            CONFIG_ADDRESS if data.len() == 4 => {
                let selected = self.selected.load(Ordering::Relaxed);
                data.copy_from_slice(&selected.to_le_bytes());
            }
            _ => match self.selected_register(port) {
                Some([device, register]) => self.read_config(vcpu, device, register, data),
                None if (CONFIG_ADDRESS..CONFIG_DATA + 4).contains(&port) => data.fill(0xFF),
                None => return false,
            },
        }
        true
    }

    /// A write to a port. Returns whether it is ours.
    pub fn port_write(&self, vcpu: usize, port: u16, data: &[u8]) -> bool {
        if let (CONFIG_ADDRESS, Ok(bytes)) = (port, <[u8; 4]>::try_from(data)) {
            self.selected
                .store(u32::from_le_bytes(bytes), Ordering::Relaxed);
            return true;
        }
        // The reset control register is a port of its own in the middle of ours.
        match self.selected_register(port) {
            Some([device, register]) => self.write_config(vcpu, device, register, data),
            None => return (CONFIG_DATA..CONFIG_DATA + 4).contains(&port),
        }
        true
    }

    /// Device and register that an access to the data ports means, on bus 0. Other buses and
    /// functions do not exist.
    fn selected_register(&self, port: u16) -> Option<[u64; 2]> {
        let byte = u64::from(port.checked_sub(CONFIG_DATA).filter(|byte| *byte < 4)?);
        let selected = self.selected.load(Ordering::Relaxed);
        if selected & CONFIG_ENABLE == 0 || selected >> 8 & 0xFF07 != 0 {
            return None;
        }
        let device = u64::from(selected >> 11 & 0x1F);
        Some([device, u64::from(selected & 0xFC) + byte])
    }

    fn ecam_offset(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.ecam)?;
        (offset < ECAM_SIZE).then_some(offset)
    }

    fn read_config(&self, vcpu: usize, device: u64, register: u64, data: &mut [u8]) {
        if device == u64::from(DEVICE_SLOT) {
            self.function.read(vcpu, Region::Config, register, data);
        } else if device == 0 {
            for (byte, at) in data.iter_mut().zip(register..) {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                // What the bridge does not have reads as 0.
                *byte = HOST_BRIDGE.get(at).copied().unwrap_or(0);
            }
        } else {
            data.fill(0xFF);
        }
    }

    fn write_config(&self, vcpu: usize, device: u64, register: u64, data: &[u8]) {
        if device == u64::from(DEVICE_SLOT) {
            self.function.write(vcpu, Region::Config, register, data);
        }
    }
}

/// Device and register of an offset into the window. A function other than 0 is no device.
fn ecam_parts(offset: u64) -> [u64; 2] {
    let function = offset >> 12 & 7;
    let device = offset >> 15 & 0x1F;
    let register = offset & (CONFIG_SPACE_SIZE as u64 - 1);
    [if function == 0 { device } else { u64::MAX }, register]
}

#[cfg(test)]
mod tests {
    use super::super::access;
    use super::*;

    const ECAM: u64 = 0xB000_0000;

    /// A bus without a poller: what reaches the function reads as ones.
    fn bus() -> PciBus {
        let (port, _) = access::channel(1).unwrap();
        PciBus::new(port, ECAM)
    }

    fn read<const N: usize>(bus: &PciBus, address: u64) -> [u8; N] {
        let mut data = [0; N];
        assert_eq!(bus.read(0, address, &mut data), Some(Target::Config));
        data
    }

    #[test]
    fn read_window_finds_the_host_bridge() {
        let bus = bus();
        assert_eq!(read(&bus, ECAM), [0x50, 0x48, 0, 0]);
        assert_eq!(read(&bus, ECAM + 0x0A), [0x00, 0x06]);
        assert_eq!(read(&bus, ECAM + 0xFFC), [0; 4]);
    }

    #[test]
    fn read_absent_device_or_function_gives_ones() {
        let bus = bus();
        assert_eq!(read(&bus, ECAM + (2 << 15)), [0xFF; 4]);
        assert_eq!(read(&bus, ECAM + (1 << 12)), [0xFF; 4]);
    }

    #[test]
    fn ports_select_the_same_registers() {
        let bus = bus();
        let mut data = [0; 2];
        assert!(bus.port_write(0, CONFIG_ADDRESS, &0x8000_0008_u32.to_le_bytes()));
        assert!(bus.port_read(0, CONFIG_DATA + 2, &mut data));
        assert_eq!(data, [0x00, 0x06]);

        assert!(bus.port_write(0, CONFIG_ADDRESS, &0x8001_0000_u32.to_le_bytes()));
        assert!(bus.port_read(0, CONFIG_DATA, &mut data));
        assert_eq!(data, [0xFF; 2], "there is no bus 1");
    }

    #[test]
    fn accesses_elsewhere_are_not_taken() {
        let bus = bus();
        assert_eq!(bus.read(0, ECAM + ECAM_SIZE, &mut [0; 4]), None);
        assert_eq!(bus.write(0, 0xFEC0_0000, &[0; 4]), None);
        assert!(!bus.port_read(0, 0x3F8, &mut [0]));
        assert!(!bus.port_write(0, 0xCF9, &[6]));
    }
}

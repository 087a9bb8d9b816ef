// SPDX-License-Identifier: Apache-2.0 OR MIT
use crate::pci::{BAR0_SIZE, ConfigSpace, Identity};

const COMMAND: u64 = 0x04;
const BAR0: u64 = 0x10;

fn space() -> ConfigSpace {
    ConfigSpace::new(&Identity::default(), 65)
}

fn read_u32(space: &ConfigSpace, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    space.read(offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn read_u8(space: &ConfigSpace, offset: u64) -> u8 {
    let mut byte = [0];
    space.read(offset, &mut byte);
    byte[0]
}

/// Where a capability is, found as software finds it.
fn capability(space: &ConfigSpace, id: u8) -> Option<u64> {
    let mut at = u64::from(read_u8(space, 0x34));
    for _ in 0..48 {
        if at == 0 {
            return None;
        }
        if read_u8(space, at) == id {
            return Some(at);
        }
        at = u64::from(read_u8(space, at + 1));
    }
    panic!("the capability list does not end");
}

#[test]
fn class_is_nvme_controller() {
    assert_eq!(read_u32(&space(), 0x08) >> 8, 0x01_08_02);
}

#[test]
fn bar_sizing_gives_16_kib_64_bit_memory() {
    let mut space = space();

    space.write(BAR0, &[0xFF; 4]);
    space.write(BAR0 + 4, &[0xFF; 4]);

    assert_eq!(read_u32(&space, BAR0), 0xFFFF_C004);
    assert_eq!(read_u32(&space, BAR0 + 4), 0xFFFF_FFFF);
}

#[test]
fn bar_address_is_kept() {
    let mut space = space();

    space.write(BAR0, &0xF012_3456_u32.to_le_bytes());
    space.write(BAR0 + 4, &7_u32.to_le_bytes());

    assert_eq!(space.bar0(), 0x7_F012_0000);
    assert_eq!(space.bar0() % BAR0_SIZE, 0);
}

#[test]
fn other_bars_do_not_exist() {
    let mut space = space();

    space.write(0x18, &[0xFF; 16]);

    assert_eq!(read_u32(&space, 0x18), 0);
    assert_eq!(read_u32(&space, 0x24), 0);
}

#[test]
fn identifiers_are_read_only() {
    let mut space = space();
    let before = read_u32(&space, 0);

    space.write(0, &[0; 4]);

    assert_eq!(read_u32(&space, 0), before);
}

#[test]
fn command_enables_memory_and_bus_master() {
    let mut space = space();
    assert!(!space.memory_enabled());
    assert!(!space.bus_master());

    space.write(COMMAND, &[0x06, 0]);

    assert!(space.memory_enabled());
    assert!(space.bus_master());
}

#[test]
fn capabilities_are_power_msix_and_express() {
    let space = space();

    assert!(capability(&space, 0x01).is_some());
    assert!(capability(&space, 0x11).is_some());
    assert!(capability(&space, 0x10).is_some());
    assert!(capability(&space, 0x05).is_none());
}

#[test]
fn msix_control_has_table_size_and_two_writable_bits() {
    let mut space = space();
    let msix = capability(&space, 0x11).expect("MSI-X");
    assert_eq!(read_u32(&space, msix) >> 16, 64);

    space.write(msix + 2, &[0xFF; 2]);

    assert_eq!(read_u32(&space, msix) >> 16, 0xC000 | 64);
    assert!(space.msix_enabled());
    assert!(space.msix_function_masked());
}

#[test]
fn function_level_reset_is_reported_and_reads_as_zero() {
    let mut space = space();
    let control = capability(&space, 0x10).expect("PCI Express") + 8;

    let effects = space.write(control, &0x8000_u16.to_le_bytes());

    assert!(effects.function_level_reset);
    assert_eq!(read_u32(&space, control) & 0x8000, 0);
}

#[test]
fn function_level_reset_by_its_byte_alone_is_reported() {
    let mut space = space();
    let control = capability(&space, 0x10).expect("PCI Express") + 8;

    assert!(space.write(control + 1, &[0x80]).function_level_reset);
    assert!(!space.write(control, &[0x80]).function_level_reset);
}

#[test]
fn power_state_d3_hides_memory_and_d1_is_discarded() {
    let mut space = space();
    let control = capability(&space, 0x01).expect("power management") + 4;
    space.write(COMMAND, &[0x02, 0]);

    space.write(control, &[1]);
    assert!(space.memory_enabled());
    space.write(control, &[3]);
    assert!(!space.memory_enabled());
    space.write(control, &[0]);
    assert!(space.memory_enabled());
}

#[test]
fn access_outside_reads_ones_and_writes_nothing() {
    let mut space = space();

    for offset in [4094, 4096, u64::MAX - 1, u64::MAX] {
        space.write(offset, &[0; 8]);
        let mut data = [0; 8];
        space.read(offset, &mut data);
        assert_eq!(data[7], 0xFF, "at {offset:#x}");
    }
}

#[test]
fn every_write_of_every_width_keeps_the_list_finite() {
    let mut space = space();

    for offset in 0..300 {
        for width in 1..=8 {
            space.write(offset, &[0xFF; 8][..width]);
        }
    }

    assert!(capability(&space, 0x05).is_none());
}

#[test]
fn reset_forgets_what_software_wrote() {
    let mut space = space();
    let before = read_u32(&space, COMMAND);
    space.write(COMMAND, &[0x06, 0]);
    space.write(BAR0, &[0xFF; 4]);

    space.reset();

    assert_eq!(read_u32(&space, COMMAND), before);
    assert_eq!(space.bar0(), 0);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
use proptest::prelude::*;

use super::{function, function_with};
use crate::controller::DoorbellMode;
use crate::dma::GuestRam;
use crate::pci::{Delivery, MSIX_TABLE, MsiMessage, MsiPort, NvmeFunction, Region};

const NOW: u64 = 1000;
const VS: u64 = 0x08;

struct NoPort;

impl MsiPort for NoPort {
    fn send(&mut self, _vector: u16, _message: MsiMessage) -> Delivery {
        Delivery::Sent
    }
}

fn attached() -> NvmeFunction {
    let mut function = function();
    let ram = GuestRam::anonymous(&[(0, 1 << 20)]).expect("memory for a test");
    function.attach(ram);
    function.write(NOW, Region::Config, 4, &[6, 0]);
    function
}

fn read<const N: usize>(function: &mut NvmeFunction, offset: u64) -> [u8; N] {
    let mut data = [0; N];
    function.read(Region::Bar0, offset, &mut data);
    data
}

#[test]
fn registers_before_memory_space_is_enabled_read_ones() {
    let mut function = attached();
    function.write(NOW, Region::Config, 4, &[0, 0]);

    assert_eq!(read(&mut function, VS), [0xFF; 4]);
}

#[test]
fn wide_read_is_cut_into_registers() {
    let mut function = attached();

    let all: [u8; 0x40] = read(&mut function, 0);
    let version: [u8; 4] = read(&mut function, VS);

    assert_eq!(version, [0, 0, 2, 0]);
    assert_eq!(all[8..12], version);
}

#[test]
fn removed_function_is_all_ones_and_comes_back_as_after_a_reset() {
    let mut function = attached();
    let vendor = |function: &mut NvmeFunction| {
        let mut data = [0; 4];
        function.read(Region::Config, 0, &mut data);
        data
    };
    let there = vendor(&mut function);
    let rules = "[[rule]]\nqueue = \"admin\"\nact = \"remove\"";
    let rules = crate::fault::Rules::parse(rules, "test").expect("rules");
    function.set_faults(rules);
    function.write(NOW, Region::Bar0, 0x24, &0x000F_000F_u32.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x28, &0x1000_u64.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x30, &0x2000_u64.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x14, &0x0046_0001_u32.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x1000, &1_u32.to_le_bytes());

    function.step(NOW, &mut NoPort);

    assert!(function.engine().is_removed());
    assert_eq!(vendor(&mut function), [0xFF; 4]);
    assert_eq!(read(&mut function, VS), [0xFF; 4]);
    // The MSI-X table is in the same BAR.
    assert_eq!(read(&mut function, 0x2000), [0xFF; 4]);
    function.write(NOW, Region::Config, 4, &[0, 0]);
    assert_eq!(function.bar0(), None);
    assert_eq!(function.step(NOW, &mut NoPort), None);
    assert!(function.is_idle());

    function.set_faults(crate::fault::Rules::default());
    assert_eq!(vendor(&mut function), there);
    assert_eq!(read(&mut function, VS), [0xFF; 4], "memory space is off");
    function.write(NOW, Region::Config, 4, &[6, 0]);
    assert_eq!(read(&mut function, VS), [0, 0, 2, 0]);
}

#[test]
fn read_beyond_the_bar_gives_ones() {
    let mut function = attached();

    assert_eq!(read(&mut function, 0x4000), [0xFF; 4]);
    assert_eq!(read(&mut function, u64::MAX - 3), [0xFF; 4]);
}

#[test]
fn msix_table_is_in_its_page() {
    let mut function = attached();

    function.write(NOW, Region::Bar0, MSIX_TABLE + 8, &[1, 2, 3, 4]);

    assert_eq!(read(&mut function, MSIX_TABLE + 8), [1, 2, 3, 4]);
    assert_eq!(read(&mut function, MSIX_TABLE + 12), [1, 0, 0, 0]);
}

#[test]
fn function_level_reset_forgets_table_and_command() {
    let mut function = attached();
    function.write(NOW, Region::Bar0, MSIX_TABLE + 8, &[1, 2, 3, 4]);

    function.write(NOW, Region::Config, 0x68, &0x8000_u16.to_le_bytes());

    assert_eq!(read(&mut function, VS), [0xFF; 4]);
    function.write(NOW, Region::Config, 4, &[6, 0]);
    assert_eq!(read(&mut function, MSIX_TABLE + 8), [0; 4]);
}

#[test]
fn regions_are_vfios() {
    assert_eq!(Region::from_vfio_index(0), Some(Region::Bar0));
    assert_eq!(Region::from_vfio_index(7), Some(Region::Config));
    assert_eq!(Region::from_vfio_index(1), None);
}

#[test]
fn function_that_is_not_bus_master_leaves_memory_alone() {
    let mut function = function();
    let ram = GuestRam::anonymous(&[(0, 1 << 20)]).expect("memory for a test");
    function.attach(ram.clone());
    function.write(NOW, Region::Config, 4, &[2, 0]);
    function.write(NOW, Region::Bar0, 0x24, &0x000F_000F_u32.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x28, &0x1000_u64.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x30, &0x2000_u64.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x14, &0x0046_0001_u32.to_le_bytes());
    // Any command has a completion, if only one that says that it is not known.
    ram.write(0x1000, &[0xFF]).expect("in RAM");
    function.write(NOW, Region::Bar0, 0x1000, &1_u32.to_le_bytes());
    let completed = |function: &mut NvmeFunction| {
        function.step(NOW, &mut NoPort);
        let mut entry = [0; 16];
        ram.read(0x2000, &mut entry).expect("in RAM");
        entry != [0; 16]
    };

    assert!(!completed(&mut function));
    assert!(function.is_idle());
    assert!(function.prepare_sleep());
    function.resume_polling();
    function.write(NOW, Region::Config, 4, &[6, 0]);
    assert!(completed(&mut function));

    // A shutdown needs no memory.
    function.write(NOW, Region::Config, 4, &[2, 0]);
    function.write(NOW, Region::Bar0, 0x14, &0x0046_4001_u32.to_le_bytes());
    assert_eq!(read::<4>(&mut function, 0x1C)[0] >> 2 & 3, 2);
}

const BAR0: u64 = 0x8_FE00_4000;
const COMMAND: u64 = 0x04;
const CC: u64 = 0x14;

/// A controller that is ready, with mapped doorbells and BAR0 at [`BAR0`].
fn running() -> NvmeFunction {
    let mut function = function_with(DoorbellMode::Mapped);
    let ram = GuestRam::anonymous(&[(0, 1 << 20)]).expect("memory for a test");
    function.attach(ram);
    function.write(NOW, Region::Config, 0x10, &BAR0.to_le_bytes());
    function.write(NOW, Region::Config, COMMAND, &[6, 0]);
    enable(&mut function);
    function
}

fn enable(function: &mut NvmeFunction) {
    function.write(NOW, Region::Bar0, 0x24, &0x000F_000F_u32.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x28, &0x1000_u64.to_le_bytes());
    function.write(NOW, Region::Bar0, 0x30, &0x2000_u64.to_le_bytes());
    function.write(NOW, Region::Bar0, CC, &0x0046_0001_u32.to_le_bytes());
    assert_eq!(read::<4>(function, 0x1C), [1, 0, 0, 0]);
}

#[test]
fn doorbells_are_mapped_only_while_the_controller_runs() {
    let mut function = running();
    let mapped = Some(BAR0 + 0x1000);
    assert_eq!(function.mapped_doorbells(), mapped);

    function.write(NOW, Region::Bar0, CC, &0x0046_0000_u32.to_le_bytes());
    assert_eq!(function.mapped_doorbells(), None, "disabled");
    enable(&mut function);
    assert_eq!(function.mapped_doorbells(), mapped);
    function.write(NOW, Region::Bar0, CC, &0x0046_4001_u32.to_le_bytes());
    assert_eq!(function.mapped_doorbells(), None, "shut down");
    function.write(NOW, Region::Bar0, CC, &[0; 4]);
    enable(&mut function);
    function.write(NOW, Region::Bar0, 0x20, b"eMVN");
    assert_eq!(function.mapped_doorbells(), None, "subsystem reset");
}

#[test]
fn controller_that_cannot_start_has_no_mapped_doorbells() {
    let mut function = running();
    function.write(NOW, Region::Bar0, CC, &[0; 4]);
    function.write(NOW, Region::Bar0, 0x24, &[0; 4]);

    function.write(NOW, Region::Bar0, CC, &0x0046_0001_u32.to_le_bytes());

    assert_eq!(read::<4>(&mut function, 0x1C), [2, 0, 0, 0], "fatal");
    assert_eq!(function.mapped_doorbells(), None);
}

#[test]
fn mapped_doorbells_follow_bar0() {
    let mut function = running();
    let page = function.doorbell_page().expect("a page").host_address();

    function.write(NOW, Region::Config, 0x10, &0xC000_0000_u32.to_le_bytes());
    assert_eq!(function.mapped_doorbells(), Some(0x8_C000_1000));
    assert_eq!(function.bar0(), Some(0x8_C000_0000));
    function.write(NOW, Region::Config, COMMAND, &[4, 0]);
    assert_eq!(function.mapped_doorbells(), None, "memory space disabled");
    assert_eq!(function.bar0(), None);
    function.write(NOW, Region::Config, COMMAND, &[6, 0]);
    assert_eq!(function.mapped_doorbells(), Some(0x8_C000_1000));
    function.write(NOW, Region::Config, 0x44, &[3]);
    assert_eq!(function.mapped_doorbells(), None, "D3hot");
    function.write(NOW, Region::Config, 0x44, &[0]);
    function.write(NOW, Region::Config, 0x10, &[0; 8]);
    assert_eq!(function.mapped_doorbells(), None, "no address");
    assert_eq!(function.bar0(), None);
    function.write(NOW, Region::Config, 0x10, &[0xFF; 8]);
    assert_eq!(function.mapped_doorbells(), Some(!0x3FFF + 0x1000));
    function.write(NOW, Region::Config, 0x68, &0x8000_u16.to_le_bytes());
    assert_eq!(function.mapped_doorbells(), None, "function level reset");
    let same = function.doorbell_page().expect("a page").host_address();
    assert_eq!(same, page, "always the same page");
}

#[test]
fn other_modes_have_no_page() {
    for mode in [DoorbellMode::Exit, DoorbellMode::Shadow] {
        let mut function = function_with(mode);
        function.attach(GuestRam::anonymous(&[(0, 1 << 20)]).expect("memory for a test"));
        function.write(NOW, Region::Config, 0x10, &BAR0.to_le_bytes());
        function.write(NOW, Region::Config, COMMAND, &[6, 0]);
        enable(&mut function);

        assert!(function.doorbell_page().is_none());
        assert_eq!(function.mapped_doorbells(), None);
        assert_eq!(function.bar0(), Some(BAR0));
    }
}

#[test]
fn sleep_is_refused_while_doorbells_are_mapped() {
    let mut function = running();
    function.step(NOW, &mut NoPort);
    assert!(!function.prepare_sleep());

    // Not bus master: what is rung waits for a write to configuration space, which traps.
    function.write(NOW, Region::Config, COMMAND, &[2, 0]);
    assert!(function.prepare_sleep());
    function.resume_polling();
    function.write(NOW, Region::Config, COMMAND, &[6, 0]);
    function.write(NOW, Region::Bar0, CC, &[0; 4]);
    function.step(NOW, &mut NoPort);
    assert!(function.prepare_sleep());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_access_is_safe(
        accesses in prop::collection::vec(
            (any::<bool>(), any::<bool>(), prop_oneof![0..0x5000_u64, any::<u64>()],
             0_usize..40, any::<u8>()),
            0..60,
        ),
    ) {
        let mut function = attached();
        let mut now = NOW;
        for (write, config, offset, length, value) in accesses {
            let region = if config { Region::Config } else { Region::Bar0 };
            let mut data = vec![value; length];
            now += 100;
            if write {
                function.write(now, region, offset, &data);
            } else {
                function.read(region, offset, &mut data);
            }
            function.step(now, &mut NoPort);
        }
        function.detach();
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
use proptest::prelude::*;

use super::guest::{DriverRing, READ, WRITE};
use crate::dma::GuestRam;
use crate::frontend::vhost_user::vring::{Vring, VringError, VringLayout};

const RAM: u64 = 0x10_0000;
const RAM_SIZE: usize = 0x10_0000;
const BUFFER: u64 = RAM + 0x8000;
const SIZE: u16 = 8;

fn ram() -> GuestRam {
    GuestRam::anonymous(&[(RAM, RAM_SIZE)]).expect("memory for a test")
}

fn driver(ram: &GuestRam) -> DriverRing {
    DriverRing::new(ram.clone(), RAM, SIZE)
}

fn device(ram: &GuestRam) -> Vring {
    Vring::new(ram, &driver(ram).layout()).expect("a ring in RAM")
}

#[test]
fn take_empty_ring_returns_nothing() {
    let ram = ram();

    assert!(matches!(device(&ram).take(), Ok(None)));
}

#[test]
fn take_then_give_back_returns_the_head_and_length() {
    let ram = ram();
    let (mut driver, mut vring) = (driver(&ram), device(&ram));
    ram.write(BUFFER, b"ask").expect("in RAM");

    driver.add(5, &[(BUFFER, 3, READ), (BUFFER + 16, 8, WRITE)]);
    let chain = vring.take().expect("a valid chain").expect("one chain");
    let mut question = [0; 8];
    assert_eq!(vring.read(&chain, &mut question), Ok(3));
    assert_eq!(vring.write(&chain, b"answer"), Ok(()));
    vring.give_back(&chain, 6).expect("in RAM");

    assert_eq!(&question[..3], b"ask");
    assert_eq!(driver.used(), Some((5, 6)));
    let mut answer = [0; 6];
    ram.read(BUFFER + 16, &mut answer).expect("in RAM");
    assert_eq!(&answer, b"answer");
}

#[test]
fn many_rounds_wrap_the_indices() {
    let ram = ram();
    let (mut driver, mut vring) = (driver(&ram), device(&ram));

    for round in 0..70_000_u32 {
        driver.add(
            u16::try_from(round % 8).expect("small"),
            &[(BUFFER, 4, READ)],
        );
        let chain = vring.take().expect("valid").expect("one chain");
        vring.give_back(&chain, 0).expect("in RAM");
        assert_eq!(driver.used(), Some((round % 8, 0)));
    }
}

#[test]
fn write_longer_than_the_chain_is_refused() {
    let ram = ram();
    let (mut driver, mut vring) = (driver(&ram), device(&ram));
    driver.add(0, &[(BUFFER, 4, READ), (BUFFER + 64, 4, WRITE)]);
    let chain = vring.take().expect("valid").expect("one chain");

    let result = vring.write(&chain, &[0; 5]);

    let (offered, needed) = (4, 5);
    assert_eq!(result, Err(VringError::BufferTooShort { offered, needed }));
}

#[test]
fn available_index_too_far_is_refused() {
    let ram = ram();
    let (mut driver, mut vring) = (driver(&ram), device(&ram));

    driver.set_available_index(SIZE + 1);

    let result = vring.take().map(|chain| chain.is_some());
    assert_eq!(
        result,
        Err(VringError::AvailableIndex {
            available: SIZE + 1,
            next: 0
        })
    );
}

#[test]
fn head_beyond_the_table_is_refused() {
    let ram = ram();
    let (mut driver, mut vring) = (driver(&ram), device(&ram));

    driver.add_raw(SIZE);

    assert_eq!(
        vring.take().map(|chain| chain.is_some()),
        Err(VringError::DescriptorIndex(SIZE))
    );
}

#[test]
fn buffer_outside_ram_is_refused() {
    let end = RAM + RAM_SIZE as u64;
    for (address, length) in [(0, 4), (end - 2, 4), (u64::MAX - 1, 4), (RAM, u32::MAX)] {
        let ram = ram();
        let (mut driver, mut vring) = (driver(&ram), device(&ram));
        driver.add(0, &[(address, length, READ)]);

        let result = vring.take();

        assert!(
            matches!(result, Err(VringError::Placement(_))),
            "{address:#x}+{length:#x}"
        );
    }
}

#[test]
fn chain_that_loops_is_refused() {
    let ram = ram();
    let (mut driver, mut vring) = (driver(&ram), device(&ram));
    driver.add(0, &[(BUFFER, 4, READ)]);
    driver.set_descriptor(0, BUFFER, 4, READ | 1, 0);

    assert_eq!(
        vring.take().map(|chain| chain.is_some()),
        Err(VringError::ChainTooLong(0))
    );
}

#[test]
fn indirect_or_disordered_chain_is_refused() {
    const INDIRECT: u16 = 4;
    let ram = ram();
    for flags in [[INDIRECT, READ], [WRITE, READ]] {
        let (mut driver, mut vring) = (driver(&ram), device(&ram));
        driver.add(0, &[(BUFFER, 4, flags[0]), (BUFFER, 4, flags[1])]);

        let result = vring.take();

        assert!(
            matches!(result, Err(VringError::DescriptorFlags { .. })),
            "{flags:?}"
        );
        driver.reset();
    }
}

#[test]
fn ring_outside_ram_or_of_odd_size_is_refused() {
    let ram = ram();
    let good = driver(&ram).layout();
    let bad = [
        VringLayout { size: 0, ..good },
        VringLayout { size: 3, ..good },
        VringLayout {
            size: 1 << 16,
            ..good
        },
        VringLayout {
            descriptors: 0,
            ..good
        },
        VringLayout {
            descriptors: RAM + 8,
            ..good
        },
        VringLayout {
            available: u64::MAX,
            ..good
        },
        VringLayout {
            used: RAM + RAM_SIZE as u64 - 4,
            ..good
        },
        VringLayout {
            used: RAM + 2,
            ..good
        },
    ];

    for layout in bad {
        assert!(Vring::new(&ram, &layout).is_err(), "{layout:?}");
    }
}

#[test]
fn notifications_are_asked_for_and_refused() {
    let ram = ram();
    let (driver, vring) = (driver(&ram), device(&ram));

    vring.set_notifications(false).expect("in RAM");
    assert!(!driver.should_notify());
    vring.set_notifications(true).expect("in RAM");
    assert!(driver.should_notify());
}

#[test]
fn call_is_wanted_unless_the_driver_says_no() {
    let ram = ram();
    let (mut driver, vring) = (driver(&ram), device(&ram));

    assert_eq!(vring.wants_call(), Ok(true));
    driver.refuse_calls();
    assert_eq!(vring.wants_call(), Ok(false));
}

proptest! {
    /// Whatever the ring's memory holds: an error or a chain that can be served, never more.
    #[test]
    fn any_ring_contents_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let ram = ram();
        let layout = driver(&ram).layout();
        ram.write(RAM, &bytes).expect("in RAM");
        let mut vring = Vring::new(&ram, &layout).expect("a ring in RAM");
        for _ in 0..20 {
            let Ok(Some(chain)) = vring.take() else { break };
            let _ = vring.read(&chain, &mut [0; 64]);
            let _ = vring.write(&chain, &[0; 64]);
            vring.give_back(&chain, 64).expect("in RAM");
        }
    }
}

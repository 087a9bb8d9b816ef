// SPDX-License-Identifier: Apache-2.0 OR MIT
use proptest::prelude::*;

use crate::pci::{Delivery, MAX_VECTORS, MsiMessage, MsiPort, Msix};

/// A port that keeps what it is given, or is full.
#[derive(Default)]
struct Port {
    sent: Vec<(u16, MsiMessage)>,
    full: bool,
}

impl MsiPort for Port {
    fn send(&mut self, vector: u16, message: MsiMessage) -> Delivery {
        if self.full {
            return Delivery::Busy;
        }
        self.sent.push((vector, message));
        Delivery::Sent
    }
}

const VECTOR: u16 = 2;
const MESSAGE: MsiMessage = MsiMessage {
    address: 0x1_000A_0000,
    data: 77,
};

/// Four vectors, `VECTOR` with a message and its mask as given.
fn msix(masked: bool) -> Msix {
    let mut msix = Msix::new(4);
    msix.write_table(32, &MESSAGE.address.to_le_bytes());
    msix.write_table(40, &MESSAGE.data.to_le_bytes());
    mask(&mut msix, masked);
    msix.set_control(true, false);
    msix
}

fn mask(msix: &mut Msix, masked: bool) {
    msix.write_table(44, &u32::from(masked).to_le_bytes());
}

fn pending(msix: &Msix) -> u64 {
    let mut bytes = [0; 8];
    msix.read_pending(0, &mut bytes);
    u64::from_le_bytes(bytes)
}

#[test]
fn raise_enabled_sends_the_entrys_message() {
    let (mut msix, mut port) = (msix(false), Port::default());

    msix.raise(VECTOR, &mut port);

    assert_eq!(port.sent, [(VECTOR, MESSAGE)]);
    assert_eq!(pending(&msix), 0);
}

#[test]
fn raise_disabled_is_lost() {
    let (mut msix, mut port) = (msix(false), Port::default());
    msix.set_control(false, false);

    msix.raise(VECTOR, &mut port);
    msix.set_control(true, false);
    msix.deliver_pending(&mut port);

    assert!(port.sent.is_empty());
}

#[test]
fn raise_masked_entry_pends_until_unmasked() {
    let (mut msix, mut port) = (msix(true), Port::default());

    msix.raise(VECTOR, &mut port);
    msix.raise(VECTOR, &mut port);
    assert_eq!(pending(&msix), 1 << VECTOR);
    assert!(port.sent.is_empty());

    mask(&mut msix, false);
    msix.deliver_pending(&mut port);
    msix.deliver_pending(&mut port);

    assert_eq!(port.sent, [(VECTOR, MESSAGE)]);
    assert_eq!(pending(&msix), 0);
}

#[test]
fn raise_masked_function_pends_until_unmasked() {
    let (mut msix, mut port) = (msix(false), Port::default());
    msix.set_control(true, true);

    msix.raise(VECTOR, &mut port);
    msix.deliver_pending(&mut port);
    assert!(port.sent.is_empty());

    msix.set_control(true, false);
    msix.deliver_pending(&mut port);
    assert_eq!(port.sent, [(VECTOR, MESSAGE)]);
}

#[test]
fn raise_full_port_is_retried() {
    let (mut msix, mut port) = (msix(false), Port::default());
    port.full = true;

    msix.raise(VECTOR, &mut port);
    msix.deliver_pending(&mut port);
    assert!(msix.wants_retry());

    port.full = false;
    msix.deliver_pending(&mut port);
    assert_eq!(port.sent, [(VECTOR, MESSAGE)]);
    assert!(!msix.wants_retry());
}

#[test]
fn raise_vector_beyond_table_is_ignored() {
    let (mut msix, mut port) = (msix(false), Port::default());

    msix.raise(4, &mut port);
    msix.raise(u16::MAX, &mut port);

    assert!(port.sent.is_empty());
}

#[test]
fn entry_after_reset_is_masked() {
    let (mut msix, mut port) = (msix(false), Port::default());
    msix.reset();
    msix.set_control(true, false);

    msix.raise(VECTOR, &mut port);

    assert!(port.sent.is_empty());
    assert_eq!(pending(&msix), 1 << VECTOR);
}

#[test]
fn message_address_is_aligned_and_control_has_one_bit() {
    let mut msix = Msix::new(1);

    msix.write_table(0, &[0xFF; 16]);

    let mut entry = [0; 16];
    msix.read_table(0, &mut entry);
    assert_eq!(entry[0], 0xFC);
    assert_eq!(&entry[12..], &[1, 0, 0, 0]);
}

#[test]
fn more_vectors_than_fit_are_cut() {
    assert_eq!(Msix::new(u16::MAX).vectors(), MAX_VECTORS);
    assert_eq!(Msix::new(0).vectors(), 1);
}

proptest! {
    #[test]
    fn any_access_is_safe(
        accesses in prop::collection::vec(
            (any::<bool>(), prop_oneof![0..0x2000_u64, any::<u64>()], 0_usize..20, any::<u8>()),
            0..50,
        ),
    ) {
        let (mut msix, mut port) = (Msix::new(65), Port::default());
        msix.set_control(true, false);
        for (write, offset, length, value) in accesses {
            let mut data = vec![value; length];
            if write {
                msix.write_table(offset, &data);
            } else {
                msix.read_table(offset, &mut data);
                msix.read_pending(offset, &mut data);
            }
            msix.raise(u16::from(value), &mut port);
            msix.deliver_pending(&mut port);
        }
        prop_assert!(port.sent.iter().all(|(vector, _)| *vector < 65));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses between threads. Apart from `access.rs`, which is also compiled with loom's atomics.

use super::access::channel;
use crate::pci::Region;

#[test]
fn read_is_answered_by_the_other_side() {
    let (port, queue) = channel(2).unwrap();
    let poller = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while seen.len() < 2 {
            queue.serve(|_, access| {
                seen.push((access.region, access.offset, access.size, access.data));
                0x1122_3344_5566_7788
            });
        }
        seen
    });
    let mut data = [0; 4];
    port.read(1, Region::Bar0, 0x1C, &mut data);
    port.write(1, Region::Config, 0x04, &[6, 0]);

    assert_eq!(data, [0x88, 0x77, 0x66, 0x55]);
    assert_eq!(
        poller.join().unwrap(),
        [
            (Region::Bar0, 0x1C, 4, None),
            (Region::Config, 0x04, 2, Some(6))
        ]
    );
}

#[test]
fn read_without_a_poller_gives_ones() {
    let (port, queue) = channel(1).unwrap();
    drop(queue);
    let mut data = [0; 8];
    port.read(0, Region::Bar0, 0, &mut data);
    assert_eq!(data, [0xFF; 8]);
}

#[test]
fn prepare_sleep_with_an_access_waiting_refuses() {
    let (port, queue) = channel(1).unwrap();
    assert!(queue.prepare_sleep());
    let guest = std::thread::spawn(move || port.write(0, Region::Bar0, 0, &[1]));
    while queue.is_empty() {
        std::hint::spin_loop();
    }
    assert!(!queue.prepare_sleep());
    queue.serve(|_, _| 0);
    guest.join().unwrap();
}

#[test]
fn bar0_offset_outside_is_none() {
    let (port, queue) = channel(1).unwrap();
    assert_eq!(port.bar0_offset(0, 0x4000), None);
    queue.publish_bar0(Some(0xE000_0000));
    assert_eq!(port.bar0_offset(0xE000_3FFF, 0x4000), Some(0x3FFF));
    assert_eq!(port.bar0_offset(0xE000_4000, 0x4000), None);
    queue.publish_bar0(None);
    assert_eq!(port.bar0_offset(0xE000_0000, 0x4000), None);
}

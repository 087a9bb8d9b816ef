// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::super::Corruption;

#[test]
fn places_are_inside_apart_and_in_order() {
    for (bytes, length) in [(1, 1), (1, 512), (7, 512), (512, 512), (65_537, 1 << 20)] {
        for seed in 0..20 {
            let places: Vec<_> = Corruption { bytes, seed }.places(length).collect();
            assert_eq!(places.len(), bytes as usize);
            assert!(places.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(places.iter().all(|&(at, mask)| at < length && mask != 0));
        }
    }
}

#[test]
fn places_of_a_short_transfer_are_all_of_it() {
    let corruption = Corruption {
        bytes: u32::MAX,
        seed: 1,
    };
    let places: Vec<u32> = corruption.places(64).map(|(at, _)| at).collect();
    assert_eq!(places, (0..64).collect::<Vec<_>>());
    assert_eq!(corruption.places(0).count(), 0);
}

#[test]
fn places_depend_on_the_seed() {
    let of = |seed| {
        Corruption { bytes: 3, seed }
            .places(4096)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

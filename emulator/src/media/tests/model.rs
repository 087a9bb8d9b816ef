// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every medium against an array of bytes, under any sequence of operations.

use std::fs::File;

use proptest::prelude::*;

use super::{Scripted, flush, get, put};
use crate::media::cache::Cached;
use crate::media::{Backing, Media, MediaConfig, open};

const SIZE: usize = 300 * 1024;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize, u8),
    Zero(usize, usize, bool),
    Read(usize, usize),
    Flush,
    StartFlush,
    Poll,
    Cache(bool),
}

/// An offset and a length in units of 512 bytes that end within the medium.
fn range() -> impl Strategy<Value = (usize, usize)> {
    (0..SIZE / 512, 1_usize..100).prop_map(|(start, length)| {
        let length = length.min(SIZE / 512 - start);
        (start * 512, length * 512)
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (range(), any::<u8>()).prop_map(|((o, l), value)| Step::Write(o, l, value)),
        2 => (range(), any::<bool>()).prop_map(|((o, l), give_back)| Step::Zero(o, l, give_back)),
        4 => range().prop_map(|(o, l)| Step::Read(o, l)),
        1 => Just(Step::Flush),
        1 => Just(Step::StartFlush),
        3 => Just(Step::Poll),
        1 => any::<bool>().prop_map(Step::Cache),
    ]
}

fn drive(media: &mut dyn Media, steps: &[Step]) {
    let mut model = vec![0; SIZE];
    let mut pending = 0;
    for step in steps {
        match *step {
            Step::Write(offset, length, value) => {
                // Different bytes in each unit, so that mixed-up units show.
                let data: Vec<u8> = (0..length)
                    .map(|at| value.wrapping_add(u8::try_from(at / 512 % 256).unwrap()))
                    .collect();
                put(media, offset as u64, &data).unwrap();
                model[offset..offset + length].copy_from_slice(&data);
            }
            Step::Zero(offset, length, deallocate) => {
                media
                    .write_zeroes(offset as u64, length as u64, deallocate)
                    .unwrap();
                model[offset..offset + length].fill(0);
            }
            Step::Read(offset, length) => {
                assert_eq!(
                    get(media, offset as u64, length),
                    model[offset..offset + length]
                );
            }
            Step::Flush if pending == 0 => flush(media),
            Step::StartFlush => {
                if media.start_flush(1).unwrap() == crate::media::FlushStart::Pending {
                    pending += 1;
                }
            }
            Step::Poll | Step::Flush => {
                if pending > 0 && media.poll_flush().is_some() {
                    pending -= 1;
                }
            }
            Step::Cache(on) => media.set_volatile_cache(on),
        }
    }
    assert_eq!(get(media, 0, SIZE), model);
    while pending > 0 {
        super::wait_flush(media).1.unwrap();
        pending -= 1;
    }
    flush(media);
    assert_eq!(get(media, 0, SIZE), model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn ram_agrees_with_model(steps in prop::collection::vec(step(), 0..60), cache: bool) {
        let mut config = MediaConfig::new(Backing::Ram, SIZE as u64);
        config.volatile_cache = cache;
        drive(&mut *open(&config).unwrap(), &steps);
    }

    #[test]
    fn small_cache_agrees_with_model(
        steps in prop::collection::vec(step(), 0..60),
        slots in prop_oneof![Just(1_usize), Just(8), Just(64)],
        unit in prop_oneof![Just(512_usize), Just(4096), Just(65536)],
    ) {
        let mut media = Cached::with_slots(Scripted::new(SIZE), unit, slots).unwrap();
        drive(&mut media, &steps);
    }

    #[test]
    fn file_agrees_with_model_and_after_reopening(
        steps in prop::collection::vec(step(), 0..40),
        sparse: bool,
        cache: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        File::create(&path).unwrap().set_len(SIZE as u64).unwrap();
        let backing = Backing::File { path, sparse };
        let mut config = MediaConfig::new(backing, SIZE as u64);
        config.volatile_cache = cache;

        let mut media = open(&config).unwrap();
        drive(&mut *media, &steps);
        let before = get(&mut *media, 0, SIZE);
        drop(media);

        let mut media = open(&config).unwrap();
        prop_assert_eq!(get(&mut *media, 0, SIZE), before);
    }
}

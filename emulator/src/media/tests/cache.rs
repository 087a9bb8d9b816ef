// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The volatile write cache: what it holds, when it gives up, what a power cut leaves.

use super::{Scripted, get, put, wait_flush};
use crate::media::cache::Cached;
use crate::media::{FlushStart, Media, MediaError, PowerCut};

const UNIT: usize = 4096;

fn cached(units: usize, slots: usize) -> Cached<Scripted> {
    Cached::with_slots(Scripted::new(units * UNIT), UNIT, slots).unwrap()
}

#[test]
fn write_stays_in_the_process_and_reads_see_it() {
    let mut media = cached(16, 16);
    put(&mut media, 4096, &[1; 4096]).unwrap();
    assert_eq!(media.medium.writes, 0);
    assert_eq!(get(&mut media, 4096, 4096), [1; 4096]);
    let around = get(&mut media, 0, 3 * 4096);
    assert!(around[..4096].iter().all(|&byte| byte == 0));
    assert!(around[4096..8192].iter().all(|&byte| byte == 1));
    assert!(around[8192..].iter().all(|&byte| byte == 0));
}

#[test]
fn write_of_part_of_unit_keeps_the_rest() {
    let mut media = cached(16, 16);
    media.medium.data.fill(9);
    put(&mut media, 4096 + 512, &[1; 512]).unwrap();
    put(&mut media, 4096 + 3584, &[2; 1024]).unwrap();
    let data = get(&mut media, 4096, 8192);
    assert!(data[..512].iter().all(|&byte| byte == 9));
    assert!(data[512..1024].iter().all(|&byte| byte == 1));
    assert!(data[1024..3584].iter().all(|&byte| byte == 9));
    assert!(data[3584..4608].iter().all(|&byte| byte == 2));
    assert!(data[4608..].iter().all(|&byte| byte == 9));
}

#[test]
fn full_cache_gives_up_its_oldest() {
    let mut media = cached(64, 8);
    for unit in 0..20 {
        let value = u8::try_from(unit).unwrap() + 1;
        put(&mut media, unit * 4096, &[value; 4096]).unwrap();
    }
    assert_eq!(media.medium.writes, 12);
    for unit in 0..20 {
        let value = u8::try_from(unit).unwrap() + 1;
        assert_eq!(get(&mut media, unit * 4096, 4096), [value; 4096]);
    }
}

#[test]
fn write_larger_than_the_cache_passes_through_it() {
    let mut media = cached(64, 4);
    let data: Vec<u8> = (0..251).cycle().take(40 * UNIT).collect();
    put(&mut media, 512, &data).unwrap();
    assert_eq!(get(&mut media, 512, data.len()), data);
}

#[test]
fn medium_not_ending_with_a_unit_last_part_round_trips() {
    let mut media = Cached::new(Scripted::new(UNIT + 512), UNIT).unwrap();
    put(&mut media, 4096, &[5; 512]).unwrap();
    assert_eq!(get(&mut media, 4096, 512), [5; 512]);
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Done);
    assert_eq!(media.medium.data[4096..], [5; 512]);
}

#[test]
fn small_flush_done_at_once() {
    let mut media = cached(16, 16);
    put(&mut media, 0, &[1; 4096]).unwrap();
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Done);
    assert_eq!(media.medium.data[..4096], [1; 4096]);
}

#[test]
fn large_flush_takes_a_few_units_at_each_poll() {
    let mut media = cached(256, 256);
    put(&mut media, 0, &[1; 200 * UNIT]).unwrap();
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Pending);
    let mut polls = 0;
    let ended = loop {
        let before = media.medium.writes;
        if let Some(ended) = media.poll_flush() {
            break ended;
        }
        assert!(media.medium.writes - before <= 16);
        polls += 1;
    };
    assert_eq!(ended.0, 1);
    assert!(polls > 5);
    assert!(
        media.medium.data[..200 * UNIT]
            .iter()
            .all(|&byte| byte == 1)
    );
}

#[test]
fn flush_covers_writes_before_it_and_ends_in_spite_of_writes_after_it() {
    let mut media = cached(512, 512);
    put(&mut media, 0, &[1; 100 * UNIT]).unwrap();
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Pending);
    let mut unit = 200;
    let ended = loop {
        if let Some(ended) = media.poll_flush() {
            break ended;
        }
        // A guest that never stops writing.
        put(&mut media, unit * 4096, &[2; 4096]).unwrap();
        unit += 1;
    };
    assert_eq!(ended.0, 1);
    assert!(
        media.medium.data[..100 * UNIT]
            .iter()
            .all(|&byte| byte == 1)
    );
    assert!(unit < 250);
}

#[test]
fn flush_waits_for_the_mediums_own() {
    let mut media = cached(16, 16);
    media.medium.hold_flushes = true;
    put(&mut media, 0, &[1; 4096]).unwrap();
    assert_eq!(media.start_flush(5).unwrap(), FlushStart::Pending);
    assert_eq!(media.medium.data[..4096], [1; 4096]);
    assert!(media.poll_flush().is_none());
    media.medium.ended = std::mem::take(&mut media.medium.held);
    assert_eq!(wait_flush(&mut media).0, 5);
    assert!(media.poll_flush().is_none());
}

#[test]
fn flushes_end_in_order_of_asking() {
    let mut media = cached(256, 256);
    put(&mut media, 0, &[1; 100 * UNIT]).unwrap();
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Pending);
    put(&mut media, 100 * 4096, &[2; 50 * UNIT]).unwrap();
    assert_eq!(media.start_flush(2).unwrap(), FlushStart::Pending);
    assert_eq!(wait_flush(&mut media).0, 1);
    assert_eq!(wait_flush(&mut media).0, 2);
    assert!(
        media.medium.data[..150 * UNIT]
            .iter()
            .all(|&byte| byte != 0)
    );
}

#[test]
fn failed_write_back_fails_the_flush_and_keeps_the_data() {
    let mut media = cached(64, 64);
    put(&mut media, 0, &[1; 40 * UNIT]).unwrap();
    media.medium.fail_writes = true;
    assert!(matches!(media.start_flush(1), Err(MediaError::NoSpace)));
    assert_eq!(get(&mut media, 0, 4096), [1; 4096]);
    media.medium.fail_writes = false;
    assert_eq!(media.start_flush(2).unwrap(), FlushStart::Pending);
    assert_eq!(wait_flush(&mut media).0, 2);
    assert!(media.medium.data[..40 * UNIT].iter().all(|&byte| byte == 1));
}

#[test]
fn full_cache_with_failing_medium_refuses_new_units_only() {
    let mut media = cached(64, 4);
    put(&mut media, 0, &[1; 4 * UNIT]).unwrap();
    media.medium.fail_writes = true;
    assert!(matches!(
        put(&mut media, 10 * 4096, &[2; 4096]),
        Err(MediaError::NoSpace)
    ));
    put(&mut media, 0, &[3; 4096]).unwrap();
    assert_eq!(get(&mut media, 0, 4096), [3; 4096]);
    assert_eq!(get(&mut media, 10 * 4096, 4096), [0; 4096]);
}

#[test]
fn unreadable_rest_of_unit_fails_the_write_and_holds_nothing() {
    let mut media = cached(64, 4);
    media.medium.fail_reads = true;
    assert!(matches!(
        put(&mut media, 512, &[2; 512]),
        Err(MediaError::Write(_))
    ));
    media.medium.fail_reads = false;
    assert_eq!(get(&mut media, 0, 4096), [0; 4096]);
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Done);
    assert_eq!(media.medium.writes, 0);
}

#[test]
fn write_zeroes_reaches_what_is_held_and_what_is_not() {
    // With few units held the range is walked, with many the units are.
    for range in [(4096 + 512, 3 * 4096), (512, 60 * 4096)] {
        let mut media = cached(64, 64);
        media.medium.data.fill(7);
        for unit in [0, 1, 2, 3, 40, 63] {
            put(&mut media, unit * 4096, &[9; 4096]).unwrap();
        }
        media.write_zeroes(range.0, range.1, true).unwrap();
        for (at, byte) in (0..).zip(get(&mut media, 0, 64 * UNIT)) {
            let held = [0, 1, 2, 3, 40, 63].contains(&(at / 4096));
            let expected = match (range.0..range.0 + range.1).contains(&at) {
                true => 0,
                false if held => 9,
                false => 7,
            };
            assert_eq!(byte, expected, "byte {at}");
        }
    }
}

/// One write command of `units` units for each of `commands`; then the power goes.
fn cut(seed: u64, commands: u64, units: usize) -> (PowerCut, Vec<u8>) {
    let total = usize::try_from(commands).unwrap() * units;
    let mut media = cached(total, total.next_power_of_two());
    media.medium.data.fill(1);
    for command in 0..commands {
        let offset = command * (units * UNIT) as u64;
        put(&mut media, offset, &vec![2; units * UNIT]).unwrap();
    }
    let outcome = media.power_cut(seed);
    (outcome, get(&mut media, 0, total * UNIT))
}

#[test]
fn power_cut_same_seed_same_outcome() {
    assert_eq!(cut(42, 30, 4), cut(42, 30, 4));
    assert_ne!(cut(42, 30, 4), cut(43, 30, 4));
}

#[test]
fn power_cut_units_whole_and_counted() {
    let (outcome, data) = cut(1, 60, 4);
    let mut kept = 0;
    for unit in data.chunks(UNIT) {
        assert!(unit.iter().all(|byte| *byte == unit[0]), "a torn unit");
        kept += u64::from(unit[0] == 2);
    }
    assert_eq!(outcome.kept, kept);
    assert_eq!(outcome.kept + outcome.lost + outcome.torn, 240);
}

#[test]
fn power_cut_has_kept_lost_and_torn_commands() {
    let (_, data) = cut(1, 60, 4);
    let mut seen = [false; 3];
    for command in data.chunks(4 * UNIT) {
        let kept = command.chunks(UNIT).filter(|unit| unit[0] == 2).count();
        let kind = match kept {
            0 => 0,
            4 => 1,
            _ => 2,
        };
        seen[kind] = true;
    }
    assert_eq!(seen, [true; 3]);
}

/// Two commands of three are wholly kept or wholly lost. Were it the units that are drawn, hardly one of
/// this size would be.
#[test]
fn power_cut_draws_for_commands_not_for_units() {
    let (_, data) = cut(1, 60, 16);
    let whole = data.chunks(16 * UNIT).filter(|command| {
        let kept = command.chunks(UNIT).filter(|unit| unit[0] == 2).count();
        kept == 0 || kept == 16
    });
    let whole = whole.count();
    assert!((25..=55).contains(&whole), "{whole} of 60");
}

#[test]
fn power_cut_spares_what_was_flushed() {
    for seed in 0..20 {
        let mut media = cached(16, 16);
        put(&mut media, 0, &[1; 4096]).unwrap();
        assert_eq!(media.start_flush(1).unwrap(), FlushStart::Done);
        assert_eq!(media.power_cut(seed), PowerCut::default());
        assert_eq!(get(&mut media, 0, 4096), [1; 4096]);
    }
}

#[test]
fn cache_usable_after_power_cut() {
    let mut media = cached(16, 16);
    put(&mut media, 0, &[1; 4096]).unwrap();
    media.power_cut(3);
    put(&mut media, 0, &[2; 4096]).unwrap();
    assert_eq!(get(&mut media, 0, 4096), [2; 4096]);
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Done);
    assert_eq!(media.medium.data[..4096], [2; 4096]);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT

use emulator::observe::TraceRecord;
use emulator::timing::Profile;

use super::*;
use crate::model::{Scenario, simulate};
use crate::sweep::{Target, fio};

/// Nanoseconds that are rounding alone.
const ROUNDING: f64 = 1e-6;

/// fio's document of three I/Os: 1 us of submission and 9 us of completion each, on average.
fn fio_result() -> FioResult {
    let text = r#"{"jobs": [{"jobname": "j", "error": 0, "write": {},
        "read": {"total_ios": 3, "iops": 100000.0, "slat_ns": {"mean": 1000.0, "N": 3},
                 "clat_ns": {"mean": 9000.0, "N": 3, "bins": {"8000": 2, "11000": 1}}}}]}"#;
    fio::parse(text).unwrap()
}

fn command(fetched: u64, due: u64, completed: u64, reaped: u64) -> TraceRecord {
    let mut record = TraceRecord::default();
    record.fetched.set(fetched);
    record.due.set(due);
    record.completed.set(completed);
    record.reaped.set(reaped);
    record
}

fn side(mean_ns: f64, parts: Parts) -> Side {
    Side {
        iops: 1e9 / mean_ns,
        lat_p50_ns: 5000,
        mean_ns,
        slowest_ns: 0.0,
        parts,
    }
}

fn modelled(path: IoPath, depth: u32) -> Side {
    let profile = Profile::load("high-iops").unwrap();
    let scenario = Scenario::of_seed(&profile, &Costs::unknown(), path, depth).unwrap();
    Side::of_model(&simulate(&scenario))
}

#[test]
fn parts_of_a_guest_are_means_of_the_trace_and_add_up_to_fios_latency() {
    let commands = [
        command(100, 6100, 6100, 7000),
        command(200, 6300, 6400, 7000),
        command(300, 6400, 6600, 7000),
    ];
    let parts = Parts::of_guest(&fio_result(), Some(&commands));
    assert_eq!(parts.submission_ns, 1000.0);
    assert_eq!(parts.device_ns, Some((6000.0 + 6100.0 + 6100.0) / 3.0));
    assert_eq!(parts.late_ns, Some((0.0 + 100.0 + 200.0) / 3.0));
    assert_eq!(parts.completion_ns, Some((900.0 + 600.0 + 400.0) / 3.0));
    assert!((parts.total_ns() - 10_000.0).abs() < ROUNDING, "{parts:?}");
}

#[test]
fn parts_that_the_trace_does_not_know_are_in_the_waiting() {
    let unheard = [command(100, 6100, 6100, 0); 3];
    let parts = Parts::of_guest(&fio_result(), Some(&unheard));
    assert_eq!(parts.completion_ns, None);
    assert_eq!((parts.device_ns, parts.waiting_ns), (Some(6000.0), 3000.0));
    let parts = Parts::of_guest(&fio_result(), None);
    assert_eq!((parts.device_ns, parts.late_ns), (None, None));
    assert_eq!((parts.submission_ns, parts.waiting_ns), (1000.0, 9000.0));
}

/// The block layer makes one command of two I/Os that lie side by side.
#[test]
fn command_that_carries_two_ios_counts_twice() {
    let mut commands = [
        command(100, 6100, 6100, 7000),
        command(200, 6500, 6500, 7000),
    ];
    commands[0].bytes.set(4096);
    commands[1].bytes.set(8192);
    let ios: u64 = parts::with_ios(&commands).map(|(_, ios)| ios).sum();
    assert_eq!(ios, 3);
    let parts = Parts::of_guest(&fio_result(), Some(&commands));
    assert_eq!(parts.device_ns, Some((6000.0 + 2.0 * 6300.0) / 3.0));
}

#[test]
fn parts_of_a_command_that_is_not_timed_are_no_lateness() {
    let parts = Parts::of_guest(&fio_result(), Some(&[command(100, 0, 6100, 7000)]));
    assert_eq!((parts.device_ns, parts.late_ns), (Some(6000.0), Some(0.0)));
}

/// The model's parts are each taken by themselves, none as what is left.
#[test]
fn parts_of_the_model_add_up_to_its_mean_latency() {
    for path in IoPath::SEED {
        for depth in [1, 2, 4, 32, 64] {
            let side = modelled(path, depth);
            let sum = side.parts.total_ns();
            assert!(
                (sum - side.mean_ns).abs() < ROUNDING,
                "{path} {depth}: {side:?}"
            );
        }
    }
}

#[test]
fn difference_parts_add_up_and_the_largest_comes_first() {
    let base = modelled(IoPath::Mainline, 4);
    let mut slow = base;
    slow.parts.submission_ns += 9200.0;
    slow.parts.late_ns = Some(300.0);
    slow.mean_ns += 9500.0;
    let difference = Difference::between(&slow, &base);
    let names: Vec<&str> = difference.parts.iter().map(|part| &*part.part).collect();
    assert_eq!(names[..2], ["submission", "late"]);
    let sum: f64 = difference.parts.iter().map(|part| part.ns).sum();
    assert!(
        (sum - difference.mean_ns).abs() < ROUNDING,
        "{difference:?}"
    );
    assert!((difference.parts[0].ns - 9200.0).abs() < ROUNDING);
}

#[test]
fn difference_tells_together_what_one_side_does_not_tell_apart() {
    let base = modelled(IoPath::AioPollAll, 1);
    let commands = [command(100, 6100, 6100, 0)];
    let parts = Parts::of_guest(&fio_result(), Some(&commands));
    let difference = Difference::between(&side(10_000.0, parts), &base);
    let names: Vec<&str> = difference.parts.iter().map(|part| &*part.part).collect();
    assert!(names.contains(&"completion and waiting"), "{names:?}");
    assert_eq!(names.len(), 4);
    let sum: f64 = difference.parts.iter().map(|part| part.ns).sum();
    assert!(
        (sum - difference.mean_ns).abs() < ROUNDING,
        "{difference:?}"
    );
}

#[test]
fn slowest_hundredth_is_cut_out_of_its_bin() {
    let times = [(9000, 1), (500, 99), (100, 100)];
    assert_eq!(slowest(times.into_iter()), (9000.0 + 500.0) / 200.0);
    assert_eq!(slowest([(100, 5)].into_iter()), 0.0);
    assert_eq!(slowest([].into_iter()), 0.0);
}

#[test]
fn within_names_the_cells_that_differ_by_more() {
    let cell = |depth, iops: f64| {
        let model = side(10_000.0, Parts::default());
        let virtual_time = Side { iops, ..model };
        let cell = Cell {
            depth,
            path: IoPath::Mainline,
            target: Target::Nvme,
        };
        AgreedCell::new(cell, model, virtual_time, model)
    };
    let beyond = |within| {
        let cells = vec![cell(4, 95_000.0), cell(1, 102_000.0), cell(2, 103_100.0)];
        let agreement = Agreement::new("any".into(), "uml", Costs::unknown(), cells, within);
        let depths: Vec<u32> = agreement.cells.iter().map(|cell| cell.depth).collect();
        assert_eq!(depths, [1, 2, 4]);
        agreement.within.map(|within| within.beyond)
    };
    assert_eq!(beyond(None), None);
    let named = beyond(Some(3.0)).unwrap();
    let wanted = [
        "mainline at depth 2 (+3.1 %)",
        "mainline at depth 4 (-5.0 %)",
    ];
    assert_eq!(named, wanted);
}

#[test]
fn json_has_the_documented_keys() {
    let model = modelled(IoPath::Mainline, 1);
    let cell = Cell {
        depth: 1,
        path: IoPath::Mainline,
        target: Target::Nvme,
    };
    let cells = vec![AgreedCell::new(cell, model, model, model)];
    let agreement = Agreement::new("any".into(), "uml", Costs::unknown(), cells, Some(3.0));
    let json = serde_json::to_value(&agreement).unwrap();
    let document = include_str!("../../../docs/agreement.md");
    let mut keys = Vec::new();
    collect_keys(&json, &mut keys);
    for key in keys {
        let costs = json["costs"].get(&key).is_some();
        assert!(costs || document.contains(&format!("`{key}`")), "{key}");
    }
}

fn collect_keys(json: &serde_json::Value, keys: &mut Vec<String>) {
    match json {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                keys.push(key.clone());
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                collect_keys(value, keys);
            }
        }
        _ => {}
    }
}

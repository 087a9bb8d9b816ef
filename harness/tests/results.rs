// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is done with result folders, without a guest: they are made here, in the form that a sweep
//! gives them.

mod common;

use std::fs;
use std::path::Path;

use common::{folder, hipri, one_sentence};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::{Value, json};

/// I/Os per second of the cells of a run before it is made slower or faster.
const CELLS: [(u32, &str, f64); 4] = [
    (1, "mainline", 13_000.0),
    (1, "aio-poll-all", 26_000.0),
    (8, "mainline", 54_000.0),
    (8, "aio-poll-all", 84_000.0),
];

/// A run's document, each figure of which was multiplied by `speed`.
fn document(speed: f64) -> Value {
    let rows = CELLS.iter().map(|(depth, path, iops)| {
        json!({
            "depth": depth, "path": path, "ios": 1000, "iops": iops * speed,
            "kernel": {"flavour": "patched", "release": "6.12 <&>", "sha256": "00"},
            "lat_p50_ns": 45_000, "lat_p99_ns": 90_000, "submit_ns": 20_000.0,
            "polled_commands": 1000, "irq_commands": 0, "interrupts": 0, "doorbell_traps": 1,
            "lateness_p50_ns": 35, "lateness_p99_ns": 2800, "lateness_max_ns": 90_000, "early": 0,
        })
    });
    json!({
        "schema_version": 1,
        "environment": {"hipri": "0.1.0", "host": {"cpu": "EPYC"}, "command": ["hipri", "<&>"]},
        "profile": "high-iops", "accel": "uml", "device": "hipri", "time": "real",
        "rows": rows.collect::<Vec<_>>(), "summary": {"ios": 4000},
        "seed_rows": [{"depth": 1, "path": "mainline", "iops": 77_000, "lat_p50_ns": null}],
    })
}

fn keep(folder: &Path, document: &Value) {
    fs::create_dir_all(folder.join("fio")).expect("a folder");
    fs::write(folder.join("run.json"), document.to_string()).expect("run.json");
}

/// Five runs in `name/`, a little apart from each other.
fn keep_runs(here: &tempfile::TempDir, name: &str, speed: f64) {
    for (run, noise) in [0.99, 1.0, 1.01, 1.003, 0.995].iter().enumerate() {
        let folder = here.path().join(name).join(run.to_string());
        keep(&folder, &document(speed * noise));
    }
}

/// fio's log of a cell, whose intervals alternate around `iops`.
fn keep_log(folder: &Path, cell: &str, iops: u32) {
    let around = [iops / 20, 0, iops / 10, iops / 30];
    let lines = (1..=12_u32).zip(around.iter().cycle());
    let lines = lines.map(|(tenth, less)| format!("{}, {}, 0, 0, 0\n", tenth * 100, iops - less));
    let file = folder.join("fio").join(format!("{cell}_iops.log"));
    fs::write(file, lines.collect::<String>()).expect("a log");
}

fn compared(here: &tempfile::TempDir, words: &[&str]) -> Value {
    let run = hipri(here)
        .arg("compare")
        .args(words)
        .arg("--json")
        .assert();
    serde_json::from_slice(&run.get_output().stdout).expect("one document")
}

#[test]
fn compare_runs_that_are_slower_fail_beyond_the_threshold_only() {
    let here = folder();
    keep_runs(&here, "base", 1.0);
    keep_runs(&here, "new", 0.9);
    let compare = |words: &[&str]| {
        let mut command = hipri(&here);
        command.args(["compare", "base", "new"]).args(words);
        command.assert()
    };
    compare(&[]).success().stderr("").stdout(
        contains("5 runs of A and 5 of B")
            .and(contains("slower"))
            .and(contains(
                "0 faster, 4 slower, 0 same (within 5 %), 0 undecided",
            )),
    );
    compare(&["--fail-on-regression", "5"]).code(1).stderr(
        one_sentence()
            .and(contains("4 of 4 cells"))
            .and(contains("mainline at depth 1 (-10.0 %)")),
    );
    compare(&["--fail-on-regression", "20"])
        .success()
        .stdout(contains("4 same (within 20 %)"));
}

#[test]
fn compare_json_has_each_cell_with_intervals_and_repeats() {
    let here = folder();
    keep_runs(&here, "base", 1.0);
    keep_runs(&here, "new", 1.1);
    let document = compared(&here, &["base", "new"]);
    assert_eq!(document["samples"], "runs");
    assert_eq!(document["regressions"], json!([]));
    let cells = document["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 4);
    for cell in cells {
        let interval = &cell["ratio"]["interval"];
        let (low, high) = (interval["low"].as_f64(), interval["high"].as_f64());
        assert!(low > Some(1.05) && high < Some(1.15), "{cell}");
        // The smallest that five runs a side can give, in every cell at once.
        assert_eq!(cell["p_adjusted"].as_f64(), Some(2.0 / 252.0), "{cell}");
        assert_eq!(cell["verdict"], "faster");
        assert!(cell["a"]["iops"]["interval"]["low"].is_f64(), "{cell}");
    }
    assert_eq!(document, compared(&here, &["base", "new"]));
}

#[test]
fn compare_equal_runs_are_the_same() {
    let here = folder();
    keep_runs(&here, "base", 1.0);
    keep_runs(&here, "new", 1.002);
    hipri(&here)
        .args(["compare", "base", "new", "--fail-on-regression", "3"])
        .assert()
        .success()
        .stdout(contains("4 same (within 3 %)"));
}

#[test]
fn compare_one_run_a_side_takes_its_intervals_and_says_so() {
    let here = folder();
    for (name, speed, percent) in [("a", 1.0, 100), ("b", 0.8, 80)] {
        let folder = here.path().join(name);
        keep(&folder, &document(speed));
        keep_log(&folder, "001-mainline", 13_000 * percent / 100);
    }
    hipri(&here)
        .args(["compare", "a", "b", "--fail-on-regression", "5"])
        .assert()
        .code(1)
        .stdout(contains("1 slower, 0 same (within 5 %), 3 undecided"))
        .stderr(contains("what differs from run to run is not seen"));
}

#[test]
fn compare_without_samples_is_undecided_and_refuses_to_judge() {
    let here = folder();
    keep(&here.path().join("a"), &document(1.0));
    keep(&here.path().join("b"), &document(0.5));
    hipri(&here)
        .args(["compare", "a", "b"])
        .assert()
        .success()
        .stdout(contains("4 undecided"))
        .stderr(contains("compare 4 runs a side or more").and(one_sentence()));
    hipri(&here)
        .args(["compare", "a", "b", "--fail-on-regression", "5"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("compare 4 runs a side or more").and(one_sentence()));
    hipri(&here)
        .args(["compare", "a", "a", "--fail-on-regression", "5"])
        .assert()
        .success()
        .stdout(contains("4 same"));
}

#[test]
fn compare_few_runs_say_what_they_cannot_tell() {
    let here = folder();
    keep_runs(&here, "base", 1.0);
    keep_runs(&here, "new", 0.5);
    hipri(&here)
        .args(["compare", "base/0,base/1", "new/0,new/1"])
        .assert()
        .success()
        .stdout(contains("4 undecided"))
        .stderr(contains("2 and 2 runs are too few").and(one_sentence()));
    hipri(&here)
        .args(["compare", "base", "new", "--confidence", "0.999"])
        .assert()
        .success()
        .stdout(contains("4 undecided"))
        .stderr(contains("p is at least 0.008").and(one_sentence()));
    hipri(&here)
        .args(["compare", "base", "new", "--confidence", "0.999"])
        .args(["--fail-on-regression", "5"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("p is at least 0.008").and(one_sentence()));
}

#[test]
fn compare_what_is_no_result_folder_is_refused_with_the_way_out() {
    let here = folder();
    let place = |name: &str| here.path().join(name);
    keep(&place("good"), &document(1.0));
    fs::create_dir(place("empty")).expect("a folder");
    fs::create_dir(place("suite")).expect("a folder");
    fs::write(place("suite/suite.json"), "{}").expect("a file");
    fs::write(place("file"), "").expect("a file");
    keep(&place("cut"), &document(1.0));
    fs::write(place("cut/run.json"), "{\"schema_version\": 1, \"rows\"").expect("a file");
    keep(&place("later"), &json!({"schema_version": 9}));
    let mut idle = document(1.0);
    idle["rows"][0]["iops"] = json!(0.0);
    keep(&place("idle"), &idle);
    let mut floor = document(1.0);
    floor["profile"] = json!("floor");
    keep(&place("floor"), &floor);
    let mut virtual_time = document(1.0);
    virtual_time["time"] = json!("virtual");
    keep(&place("virtual"), &virtual_time);
    let mut deep = document(1.0);
    for row in deep["rows"].as_array_mut().expect("rows") {
        row["depth"] = json!(99);
    }
    keep(&place("deep"), &deep);
    for (other, words) in [
        ("nowhere", "nowhere does not exist: name a result folder"),
        ("file", "file is a file: name a result folder"),
        ("empty", "empty has no run.json: name a result folder"),
        ("suite", "suite holds results of hipri suite"),
        ("cut", "cut/run.json is damaged: EOF"),
        ("later", "later/run.json has schema version 9"),
        (
            "idle",
            "idle/run.json is damaged: no I/Os per second in cell 001-mainline",
        ),
        (
            "floor",
            "the profile high-iops, floor the profile floor: compare runs of one profile",
        ),
        ("virtual", "the time real, virtual the time virtual"),
        (
            "deep",
            "no cell is in both good and deep: sweep the same --depths",
        ),
        ("good,good", "good is named twice"),
    ] {
        hipri(&here)
            .args(["compare", "good", other])
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains(words).and(one_sentence()));
    }
}

#[test]
fn compare_damaged_files_of_fio_are_named() {
    let here = folder();
    for (file, text) in [
        ("001-mainline.json", "{\"jobs\": [{"),
        ("001-mainline_iops.log", "no log"),
    ] {
        let other = here.path().join("other");
        keep(&other, &document(1.0));
        keep(&here.path().join("good"), &document(1.1));
        fs::write(other.join("fio").join(file), text).expect("a file");
        hipri(&here)
            .args(["compare", "good", "other"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains(format!("{file} is damaged")).and(one_sentence()));
        fs::remove_dir_all(other).expect("the folder goes");
    }
}

#[test]
fn compare_what_differs_beside_is_told() {
    let here = folder();
    let mut other = document(1.0);
    other["accel"] = json!("kvm");
    other["environment"]["host"]["cpu"] = json!("Xeon");
    other["rows"].as_array_mut().expect("rows").pop();
    keep(&here.path().join("a"), &document(1.0));
    keep(&here.path().join("b"), &other);
    hipri(&here)
        .args(["compare", "a", "b"])
        .assert()
        .success()
        .stderr(
            contains("a and b differ in how the guest ran")
                .and(contains("a and b differ in the host's processor"))
                .and(contains("1 of 4 cells are not in every run")),
        );
}

#[test]
fn compare_options_that_are_no_shares_are_usage_errors() {
    let here = folder();
    for words in [
        ["--confidence", "95"],
        ["--confidence", "NaN"],
        ["--fail-on-regression", "-1"],
        ["--fail-on-regression", "much"],
    ] {
        let words = [&["compare", "a", "b"], &words[..]].concat();
        hipri(&here).args(words).assert().code(2).stdout("");
    }
    hipri(&here).args(["compare", "a"]).assert().code(2);
}

#[test]
fn report_writes_the_page_and_names_it() {
    let here = folder();
    keep(&here.path().join("a"), &document(1.0));
    hipri(&here)
        .args(["report", "a"])
        .assert()
        .success()
        .stdout("a/report.html\n")
        .stderr("");
    let page = fs::read_to_string(here.path().join("a/report.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("aio-poll-all") && page.contains("seed"));
}

#[test]
fn report_of_what_is_no_result_folder_is_refused() {
    let here = folder();
    hipri(&here)
        .args(["report", "nowhere"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("nowhere does not exist: name a result folder").and(one_sentence()));
    hipri(&here).arg("report").assert().code(2);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A short sweep and its document.

use serde_json::Value;

use crate::Test;
use crate::bench::{Place, assert_code, hipri, output};

pub const TESTS: &[Test] = &[
    ("sweep_json_has_each_cell_once_with_its_figures", document),
    ("sweep_reference_adds_the_ratio", reference),
    ("main_job_prints_the_table_and_keeps_a_folder", table),
];

fn sweep(place: &Place, words: &[&str]) -> Value {
    let run = output(hipri(place).arg("sweep").args(words).arg("--json"));
    assert_code(&run, 0);
    serde_json::from_slice(&run.stdout).expect("one document on stdout")
}

fn document() {
    let place = Place::new();
    let paths = "mainline,aio-poll,aio-poll-all,io-uring";
    let document = sweep(
        &place,
        &[
            "--profile",
            "high-iops",
            "--depths",
            "1,8",
            "--paths",
            paths,
        ],
    );
    assert_eq!(document["profile"], "high-iops");
    assert_eq!(document["time"], "real");
    let rows = document["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 8);
    for row in rows {
        let path = row["path"].as_str().expect("a path");
        let figure = |name: &str| row[name].as_f64().unwrap_or(-1.0);
        assert!(figure("iops") > 0.0, "{row}");
        assert!(figure("lat_p50_ns") <= figure("lat_p99_ns"), "{row}");
        assert!(
            figure("submit_ns") >= 0.0 && figure("lateness_p99_ns") >= 0.0,
            "{row}"
        );
        let polled = matches!(path, "aio-poll-all" | "io-uring");
        let (all, none) = if polled {
            (figure("polled_commands"), figure("irq_commands"))
        } else {
            (figure("irq_commands"), figure("polled_commands"))
        };
        // A second each: what fio counts per second, the device has seen at least.
        assert!(all >= 0.9 * figure("iops") && none == 0.0, "{row}");
        let patched = path.starts_with("aio-poll");
        let flavour = if patched { "patched" } else { "vanilla" };
        assert_eq!(row["kernel"]["flavour"], flavour);
        assert_eq!(row["kernel"]["sha256"].as_str().map(str::len), Some(64));
    }
    assert_eq!(document["seed_rows"].as_array().map(Vec::len), Some(21));
    place.assert_clean();
}

fn reference() {
    let place = Place::new();
    let words = [
        "--profile",
        "floor",
        "--depths",
        "4",
        "--paths",
        "aio-poll-all",
    ];
    let document = sweep(&place, &[&words[..], &["--reference", "null_blk"]].concat());
    let ratio = document["rows"][0]["ratio_to_reference"].as_f64();
    assert!(ratio.is_some_and(|ratio| ratio > 0.0), "{document}");
    assert_eq!(document["seed_rows"].as_array().map(Vec::len), Some(0));
}

fn table() {
    let place = Place::new();
    let run = output(hipri(&place).args(["--depths", "1", "--out", "kept"]));
    assert_code(&run, 0);
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        text.contains("aio-poll-all") && text.contains("seed"),
        "{text}"
    );
    for file in [
        "run.json",
        "report.md",
        "report.html",
        "vanilla-console.log",
        "patched-device.log",
        "fio/001-mainline.json",
        "fio/001-mainline_iops.log",
        "configs/profile-high-iops.toml",
    ] {
        assert!(
            place.work.path().join("kept").join(file).is_file(),
            "{file}"
        );
    }
}

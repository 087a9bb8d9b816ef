// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A short sweep and its document.

use serde_json::Value;

use crate::Test;
use crate::bench::{Place, assert_code, hipri, output};

pub const TESTS: &[Test] = &[
    ("virtual_time_agrees_with_the_model", agreement),
    ("agree_parts_add_up_and_the_model_is_right", three_ways),
    ("virtual_time_runs_are_alike_to_the_byte", alike),
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
    let virtual_words = ["--depths", "1", "--ios", "500", "--out", "virtual"];
    let run = output(hipri(&place).args(virtual_words));
    assert_code(&run, 0);
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(text.contains("in virtual time"), "{text}");
    for file in [
        "run.json",
        "vanilla-commands.trace",
        "configs/costs-seed.toml",
    ] {
        let file = place.work.path().join("virtual").join(file);
        assert!(file.is_file(), "{}", file.display());
    }
    let page = place.work.path().join("virtual/report.html");
    let page = std::fs::read_to_string(page).expect("a page");
    assert_eq!(page.matches("I/Os begin here").count(), 3, "{page}");

    let run = output(hipri(&place).args(["--time", "real", "--depths", "1", "--out", "kept"]));
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

/// The real kernel and the real fio, with what the model believes of them.
fn agreement() {
    let place = Place::new();
    let words = [
        "--time",
        "virtual",
        "--depths",
        "1,2,16",
        "--ios",
        "2000",
        "--profile",
        "low-latency",
    ];
    let document = sweep(&place, &words);
    assert_eq!(document["time"], "virtual");
    let run = output(hipri(&place).args([
        "model",
        "--profile",
        "low-latency",
        "--depths",
        "1,2,16",
        "--json",
    ]));
    assert_code(&run, 0);
    let model: Value = serde_json::from_slice(&run.stdout).expect("one document on stdout");
    let rows = document["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 9);
    for row in rows {
        let cells = model["cells"].as_array().expect("cells");
        let cell = cells
            .iter()
            .find(|cell| cell["depth"] == row["depth"] && cell["path"] == row["path"])
            .expect("a prediction");
        let ratio = row["iops"].as_f64().unwrap() / cell["iops"].as_f64().unwrap();
        assert!((ratio - 1.0).abs() < 0.03, "{ratio}: {row} {cell}");
        assert_eq!(row["lateness_p99_ns"], 0, "{row}");
    }
}

/// One cell: fio's own latency is what the parts add up to, and the model has each of them right.
fn three_ways() {
    let place = Place::new();
    let words = ["--profile", "low-latency", "--depths", "4", "--ios", "2000"];
    let paths = ["--paths", "aio-poll-all", "--within", "3"];
    let run = output(
        hipri(&place)
            .arg("agree")
            .args(words)
            .args(paths)
            .args(["--out", "kept", "--json"]),
    );
    assert_code(&run, 0);
    let document: Value = serde_json::from_slice(&run.stdout).expect("one document on stdout");
    assert_eq!(document["within"]["beyond"], serde_json::json!([]));
    let cells = document["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 1);
    let kept = place.work.path().join("kept");
    let parts = [
        "submission_ns",
        "device_ns",
        "late_ns",
        "completion_ns",
        "waiting_ns",
    ];
    for side in ["virtual", "real"] {
        let fio = kept.join(side).join("fio/004-aio-poll-all.json");
        let fio: Value = serde_json::from_slice(&std::fs::read(fio).expect("kept")).expect("JSON");
        let whole = fio["jobs"][0]["read"]["lat_ns"]["mean"]
            .as_f64()
            .expect("a mean");
        let of = |part: &str| cells[0][side][part].as_f64();
        let sum: f64 = parts.iter().filter_map(|part| of(part)).sum();
        assert!((sum - whole).abs() < 1.0, "{side}: {sum} {whole}");
        // Nobody tells in real time when the guest has looked.
        assert_eq!(of("completion_ns").is_some(), side == "virtual");
    }
    let mean = cells[0]["model"]["mean_ns"].as_f64().expect("a mean");
    for part in parts {
        let of = |side: &str| cells[0][side][part].as_f64().expect("a part");
        let off = (of("virtual") - of("model")).abs();
        assert!(off < 0.02 * mean, "{part}: {}", cells[0]);
    }
    for file in [
        "agree.json",
        "report.txt",
        "virtual/run.json",
        "real/report.html",
    ] {
        assert!(kept.join(file).is_file(), "{file}");
    }
}

fn alike() {
    let place = Place::new();
    let digest = |seed: &str| {
        let run = output(hipri(&place).args([
            "verify-reproducible",
            "--depths",
            "4",
            "--ios",
            "500",
            "--seed",
            seed,
        ]));
        assert_code(&run, 0);
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(text.contains("2 runs are alike"), "{text}");
        let digest = text.lines().next().and_then(|line| line.split(' ').nth(2));
        digest.expect("a digest").to_owned()
    };
    // Another seed is another run, and the first one comes again.
    let first = digest("1");
    assert_ne!(first, digest("2"));
    assert_eq!(first, digest("1"));
}

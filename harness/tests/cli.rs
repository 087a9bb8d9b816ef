// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line without a guest: help, dry runs and bad input. Each refusal is one sentence
//! and has the documented exit code.

mod common;

use assert_cmd::Command;
use common::{folder, hipri, one_sentence};
use predicates::prelude::*;
use predicates::str::contains;

#[test]
fn help_documents_exit_codes() {
    let here = folder();
    for words in [&["--help"][..], &["launch", "--help"], &["sweep", "--help"]] {
        hipri(&here)
            .args(words)
            .assert()
            .success()
            .stdout(contains("Exit codes:").and(contains("124")));
    }
}

#[test]
fn hidden_subcommands_are_not_in_the_help() {
    let here = folder();
    let help = hipri(&here).arg("--help").assert().success();
    help.stdout(contains("__start").not().and(contains("__device").not()));
}

#[test]
fn unknown_option_is_a_usage_error() {
    let here = folder();
    hipri(&here).arg("--colour").assert().code(2);
}

#[test]
fn accel_kvm_that_cannot_run_a_guest_is_refused_with_the_way_out() {
    let here = folder();
    let output = hipri(&here).args(["probe", "--json"]).assert().success();
    let found: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    let launch = hipri(&here)
        .args(["launch", "--accel", "kvm", "--dry-run", "--", "true"])
        .assert();
    if found["native"] == true {
        launch.success();
    } else {
        launch.code(3).stderr(contains("--accel uml"));
    }
}

#[test]
fn qemu_dry_run_needs_no_qemu_and_tells_what_has_no_effect() {
    let here = folder();
    hipri(&here)
        .env("PATH", here.path())
        .args(["--accel", "qemu", "--profile", "low-latency", "--dry-run"])
        .assert()
        .success()
        .stdout(contains("accel:   qemu").and(contains("cpus:    2")))
        .stderr(contains("--profile low-latency has no effect").and(one_sentence()));
}

#[test]
fn profile_below_the_floor_is_refused_before_anything_is_built() {
    let here = folder();
    let profile = here.path().join("mine.toml");
    let service = "time = \"1us\"\n";
    let text = format!(
        "front_end = \"50ns\"\nunits = 1\nstripe = \"4KiB\"\n\
         [read]\n{service}[write]\n{service}[other]\n{service}"
    );
    std::fs::write(&profile, text).expect("a file");
    hipri(&here)
        .args(["sweep", "--time", "real", "--floor", "2us", "--profile"])
        .arg(&profile)
        .assert()
        .code(2)
        .stderr(contains("mine.toml: read.time").and(contains("1050 ns")));
}

#[test]
fn floor_is_refused_where_it_has_no_effect() {
    let here = folder();
    for (words, reason) in [
        (&["--time", "virtual"][..], "virtual time"),
        (&["--accel", "qemu"], "no speed model"),
        (&["--doorbells", "exit"], "exit"),
    ] {
        hipri(&here)
            .args(["sweep", "--dry-run", "--floor", "100ns"])
            .args(words)
            .assert()
            .code(2)
            .stderr(contains("--floor has no effect").and(contains(reason)));
    }
}

#[test]
fn qemu_default_profile_is_no_reason_to_warn() {
    let here = folder();
    hipri(&here)
        .args(["--accel", "qemu", "--dry-run"])
        .assert()
        .success()
        .stderr("");
}

#[test]
fn qemu_null_media_are_refused_with_the_way_out() {
    let here = folder();
    let device = here.path().join("null.toml");
    std::fs::write(
        &device,
        "[[namespace]]\nmedia = \"null\"\nsize = \"1GiB\"\n",
    )
    .expect("a file");
    hipri(&here)
        .args(["launch", "--accel", "qemu", "--device"])
        .arg(&device)
        .args(["--", "true"])
        .assert()
        .code(2)
        .stderr(
            contains("null.toml")
                .and(contains("take \"ram\" or \"file\""))
                .and(one_sentence()),
        );
}

#[test]
fn qemu_share_is_refused() {
    let here = folder();
    hipri(&here)
        .args(["launch", "--accel", "qemu", "--share", ".", "--", "true"])
        .assert()
        .code(2)
        .stderr(contains("--accel uml only").and(one_sentence()));
}

#[test]
fn qemu_suite_of_checks_that_count_is_skipped_by_name() {
    let here = folder();
    hipri(&here)
        .args(["suite", "integrity", "--accel", "qemu"])
        .args(["--filter", "raw-verify-aio-poll-all"])
        .assert()
        .code(4)
        .stdout(contains(
            "ok 1 integrity.raw-verify-aio-poll-all.patched # SKIP needs the device's counters",
        ));
}

#[test]
fn options_that_a_machine_cannot_follow_are_refused() {
    let here = folder();
    for (accel, option, value) in [
        ("uml", "--doorbells", "mapped"),
        ("uml", "--huge-pages", "reserved"),
        ("qemu", "--doorbells", "exit"),
        ("qemu", "--huge-pages", "off"),
        ("qemu", "--pin", "none"),
        ("uml", "--pollers", "2"),
        ("qemu", "--pollers", "2"),
        ("uml", "--pin", "4000,0"),
        ("uml", "--pin", "0,0,0"),
    ] {
        hipri(&here)
            .args(["launch", "--accel", accel, option, value, "--", "true"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(one_sentence().and(contains(option)));
    }
    hipri(&here)
        .args(["launch", "--pin", "everywhere", "--", "true"])
        .assert()
        .code(2)
        .stderr(contains("such as 3,0,1"));
}

#[test]
fn pins_are_shown_before_anything_runs() {
    let here = folder();
    hipri(&here)
        .args(["sweep", "--accel", "uml", "--pin", "none", "--dry-run"])
        .assert()
        .success()
        .stdout(contains("cores:   nothing is pinned"));
}

/// Whoever reads the output may stop: that is no failure.
#[test]
fn a_closed_stdout_is_no_failure() {
    use std::process::Stdio;
    let here = folder();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_hipri"))
        .args(["probe", "--json"])
        .current_dir(here.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hipri starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("hipri ends");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
}

#[test]
fn cpus_beyond_the_machines_are_refused() {
    let here = folder();
    for (accel, cpus) in [("uml", "2"), ("qemu", "17"), ("qemu", "0")] {
        hipri(&here)
            .args(["launch", "--accel", accel, "--cpus", cpus, "--", "true"])
            .assert()
            .code(2)
            .stdout("");
    }
}

#[test]
fn kernel_file_of_another_machine_is_refused() {
    let here = folder();
    let path = here.path().join("vmlinuz");
    let mut image = vec![0; 0x400];
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    std::fs::write(&path, image).expect("a file");
    hipri(&here)
        .args(["launch", "--accel", "uml", "--kernel"])
        .arg(&path)
        .args(["--", "true"])
        .assert()
        .code(2)
        .stderr(
            contains("is an x86 bzImage")
                .and(contains("ARCH=um"))
                .and(one_sentence()),
        );
    hipri(&here)
        .args(["launch", "--accel", "qemu", "--kernel", "/proc/self/exe"])
        .args(["--", "true"])
        .assert()
        .code(2)
        .stderr(contains("is a program of the host").and(one_sentence()));
    hipri(&here)
        .args(["launch", "--kernel", "vanila", "--", "true"])
        .assert()
        .code(2)
        .stderr(contains("debug, kcsan or a file"));
}

#[test]
fn unknown_profile_lists_those_that_exist() {
    let here = folder();
    hipri(&here)
        .args(["--profile", "warp"])
        .assert()
        .code(2)
        .stderr(contains("high-iops").and(one_sentence()));
}

#[test]
fn profile_with_unknown_key_names_file_and_key() {
    let here = folder();
    let path = here.path().join("mine.toml");
    std::fs::write(&path, "warp_factor = 9\n").expect("a profile");
    hipri(&here)
        .args(["launch", "--profile"])
        .arg(&path)
        .args(["--", "true"])
        .assert()
        .code(2)
        .stderr(
            contains("mine.toml")
                .and(contains("warp_factor"))
                .and(one_sentence()),
        );
}

#[test]
fn device_with_unknown_key_names_file_and_key() {
    let here = folder();
    let path = here.path().join("mine.toml");
    std::fs::write(&path, "[controller]\nqueues = 3\n").expect("a device");
    hipri(&here)
        .args(["launch", "--device"])
        .arg(&path)
        .args(["--", "true"])
        .assert()
        .code(2)
        .stderr(
            contains("mine.toml")
                .and(contains("queues"))
                .and(one_sentence()),
        );
}

#[test]
fn settings_file_with_unknown_key_is_refused() {
    let here = folder();
    std::fs::write(here.path().join("hipri.toml"), "profil = \"floor\"\n").expect("a file");
    hipri(&here).arg("--dry-run").assert().code(2).stderr(
        contains("hipri.toml")
            .and(contains("profil"))
            .and(one_sentence()),
    );
}

#[test]
fn precedence_is_command_line_environment_file() {
    let here = folder();
    std::fs::write(
        here.path().join("hipri.toml"),
        "profile = \"floor\"\nmem = \"100M\"\nseed = 3\n",
    )
    .expect("a file");
    hipri(&here)
        .env("HIPRI_MEM", "200M")
        .env("HIPRI_PROFILE", "high-iops")
        .args(["--profile", "low-latency", "--dry-run"])
        .assert()
        .success()
        .stdout(
            contains("low-latency.toml")
                .and(contains("200 MiB"))
                .and(contains("randseed=3")),
        );
}

#[test]
fn dry_run_of_the_main_job_shows_boots_and_cells() {
    let here = folder();
    hipri(&here)
        .args(["--dry-run", "--depths", "1,64"])
        .assert()
        .success()
        .stdout(
            contains("boot of the vanilla kernel")
                .and(contains("boot of the patched kernel"))
                .and(contains("064-aio-poll-all")),
        );
    assert!(!here.path().join("results").exists(), "nothing is written");
}

#[test]
fn workload_without_job_is_refused() {
    let here = folder();
    std::fs::write(here.path().join("empty.fio"), "[global]\nbs=4k\n").expect("a file");
    hipri(&here)
        .args(["--workload", "./empty.fio", "--dry-run"])
        .assert()
        .code(2)
        .stderr(contains("empty.fio has no job").and(one_sentence()));
}

#[test]
fn launch_without_command_or_terminal_says_what_to_type() {
    let here = folder();
    hipri(&here)
        .arg("launch")
        .assert()
        .code(2)
        .stderr(contains("hipri launch -- CMD").and(one_sentence()));
}

#[test]
fn share_that_is_no_directory_is_refused() {
    let here = folder();
    hipri(&here)
        .args(["launch", "--share", "/nowhere", "--", "true"])
        .assert()
        .code(2)
        .stderr(contains("/nowhere is no directory"));
}

#[test]
fn memory_that_is_no_size_is_refused() {
    let here = folder();
    hipri(&here)
        .args(["launch", "--mem", "lots", "--", "true"])
        .assert()
        .code(2)
        .stderr(contains("768M"));
}

#[test]
fn depth_zero_is_refused() {
    let here = folder();
    hipri(&here).args(["--depths", "0"]).assert().code(2);
}

#[test]
fn suite_without_matching_check_is_skipped() {
    let here = folder();
    hipri(&here)
        .args(["suite", "smoke", "--filter", "no-such-check"])
        .assert()
        .code(4);
}

#[test]
fn probe_json_is_one_document() {
    let here = folder();
    let output = hipri(&here).args(["probe", "--json"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let findings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let native = findings["native"].as_bool().expect("native");
    let nanos = findings["supervisor_ns_per_iteration"].as_f64();
    assert_eq!(findings["kvm"], nanos.is_some());
    assert_eq!(native, nanos.is_some_and(|nanos| nanos < 100.0));
    assert_eq!(findings["chosen"], if native { "kvm" } else { "uml" });
    assert!(
        findings["reason"]
            .as_str()
            .is_some_and(|text| text.len() > 20)
    );
    assert!(findings["host"]["cores"].is_array());
}

#[test]
fn missing_package_manager_is_told() {
    let here = folder();
    hipri(&here)
        .env("PATH", here.path())
        .args(["launch", "--", "true"])
        .assert()
        .code(3)
        .stderr(contains("dpkg").and(one_sentence()));
}

#[test]
fn setup_without_apt_names_the_list_of_packages() {
    let here = folder();
    for tool in ["sh", "sed", "dirname"] {
        let found = ["/usr/bin", "/bin"]
            .map(|folder| std::path::Path::new(folder).join(tool))
            .into_iter()
            .find(|path| path.exists())
            .expect("the tool");
        std::os::unix::fs::symlink(found, here.path().join(tool)).expect("a link");
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Command::new("/bin/sh")
        .arg(root.expect("the checkout").join("scripts/setup"))
        .env("PATH", here.path())
        .assert()
        .code(3)
        .stderr(contains("scripts/packages.txt").and(one_sentence()));
}

#[test]
fn model_predicts_without_a_guest() {
    let here = folder();
    let words = "model --profile low-latency --depths 1,4 --ios 1000 --json";
    let ran = hipri(&here).args(words.split(' ')).assert().success();
    let document: serde_json::Value =
        serde_json::from_slice(&ran.get_output().stdout).expect("a document");
    assert_eq!(document["time"], "virtual");
    let cells = document["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 6);
    assert!(
        cells
            .iter()
            .all(|cell| cell["iops"].as_f64() > Some(10_000.0))
    );

    let words = "model --against seed --ios 1000 --json";
    let ran = hipri(&here).args(words.split(' ')).assert().success();
    let document: serde_json::Value =
        serde_json::from_slice(&ran.get_output().stdout).expect("a document");
    assert_eq!(document["cells"].as_array().map(Vec::len), Some(30));
    let parameters = document["parameters"].as_object().expect("parameters");
    assert!(parameters.len() <= 8, "{parameters:?}");
    assert!(document["mean_abs_error"].is_number());
    assert!(document["profiles"]["high-iops"]["units"].is_number());
}

#[test]
fn model_calibrate_leaves_costs_and_a_profile() {
    let here = folder();
    let table = "device,path,depth,block_size,iops,lat_p50_us\n\
                 mine,mainline,1,4096,50000,18\nmine,aio-poll-all,1,4096,80000,\n\
                 mine,aio-poll-all,2,4096,150000,\n";
    std::fs::write(here.path().join("mine.csv"), table).expect("a file");
    let words = "model --calibrate ./mine.csv --holdout 2 --units mine=8 --starts 2 --generations 20 \
                 --ios 1000 --out fit --html fit.html";
    let words: Vec<_> = words.split_whitespace().collect();
    hipri(&here)
        .args(words)
        .assert()
        .success()
        .stderr(contains("2 cells, 1 held out"));
    let page = std::fs::read_to_string(here.path().join("fit.html")).expect("a page");
    assert!(page.contains("I/Os per second: mine, 4096 bytes an I/O"));
    let words = "model --costs fit/costs.toml --profile fit/mine.toml --depths 2 --ios 1000";
    hipri(&here)
        .args(words.split(' '))
        .assert()
        .success()
        .stdout(contains("profile mine"));
}

/// A fit follows the figures that it is given, and none that are held out.
#[test]
fn model_calibrate_sees_nothing_of_what_is_held_out() {
    let here = folder();
    let fit = |first: u32, held_out: u32| {
        let table = format!(
            "device,path,depth,block_size,iops,lat_p50_us\n\
             mine,mainline,1,4096,{first},18\nmine,aio-poll-all,1,4096,80000,9\n\
             mine,mainline,2,4096,{held_out},{held_out}\n\
             mine,aio-poll-all,4,4096,300000,\nmine,mainline,4,4096,200000,\n"
        );
        std::fs::write(here.path().join("mine.csv"), table).expect("a file");
        let words = "model --calibrate ./mine.csv --holdout 2 --starts 2 --generations 30 \
                     --ios 1000 --out";
        let name = format!("{first}-{held_out}");
        hipri(&here)
            .args(words.split_whitespace())
            .arg(&name)
            .assert()
            .success();
        ["costs.toml", "mine.toml", "model.json"]
            .map(|file| std::fs::read_to_string(here.path().join(&name).join(file)).expect("text"))
    };
    let prediction = |json: &str| {
        let document: serde_json::Value = serde_json::from_str(json).expect("a document");
        let held_out = document["cells"].as_array().expect("cells")[2].clone();
        assert_eq!(held_out["calibrated"], false);
        held_out["model_iops"].as_f64().expect("a figure")
    };
    let [costs, profile, json] = fit(50_000, 90_000);
    for other in [1, 700_000] {
        let [other_costs, other_profile, other_json] = fit(50_000, other);
        assert_eq!((&other_costs, &other_profile), (&costs, &profile));
        assert!((prediction(&other_json) - prediction(&json)).abs() < 1e-9);
    }
    let [other_costs, _, other_json] = fit(55_000, 90_000);
    assert_ne!(other_costs, costs);
    let (one, other) = (prediction(&json), prediction(&other_json));
    assert!((other / one - 1.0).abs() > 0.01, "{one} {other}");
}

/// The promise: fitted to depths 1, 4 and 64 alone, the model is right about the rest.
#[test]
fn model_against_the_seed_is_within_its_bounds() {
    let here = folder();
    let ran = hipri(&here)
        .args(["model", "--against", "seed", "--ios", "20000", "--json"])
        .assert()
        .success();
    let document: serde_json::Value =
        serde_json::from_slice(&ran.get_output().stdout).expect("a document");
    let figure = |key: &str| document[key].as_f64().expect("a figure");
    let (mean, worst) = (figure("mean_abs_error"), figure("max_abs_error"));
    assert!(mean <= 0.05 && worst <= 0.12, "mean {mean}, worst {worst}");
    for cell in document["cells"].as_array().expect("cells") {
        let depth = cell["depth"].as_u64().expect("a depth");
        assert_eq!(cell["calibrated"], [1, 4, 64].contains(&depth), "{cell}");
    }
}

#[test]
fn model_sweep_predicts_each_combination() {
    let here = folder();
    let words = "model --sweep depth=1,4 --sweep units=4,8,16 --sweep costs.io=0.2us,400ns \
                 --paths aio-poll-all --ios 500";
    let run = |last: &[&str]| {
        let words = words.split_whitespace();
        let ran = hipri(&here).args(words).args(last).assert().success();
        String::from_utf8(ran.get_output().stdout.clone()).expect("text")
    };
    let document: serde_json::Value = serde_json::from_str(&run(&["--json"])).expect("a document");
    let cells = document["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 12);
    assert_eq!(cells[11]["at"]["units"], "16");
    assert_eq!(cells[11]["depth"], 4);
    assert!(cells[10]["iops"].as_f64() > cells[11]["iops"].as_f64());
    assert_eq!(document["sweep"][0]["key"], "depth");

    let csv = run(&["--csv"]);
    assert!(
        csv.starts_with("units,costs.io,depth,path,batch,jobs,block_size,iops,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 13);
    assert!(csv.contains("\n16,400ns,4,aio-poll-all,2,1,4096,"), "{csv}");
    assert!(run(&[]).contains("costs.io"));
}

#[test]
fn model_html_is_written_beside_whatever_is_printed() {
    let here = folder();
    let page = here.path().join("page.html");
    for (words, printed, drawn) in [
        ("--depths 1,4", "| Depth |", "over queue depth"),
        ("--depths 1,4 --json", "{", "aio-poll-all p99"),
        ("--depths 4 --sweep units=4,8 --csv", "units,", "over units"),
        ("--against seed", "| ", "aio-poll table"),
    ] {
        // What was there before is replaced.
        hipri(&here)
            .args(["model", "--ios", "500", "--html", "page.html"])
            .args(words.split(' '))
            .assert()
            .success()
            .stdout(contains(printed))
            .stderr("");
        let text = std::fs::read_to_string(&page).expect("a page");
        assert!(text.contains("<svg") && text.contains(drawn), "{words}");
    }
    hipri(&here)
        .args("model --depths 1 --ios 500 --html nowhere/page.html".split(' '))
        .assert()
        .code(3)
        .stdout(contains("aio-poll-all"))
        .stderr(contains("writing nowhere/page.html: No such file").and(one_sentence()));
}

/// What an option cannot change is not silently left as it is.
#[test]
fn model_against_a_table_refuses_what_it_does_not_follow() {
    let here = folder();
    for words in [
        "--jobs 2",
        "--profile floor",
        "--write",
        "--seed 2",
        "--block-size 8KiB",
    ] {
        for table in ["--against", "--calibrate"] {
            hipri(&here)
                .args(["model", table, "seed"])
                .args(words.split(' '))
                .assert()
                .code(2)
                .stderr(contains("cannot be used with"));
        }
    }
    for words in [
        "--costs seed",
        "--slower 2",
        "--set costs.io=1us",
        "--sweep units=1",
    ] {
        hipri(&here)
            .args(["model", "--calibrate", "seed"])
            .args(words.split(' '))
            .assert()
            .code(2)
            .stderr(contains("cannot be used with"));
    }
}

#[test]
fn model_with_bad_input_is_one_sentence() {
    let here = folder();
    std::fs::write(here.path().join("bad.csv"), "device,path\nmine,warp\n").expect("a file");
    for (words, part) in [
        ("--set units=0", "units: 0 is not between"),
        ("--set wings=2", "wings"),
        ("--set costs.wings=2us", "there is no such cost"),
        ("--set costs.io=2", "costs.io"),
        ("--costs none", "there is no none"),
        ("--paths io-uring", "the model knows"),
        ("--against ./bad.csv", "bad.csv: line 2"),
        ("--calibrate seed --holdout 1,2,4,8,16,32,64", "--holdout"),
        ("--calibrate seed --units none=4", "no such device"),
        ("--sweep depth=1,0", "depth=0: write a whole number between"),
        ("--sweep batch=x", "batch=x: write a whole number between"),
        ("--sweep jobs=129", "jobs=129: write"),
        ("--sweep units=4,0", "units=0: "),
        ("--sweep wings=2", "wings=2: "),
        ("--sweep costs.wings=2us", "costs.wings=2us: "),
        ("--sweep costs.io=2", "costs.io=2: "),
        ("--sweep slower=fast", "slower=fast: write a number"),
        (
            "--sweep block_size=100B",
            "block_size=100B: write a multiple",
        ),
        ("--sweep units=4,,8", "units=4,,8: a value is missing"),
        (
            "--sweep units=4 --sweep units=8",
            "units=8: this key is swept",
        ),
        ("--sweep depth=1 --depths 2", "--depths has another value"),
        ("--sweep units=4 --set units=8", "--set has another value"),
        ("--profile none", "there is no none"),
    ] {
        hipri(&here)
            .arg("model")
            .args(words.split(' '))
            .assert()
            .code(2)
            .stderr(one_sentence().and(contains(part)));
    }
}

#[test]
fn options_that_do_not_go_with_whose_time_it_is_are_refused() {
    let here = folder();
    for (words, part) in [
        (
            &["sweep", "--time", "virtual", "--runtime", "2"][..],
            "--ios N",
        ),
        (
            &["sweep", "--time", "virtual", "--reference", "null_blk"],
            "--time real",
        ),
        (&["sweep", "--ios", "100"], "--time virtual"),
        (&["sweep", "--costs", "seed"], "--time virtual"),
        (
            &["sweep", "--time", "virtual", "--doorbells", "shadow"],
            "take exit",
        ),
        (
            &[
                "sweep", "--time", "virtual", "--depths", "64", "--ios", "99",
            ],
            "256 or more",
        ),
        (&["verify-reproducible", "--time", "real"], "leave it out"),
        (
            &[
                "launch", "--time", "virtual", "--costs", "no-such", "--", "true",
            ],
            "no-such",
        ),
        // The main job is in virtual time unless told.
        (&["--runtime", "2"], "--time real"),
    ] {
        hipri(&here)
            .env("HIPRI_ACCEL", "uml")
            .args(words)
            .assert()
            .code(2)
            .stderr(contains(part).and(one_sentence()));
    }
    hipri(&here)
        .args(["sweep", "--accel", "qemu", "--time", "virtual"])
        .assert()
        .code(2)
        .stderr(contains("--accel uml"));
}

#[test]
fn agree_plans_both_guests_with_the_same_cells() {
    let here = folder();
    let words = ["--depths", "4", "--ios", "2000", "--runtime", "2"];
    let run = hipri(&here)
        .env("HIPRI_ACCEL", "uml")
        .arg("agree")
        .args(words)
        .arg("--dry-run")
        .assert()
        .success();
    let text = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    for part in [
        "time:    virtual",
        "number_ios=2000",
        "time:    real",
        "runtime=2",
    ] {
        assert_eq!(text.matches(part).count(), 1, "{part} in\n{text}");
    }
    assert_eq!(text.matches("  004-aio-poll-all").count(), 2, "{text}");
}

#[test]
fn agree_refuses_what_not_every_side_can_have() {
    let here = folder();
    for (words, part) in [
        (&["--time", "virtual"][..], "both times"),
        (&["--workload", "mine"], "--workload"),
        (&["--reference", "null_blk"], "--reference"),
        (&["--cpus", "2"], "--cpus"),
        (&["--pollers", "2"], "--pollers"),
        (&["--huge-pages", "off"], "--huge-pages"),
        (&["--paths", "io-uring"], "the model knows"),
        (&["--doorbells", "shadow"], "--doorbells shadow"),
        (&["--accel", "qemu"], "no speed model"),
        (&["--costs", "no-such"], "no-such"),
        (&["--depths", "64", "--ios", "99"], "256 or more"),
    ] {
        hipri(&here)
            .env("HIPRI_ACCEL", "uml")
            .arg("agree")
            .args(words)
            .assert()
            .code(2)
            .stderr(contains(part).and(one_sentence()));
    }
    // A file is no less told than an option.
    std::fs::write(here.path().join("hipri.toml"), "time = \"real\"\n").expect("a file");
    let run = hipri(&here).args(["agree", "--dry-run"]).assert();
    run.code(2).stderr(contains("both times"));
    let help = hipri(&here).args(["agree", "--help"]).assert().success();
    help.stdout(contains("--within").and(contains("--reference").not()));
}

#[test]
fn main_job_on_uml_is_in_virtual_time_and_a_sweep_is_not() {
    let here = folder();
    for (words, time) in [
        (&["--dry-run"][..], "time:    virtual"),
        (&["--dry-run", "--time", "real"], "time:    real"),
        (&["sweep", "--dry-run"], "time:    real"),
    ] {
        hipri(&here)
            .env("HIPRI_ACCEL", "uml")
            .args(words)
            .assert()
            .success()
            .stdout(contains(time));
    }
}

#[test]
fn trace_that_is_none_is_refused() {
    let here = folder();
    std::fs::write(here.path().join("x.trace"), "something else altogether").expect("a file");
    for (file, part) in [("x.trace", "no command trace"), ("y.trace", "y.trace")] {
        hipri(&here)
            .args(["trace", file])
            .assert()
            .code(2)
            .stderr(contains(part).and(one_sentence()));
    }
}

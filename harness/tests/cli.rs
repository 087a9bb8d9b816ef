// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line without a guest: help, dry runs and bad input. Each refusal is one sentence
//! and has the documented exit code.

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

/// `hipri` in an empty directory, with nothing of ours in its environment but the checkout.
fn hipri(folder: &tempfile::TempDir) -> Command {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the checkout");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hipri"));
    command.current_dir(folder.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HIPRI_") {
            command.env_remove(name);
        }
    }
    command.env("HIPRI_ROOT", root);
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// One line on stderr, nothing on stdout.
fn one_sentence() -> impl Predicate<str> {
    predicate::function(|text: &str| text.trim_end().lines().count() == 1)
}

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
fn accel_kvm_is_refused_as_not_built_yet() {
    let here = folder();
    for accel in ["kvm", "qemu"] {
        hipri(&here)
            .args(["sweep", "--accel", accel])
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains("not built yet").and(one_sentence()));
    }
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
    assert_eq!(findings["auto"]["accel"], "uml");
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

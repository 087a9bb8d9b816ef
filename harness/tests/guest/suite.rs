// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a suite tells the ends of a check apart, in real guests, and what others make of its results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Test;
use crate::bench::{Place, assert_code, hipri, output, root};

pub const TESTS: &[Test] = &[
    ("suite_tells_a_timeout_with_every_stack", timeout),
    ("suite_tells_a_panic_with_its_log", panic),
];

/// With the debug kernel, which can be told to hang.
pub const DEBUG_TESTS: &[Test] = &[("suite_tells_a_hang_with_every_stack", hang)];

/// With the kernel's own parser of results.
pub const KUNIT_TESTS: &[Test] = &[("suite_results_are_read_by_kunit", kunit)];

/// A check of this script, and one after it that passes.
fn suite_of(place: &Place, kernel: &str, script: &str) -> (Output, String) {
    let file = place.work.path().join("ends.toml");
    let text = format!(
        "description = \"One that does not pass, and one after it\"\n\
         [[check]]\nname = \"first\"\nkernel = \"patched\"\nseconds = 2\nrun = '''{script}'''\n\
         [[check]]\nname = \"second\"\nkernel = \"patched\"\nrun = \"true\"\n"
    );
    fs::write(&file, text).expect("a suite file");
    let folder = tempfile::tempdir_in(place.work.path()).expect("a folder");
    let results = folder.path().join("results");
    let mut command = hipri(place);
    command
        .args(["suite", "--kernel", kernel, "--out"])
        .arg(&results)
        .arg(&file);
    let run = output(&mut command);
    let ktap = fs::read_to_string(results.join("tests.ktap")).expect("results in the folder");
    place.assert_clean();
    (run, ktap)
}

/// The check after it is run all the same.
fn assert_told(ktap: &str, first: &str) {
    let told = |name: &str, verdict: &str| {
        let mut lines = ktap.lines();
        lines.any(|line| line.starts_with(verdict) && line.contains(name))
    };
    assert!(told("ends.first", "not ok 1"), "{ktap}");
    assert!(ktap.contains(first), "{ktap}");
    assert!(told("ends.second", "ok 2"), "{ktap}");
}

fn timeout() {
    let (run, ktap) = suite_of(&Place::new(), "patched", "sleep 600");
    assert_code(&run, 124);
    assert_told(&ktap, "took too long");
    assert!(ktap.contains("task:sleep"), "{ktap}");
}

fn panic() {
    let (run, ktap) = suite_of(&Place::new(), "patched", "echo c >/proc/sysrq-trigger");
    assert_code(&run, 6);
    assert_told(&ktap, "sysrq triggered crash");
}

/// A processor that never leaves the kernel: neither the agent nor anything else runs there again.
fn hang() {
    let script = "echo SOFTLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT";
    let (run, ktap) = suite_of(&Place::new(), "debug", script);
    assert_code(&run, 7);
    assert_told(&ktap, "lkdtm_SOFTLOCKUP");
    assert!(ktap.contains("task:kthreadd"), "{ktap}");
}

/// In a source that some kernel was built from.
fn kunit_py() -> Option<PathBuf> {
    let sources = fs::read_dir(root().join("target/guest/src")).ok()?;
    let mut trees = sources
        .flatten()
        .flat_map(|source| fs::read_dir(source.path()).into_iter().flatten().flatten());
    trees.find_map(|tree| {
        let parser = tree.path().join("tools/testing/kunit/kunit.py");
        parser.is_file().then_some(parser)
    })
}

/// Why the kernel's parser cannot be run, if it cannot.
pub fn missing_kunit() -> Option<String> {
    if kunit_py().is_none() {
        return Some("no kernel's source is unpacked in target/guest/src".to_owned());
    }
    match Command::new("python3").arg("--version").output() {
        Ok(output) if output.status.success() => None,
        _ => Some("there is no python3 for kunit.py".to_owned()),
    }
}

fn parsed(parser: &Path, ktap: &str, place: &Place) -> String {
    let file = place.work.path().join("kunit-input.ktap");
    fs::write(&file, ktap).expect("a file for the parser");
    let mut command = Command::new("python3");
    let run = command
        .arg(parser)
        .arg("parse")
        .arg(&file)
        .current_dir(place.work.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("kunit.py starts");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// What passed, what failed, and results inside of results are counted as they were told.
fn kunit() {
    let parser = kunit_py().expect("looked for before");
    let place = Place::new();
    let (run, ktap) = suite_of(&place, "patched", "true");
    assert_code(&run, 0);
    let said = parsed(&parser, &ktap, &place);
    assert!(said.contains("Ran 2 tests: passed: 2"), "{said}\n{ktap}");

    let (run, ktap) = suite_of(&place, "patched", "exit 3");
    assert_code(&run, 1);
    let said = parsed(&parser, &ktap, &place);
    assert!(
        said.contains("Ran 2 tests: passed: 1, failed: 1"),
        "{said}\n{ktap}"
    );

    let abi = place.work.path().join("abi");
    let mut command = hipri(&place);
    command.args(["suite", "abi", "--filter", "device-with-few-tags", "--out"]);
    assert_code(&output(command.arg(&abi)), 0);
    let ktap = fs::read_to_string(abi.join("tests.ktap")).expect("results in the folder");
    let said = parsed(&parser, &ktap, &place);
    assert!(said.contains("Ran 4 tests: passed: 4"), "{said}\n{ktap}");
}

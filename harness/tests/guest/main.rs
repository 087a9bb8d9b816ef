// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs that need a guest: sweeps, what is left after a kill, bad input that shows only when a
//! device starts. Without a built guest they are skipped, and say how to build one; those on QEMU
//! also without QEMU, those on KVM also without KVM.
//!
//! A test program of its own (`harness = false`): one guest at a time, and a skip is counted as
//! one. Its last line has the form of the standard test programs'.

mod bench;
mod debug;
mod input;
mod kill;
mod kvm;
mod power;
mod qemu;
mod suite;
mod sweep;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A test's name and what it does.
type Test = (&'static str, fn());

/// Tests that need the same thing, and why it is missing, if it is.
type Group = (Vec<Test>, fn() -> Option<String>);

fn missing_uml() -> Option<String> {
    bench::missing_guest("um", &["vanilla", "patched"])
}

fn groups() -> [Group; 5] {
    let uml = [
        sweep::TESTS,
        kill::TESTS,
        power::TESTS,
        input::TESTS,
        debug::PLAIN_TESTS,
        suite::TESTS,
    ]
    .concat();
    [
        (uml, missing_uml),
        (suite::KUNIT_TESTS.to_vec(), || {
            missing_uml().or_else(suite::missing_kunit)
        }),
        ([debug::TESTS, suite::DEBUG_TESTS].concat(), || {
            bench::missing_guest("um", &["debug"])
        }),
        (kvm::TESTS.to_vec(), kvm::missing),
        (qemu::TESTS.to_vec(), || {
            bench::missing_qemu().or_else(|| bench::missing_guest("x86_64", &["patched"]))
        }),
    ]
}

#[derive(Default)]
struct Totals {
    passed: usize,
    failed: usize,
    ignored: usize,
}

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |test: &Test| filter.as_ref().is_none_or(|text| test.0.contains(text));
    let mut groups = groups();
    for (tests, _) in &mut groups {
        tests.retain(wanted);
    }
    let count: usize = groups.iter().map(|(tests, _)| tests.len()).sum();
    println!("\nrunning {count} tests");
    let mut totals = Totals::default();
    for (tests, missing) in groups {
        if !tests.is_empty() {
            run(tests, missing().as_deref(), &mut totals);
        }
    }
    let Totals {
        passed,
        failed,
        ignored,
    } = totals;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

fn run(tests: Vec<Test>, missing: Option<&str>, totals: &mut Totals) {
    for (name, test) in tests {
        if let Some(reason) = missing {
            totals.ignored += 1;
            println!("test {name} ... ignored, {reason}");
        } else if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            totals.passed += 1;
            println!("test {name} ... ok");
        } else {
            totals.failed += 1;
            println!("test {name} ... FAILED");
        }
    }
}

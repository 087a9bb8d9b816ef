// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs that need a guest: sweeps, what is left after a kill, bad input that shows only when a
//! device starts. Without a built guest they are skipped, and say how to build one.
//!
//! A test program of its own (`harness = false`): one guest at a time, and a skip is counted as
//! one. Its last line has the form of the standard test programs'.

mod bench;
mod input;
mod kill;
mod power;
mod sweep;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A test's name and what it does.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let tests: Vec<Test> = [sweep::TESTS, kill::TESTS, power::TESTS, input::TESTS].concat();
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let chosen: Vec<Test> = tests
        .into_iter()
        .filter(|(name, _)| filter.as_ref().is_none_or(|text| name.contains(text)))
        .collect();
    println!("\nrunning {} tests", chosen.len());
    let missing = bench::missing_guest();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, test) in chosen {
        if let Some(reason) = &missing {
            ignored += 1;
            println!("test {name} ... ignored, {reason}");
        } else if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            passed += 1;
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED");
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compiles the micro-guest (`micro-guest/`), which the KVM front end includes: a program for the
//! very target that cargo builds for, without a standard library, linked to run at a fixed address
//! without an operating system. Only x86-64 has it.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Where the program's source is.
const SOURCE: &str = "micro-guest";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    if variable("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        return ExitCode::SUCCESS;
    }
    let source = Path::new(&variable("CARGO_MANIFEST_DIR")).join(SOURCE);
    let program = Path::new(&variable("OUT_DIR")).join("micro-guest.elf");
    let mut compiler = compiler(&source);
    compiler.arg("-o").arg(&program);
    // Cargo shows what the compiler wrote when this program fails.
    match compiler.status() {
        Ok(status) if status.success() => return ExitCode::SUCCESS,
        Ok(status) => println!("cargo::error=the micro-guest does not compile: {status}"),
        Err(error) => println!("cargo::error=rustc cannot be run for the micro-guest: {error}"),
    }
    ExitCode::FAILURE
}

/// What cargo tells its build scripts; empty when it does not.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn compiler(source: &Path) -> Command {
    let mut command = Command::new(variable("RUSTC"));
    // File names in its messages are relative to the source's directory.
    command.current_dir(source).arg("main.rs");
    command.args(["--crate-name", "micro_guest", "--edition", "2024"]);
    command.args(["--target", &variable("TARGET")]);
    let options = [
        "panic=abort",
        "opt-level=3",
        "codegen-units=1",
        "strip=debuginfo",
        "target-cpu=x86-64",
        "relocation-model=static",
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-static",
        "link-arg=-Wl,--build-id=none",
    ];
    for option in options {
        command.args(["-C", option]);
    }
    let script = source.join("link.ld");
    command
        .arg("-C")
        .arg(format!("link-arg=-T{}", script.display()));
    let linker = variable("RUSTC_LINKER");
    if !linker.is_empty() {
        command.arg("-C").arg(format!("linker={linker}"));
    }
    command
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line of `nvme-emulator`, as a function: `hipri` runs it in a child of its own.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line `args` (the program's name first) and returns the process's exit code.
pub fn run(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `nvme-emulator`: the device alone, for other people's virtual machine monitors.

use std::process::ExitCode;

fn main() -> ExitCode {
    emulator::cli::run(std::env::args_os())
}

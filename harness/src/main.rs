// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `hipri`, the product's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    hipri::cli::run(std::env::args_os())
}

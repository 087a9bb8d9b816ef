// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `guest`: the kernels and the image.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::guest::{self, BuildOptions};
use crate::progress;

/// What to do with the guest.
#[derive(Clone, Debug, Subcommand)]
pub enum GuestCommand {
    /// Makes whatever is missing and says where it is.
    Build {
        /// A kernel tree or tarball in place of the distribution's package.
        #[arg(long, env = "HIPRI_KERNEL_SOURCE", value_name = "PATH")]
        kernel_source: Option<PathBuf>,
    },
}

/// Does it.
///
/// # Errors
/// As the exit codes say.
pub fn run(command: &GuestCommand) -> anyhow::Result<ExitCode> {
    match command {
        GuestCommand::Build { kernel_source } => {
            let options = BuildOptions {
                kernel_source: kernel_source.clone(),
            };
            let guest = guest::build(&options, progress::for_stderr().as_ref())?;
            println!("vanilla {}", guest.vanilla.path.display());
            println!("patched {}", guest.patched.path.display());
            println!("image   {}", guest.root.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

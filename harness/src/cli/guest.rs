// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `guest`: the kernels and the image.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::tell::tell;
use crate::guest::{self, Arch, BuildOptions, Flavour, Guest, State};
use crate::progress::{self, Progress};

/// What to do with the guest.
#[derive(Clone, Debug, Subcommand)]
pub enum GuestCommand {
    /// Makes whatever is missing and says where it is.
    Build(KernelOptions),
    /// Says what is there and what would have to be made.
    Status(KernelOptions),
    /// Removes everything that was made.
    Clean,
    /// Makes DIR a git tree of the guest kernel with the series applied, one commit a patch.
    Checkout {
        /// A directory that does not exist yet or is empty.
        dir: PathBuf,
        #[command(flatten)]
        source: SourceOptions,
    },
    /// Writes the commits of a checkout back as the series.
    Export {
        /// A directory that `checkout` made.
        dir: PathBuf,
    },
}

/// Where the kernel comes from.
#[derive(Clone, Debug, Args)]
pub struct SourceOptions {
    /// A kernel tree or tarball in place of the distribution's linux-source-6.12 package.
    #[arg(long, env = "HIPRI_KERNEL_SOURCE", value_name = "PATH")]
    kernel_source: Option<PathBuf>,
}

impl SourceOptions {
    fn build_options(&self) -> BuildOptions {
        BuildOptions {
            kernel_source: self.kernel_source.clone(),
            ..BuildOptions::default()
        }
    }
}

/// Which kernels.
#[derive(Clone, Debug, Args)]
pub struct KernelOptions {
    #[command(flatten)]
    source: SourceOptions,
    /// What the kernels are built for: um for `--accel uml`, x86_64 for the others.
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// Which kernels [default: vanilla,patched].
    #[arg(long, value_enum, value_delimiter = ',')]
    flavour: Vec<Flavour>,
}

impl KernelOptions {
    fn build_options(&self) -> BuildOptions {
        BuildOptions {
            arch: self.arch,
            flavours: self.flavour.clone(),
            ..self.source.build_options()
        }
    }
}

/// Does it.
///
/// # Errors
/// As the exit codes say.
pub fn run(command: &GuestCommand) -> anyhow::Result<ExitCode> {
    let progress = progress::for_stderr();
    let progress = progress.as_ref();
    match command {
        GuestCommand::Build(kernels) => {
            show(&guest::build(&kernels.build_options(), progress)?)?;
        }
        GuestCommand::Status(kernels) => status(kernels, progress)?,
        GuestCommand::Clean => tell!("removed {}", guest::clean(progress)?.display())?,
        GuestCommand::Checkout { dir, source } => {
            guest::checkout(dir, &source.build_options(), progress)?;
            tell!("{}", dir.display())?;
        }
        GuestCommand::Export { dir } => {
            for patch in guest::export(dir, progress)? {
                tell!("{}", patch.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(guest: &Guest) -> anyhow::Result<()> {
    for kernel in &guest.kernels {
        tell!(
            "{:<11} {} {}, SHA-256 {}, {} patches",
            kernel.flavour,
            kernel.path.display(),
            kernel.release,
            kernel.sha256,
            kernel.patches.len()
        )?;
    }
    tell!("{:<11} {}", "image", guest.root.display())?;
    if let Some(initramfs) = &guest.initramfs {
        tell!("{:<11} {}", "initramfs", initramfs.display())?;
    }
    tell!("{:<11} {}", "fio", guest.fio_version)
}

fn status(kernels: &KernelOptions, progress: &dyn Progress) -> anyhow::Result<()> {
    for artifact in guest::status(&kernels.build_options(), progress)? {
        let state = match artifact.state {
            State::Ready => "ready",
            State::Missing => "missing",
        };
        let path = artifact.path.map(|path| path.display().to_string());
        tell!(
            "{:<26} {:<8} {} {}",
            artifact.name,
            state,
            artifact.detail,
            path.unwrap_or_default()
        )?;
    }
    Ok(())
}

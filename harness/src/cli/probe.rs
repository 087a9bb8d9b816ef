// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `probe`: what this host offers.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::machine::accel::{self, AccelChoice, Decision};
use crate::machine::{Host, Placement};

/// How it is shown.
#[derive(Clone, Debug, Args)]
pub struct ProbeOptions {
    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Findings {
    host: Host,
    auto: Decision,
    placement: Placement,
}

/// Looks and tells.
///
/// # Errors
/// When the document cannot be written.
pub fn run(options: &ProbeOptions) -> anyhow::Result<ExitCode> {
    let host = Host::look();
    let findings = Findings {
        auto: accel::decide(AccelChoice::Auto, &host)?,
        placement: Placement::choose(&host.cores),
        host,
    };
    if options.json {
        let text = serde_json::to_string_pretty(&findings).context("writing the findings")?;
        println!("{text}");
    } else {
        print!("{}", describe(&findings));
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(findings: &Findings) -> String {
    let host = &findings.host;
    let cores: Vec<String> = host.cores.iter().map(usize::to_string).collect();
    let tmpfs = match &host.tmpfs {
        Some(path) => format!("{}, {} MiB free", path.display(), host.tmpfs_free >> 20),
        None => "none that can be used (set HIPRI_TMPDIR)".to_owned(),
    };
    let lines = [
        ("processor", host.cpu.clone()),
        (
            "cores",
            format!("{} ({})", host.cores.len(), cores.join(", ")),
        ),
        ("placement", findings.placement.describe()),
        ("kernel", host.kernel.clone()),
        ("clock source", host.clocksource.clone()),
        (
            "huge pages",
            format!(
                "{}, shared memory: {}",
                host.transparent_huge_pages, host.shmem_huge_pages
            ),
        ),
        (
            "governor",
            host.governor.clone().unwrap_or_else(|| "not told".into()),
        ),
        (
            "/dev/kvm",
            if host.kvm_device {
                "opens"
            } else {
                "not usable"
            }
            .to_owned(),
        ),
        ("guest memory", tmpfs),
        (
            "--accel auto",
            format!("{}: {}", findings.auto.accel.name(), findings.auto.reason),
        ),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("{name:<13} {value}\n"))
        .collect()
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `probe`: what this host offers.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use emulator::frontend::kvm::KvmProbe;
use serde::Serialize;

use super::tell::tell;
use crate::machine::accel::{self, Accel, AccelChoice, Decision};
use crate::machine::{Host, Placement};

/// How it is shown.
#[derive(Clone, Debug, Args)]
pub struct ProbeOptions {
    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

/// The field names are a promise to scripts; those of KVM's own findings too.
#[derive(Serialize)]
struct Findings {
    #[serde(flatten)]
    kvm: KvmProbe,
    /// The accelerator that `auto` takes.
    chosen: Accel,
    /// Why.
    reason: String,
    placement: Placement,
    host: Host,
}

/// Looks and tells.
///
/// # Errors
/// When the document cannot be written.
pub fn run(options: &ProbeOptions) -> anyhow::Result<ExitCode> {
    let host = Host::look();
    let Decision { accel, reason } = accel::decide(AccelChoice::Auto, &host)?;
    let findings = Findings {
        kvm: host.kvm.clone(),
        chosen: accel,
        reason,
        placement: accel
            .machine()
            .placement(&host.cores, accel.machine().cpus().default, 1),
        host,
    };
    if options.json {
        let text = serde_json::to_string_pretty(&findings).context("writing the findings")?;
        tell!("{text}")?;
    } else {
        tell!("{}", describe(&findings).trim_end())?;
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
        ("KVM", describe_kvm(&findings.kvm)),
        ("guest memory", tmpfs),
        (
            "--accel auto",
            format!("{}: {}", findings.chosen.name(), findings.reason),
        ),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("{name:<13} {value}\n"))
        .collect()
}

fn describe_kvm(found: &KvmProbe) -> String {
    let Some(nanos) = found.supervisor_ns_per_iteration else {
        return found.error.clone().unwrap_or_default();
    };
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    format!(
        "{} ({nanos:.1} ns an iteration in supervisor mode); ioeventfd {}, irqfd {}, statistics {}, \
         {} processors recommended, {} at most",
        if found.native {
            "executes supervisor code"
        } else {
            "interprets supervisor code"
        },
        yes_no(found.ioeventfd),
        yes_no(found.irqfd),
        yes_no(found.statistics),
        found.recommended_vcpus,
        found.max_vcpus
    )
}

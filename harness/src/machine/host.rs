// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host offers: cores, clock, huge pages, KVM. Facts for choosing and for the report.

use std::fs;
use std::path::PathBuf;

use emulator::frontend::kvm::KvmProbe;
use rustix::thread::{CpuSet, sched_getaffinity};
use serde::Serialize;

use super::scratch;

/// The host as far as a run depends on it.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// Cores this process may run on, by number.
    pub cores: Vec<usize>,
    /// `uname -r`.
    pub kernel: String,
    /// The kernel's clock source.
    pub clocksource: String,
    /// Transparent huge pages: the chosen word.
    pub transparent_huge_pages: String,
    /// Huge pages for shared memory: the chosen word.
    pub shmem_huge_pages: String,
    /// How the frequency of core 0 is governed, where the host tells.
    pub governor: Option<String>,
    /// What KVM is here, found out by trying.
    pub kvm: KvmProbe,
    /// Where the guest's memory would be.
    pub tmpfs: Option<PathBuf>,
    /// Bytes free there.
    pub tmpfs_free: u64,
}

impl Host {
    /// Looks at the host. What cannot be read is "unknown".
    pub fn look() -> Self {
        let (tmpfs, tmpfs_free) = scratch::available().unzip();
        Self {
            cpu: cpu_name(),
            cores: allowed_cores(),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            clocksource: sys("devices/system/clocksource/clocksource0/current_clocksource")
                .unwrap_or_else(unknown),
            transparent_huge_pages: chosen("kernel/mm/transparent_hugepage/enabled"),
            shmem_huge_pages: chosen("kernel/mm/transparent_hugepage/shmem_enabled"),
            governor: sys("devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            kvm: emulator::frontend::kvm::probe(),
            tmpfs,
            tmpfs_free: tmpfs_free.unwrap_or(0),
        }
    }
}

fn allowed_cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .collect(),
        Err(_) => vec![0],
    }
}

/// The hardware threads of the core that `core` is one of, itself included.
pub fn siblings(core: usize) -> Vec<usize> {
    sys(&format!(
        "devices/system/cpu/cpu{core}/topology/thread_siblings_list"
    ))
    .map(|list| parse_list(&list))
    .unwrap_or_default()
}

/// The kernel's list format: `0,4-6`.
fn parse_list(list: &str) -> Vec<usize> {
    list.split(',')
        .filter_map(|part| match part.split_once('-') {
            Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
            None => {
                let one = part.parse().ok()?;
                Some(one..=one)
            }
        })
        .flatten()
        .collect()
}

fn cpu_name() -> String {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(unknown)
}

fn sys(path: &str) -> Option<String> {
    let text = fs::read_to_string(PathBuf::from("/sys").join(path)).ok()?;
    Some(text.trim().to_owned())
}

/// The word in brackets of a setting such as `always [madvise] never`.
fn chosen(path: &str) -> String {
    sys(path)
        .and_then(|text| {
            let (_, rest) = text.split_once('[')?;
            Some(rest.split_once(']')?.0.to_owned())
        })
        .unwrap_or_else(unknown)
}

fn unknown() -> String {
    "unknown".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_list_reads_ranges() {
        assert_eq!(parse_list("0,4-6"), [0, 4, 5, 6]);
    }
}

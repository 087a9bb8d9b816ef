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

/// Which core the guest runs on and which the device's poller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The guest's core; `None` leaves it to the scheduler.
    pub guest: Option<usize>,
    /// The device's core; `None` leaves it to the scheduler.
    pub device: Option<usize>,
    /// Nothing is pinned because there is no need to, not for want of cores.
    #[serde(skip)]
    free: bool,
}

impl Placement {
    /// One core each if there are two; sibling threads of one core are the last resort.
    pub fn choose(cores: &[usize]) -> Self {
        Self::choose_with(cores, siblings)
    }

    fn choose_with(cores: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Self {
        let [guest, others @ ..] = cores else {
            return Self::NONE;
        };
        let shared = siblings(*guest);
        let device = others
            .iter()
            .find(|core| !shared.contains(core))
            .or(others.first());
        match device {
            Some(&device) => Self {
                guest: Some(*guest),
                device: Some(device),
                free: false,
            },
            None => Self::NONE,
        }
    }

    /// Nothing is pinned: there is one core.
    pub const NONE: Self = Self {
        guest: None,
        device: None,
        free: false,
    };

    /// The host's scheduler decides.
    pub const FREE: Self = Self {
        guest: None,
        device: None,
        free: true,
    };

    /// One line for the report.
    pub fn describe(&self) -> String {
        match (self.guest, self.device) {
            (Some(guest), Some(device)) => {
                format!("guest on core {guest}, device on core {device}")
            }
            _ if self.free => "nothing is pinned".into(),
            _ => "guest and device share one core: the device's poller yields, and every figure below includes that".into(),
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

fn siblings(core: usize) -> Vec<usize> {
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
    fn choose_avoids_sibling_threads() {
        let placement = Placement::choose_with(&[0, 1, 2, 3], |_| vec![0, 1]);
        assert_eq!(placement.guest, Some(0));
        assert_eq!(placement.device, Some(2));
    }

    #[test]
    fn choose_only_siblings_takes_them() {
        let placement = Placement::choose_with(&[4, 5], |_| vec![4, 5]);
        assert_eq!(placement.device, Some(5));
    }

    #[test]
    fn choose_one_core_pins_nothing() {
        let placement = Placement::choose_with(&[3], |_| vec![3]);
        assert_eq!(placement, Placement::NONE);
        assert!(placement.describe().contains("share one core"));
    }

    #[test]
    fn parse_list_reads_ranges() {
        assert_eq!(parse_list("0,4-6"), [0, 4, 5, 6]);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Depth sweeps: one fio job over queue depths and software paths.
//!
//! One boot of each kernel flavour runs all its cells. Within a boot the cells are ordered by
//! depth and the paths alternate inside a depth, with the reference device right behind the
//! device that it is compared with: a host that gets slower meanwhile hits all of them alike.

mod document;
pub mod fio;
mod interrupts;
mod job;
pub mod pace;
mod run;
pub mod seed;
pub mod trace;

use serde::{Deserialize, Serialize};

use crate::guest::Flavour;

pub use document::{DeviceCounts, Document, Exits, KernelIdentity, Row, RunSummary, host_share};
pub use job::{Common, ENGINE, Extent, batch, resolve};
pub use run::{SweepResult, SweepSpec, counters_between, run};

/// A software path from the application to the device.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    clap::ValueEnum,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum IoPath {
    /// The vanilla kernel, fio's own libaio engine.
    Mainline,
    /// The patched kernel, the same engine, no new feature.
    AioPoll,
    /// The patched kernel, our engine: polled, user-mapped iocbs, fixed buffers.
    AioPollAll,
    /// The vanilla kernel, fio's own io_uring engine: polled, fixed buffers, registered files.
    IoUring,
}

impl IoPath {
    /// The seed's three.
    pub const SEED: [Self; 3] = [Self::Mainline, Self::AioPoll, Self::AioPollAll];

    /// Its name on the command line and in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mainline => "mainline",
            Self::AioPoll => "aio-poll",
            Self::AioPollAll => "aio-poll-all",
            Self::IoUring => "io-uring",
        }
    }

    /// The kernel that it runs on.
    pub fn flavour(self) -> Flavour {
        match self {
            Self::Mainline | Self::IoUring => Flavour::Vanilla,
            Self::AioPoll | Self::AioPollAll => Flavour::Patched,
        }
    }
}

impl std::fmt::Display for IoPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a cell reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The emulated NVMe namespace.
    Nvme,
    /// The guest kernel's own null block device, for comparison.
    NullBlk,
}

/// A device of the guest's kernel that the emulated one is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Reference {
    /// null_blk: polled, without memory behind it.
    #[value(name = "null_blk")]
    NullBlk,
}

/// One fio run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Queue depth.
    pub depth: u32,
    /// Software path.
    pub path: IoPath,
    /// What it reads from.
    pub target: Target,
}

impl Cell {
    /// Names its files in guest and result folder.
    pub fn name(&self) -> String {
        let suffix = match self.target {
            Target::Nvme => "",
            Target::NullBlk => "-null_blk",
        };
        format!("{:03}-{}{suffix}", self.depth, self.path)
    }
}

/// The cells of one kernel flavour, in the order in which they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The kernel.
    pub flavour: Flavour,
    /// What runs on it.
    pub cells: Vec<Cell>,
}

/// What the names of a boot's logs begin with.
fn log_prefix(flavour: Flavour) -> String {
    format!("{flavour}-")
}

/// Orders a sweep: a boot for each flavour that is needed.
pub fn plan(depths: &[u32], paths: &[IoPath], reference: Option<Reference>) -> Vec<Boot> {
    let targets: &[Target] = match reference {
        None => &[Target::Nvme],
        Some(Reference::NullBlk) => &[Target::Nvme, Target::NullBlk],
    };
    let cells_of = |flavour| {
        let mut cells = Vec::new();
        for &depth in depths {
            for &path in paths.iter().filter(|path| path.flavour() == flavour) {
                cells.extend(targets.iter().map(|&target| Cell {
                    depth,
                    path,
                    target,
                }));
            }
        }
        cells
    };
    [Flavour::Vanilla, Flavour::Patched]
        .into_iter()
        .map(|flavour| Boot {
            flavour,
            cells: cells_of(flavour),
        })
        .filter(|boot| !boot.cells.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_seed_is_one_boot_a_flavour() {
        let boots = plan(&[1, 2], &IoPath::SEED, None);
        assert_eq!(boots.len(), 2);
        assert_eq!(boots[0].flavour, Flavour::Vanilla);
        assert_eq!(boots[0].cells.len(), 2);
        let order: Vec<_> = boots[1].cells.iter().map(Cell::name).collect();
        assert_eq!(
            order,
            [
                "001-aio-poll",
                "001-aio-poll-all",
                "002-aio-poll",
                "002-aio-poll-all"
            ]
        );
    }

    #[test]
    fn plan_reference_follows_each_cell() {
        let boots = plan(&[4], &[IoPath::AioPollAll], Some(Reference::NullBlk));
        let order: Vec<_> = boots[0].cells.iter().map(Cell::name).collect();
        assert_eq!(order, ["004-aio-poll-all", "004-aio-poll-all-null_blk"]);
    }

    #[test]
    fn plan_one_path_boots_one_kernel() {
        assert_eq!(plan(&[1], &[IoPath::IoUring], None).len(), 1);
    }
}

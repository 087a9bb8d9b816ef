// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How often the guest was left, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::frontend::kvm::ExitKind;

/// Exits by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitCounts {
    /// Reads of BAR0.
    pub bar0_reads: u64,
    /// Writes of BAR0.
    pub bar0_writes: u64,
    /// Configuration space.
    pub config: u64,
    /// Memory where nothing of ours is, the exit page included.
    pub mmio: u64,
    /// Anything else that the guest caused.
    pub other: u64,
    /// Signals of the host: not the guest's doing.
    pub interruptions: u64,
}

impl ExitCounts {
    /// Those that the guest caused.
    pub fn by_guest(&self) -> u64 {
        self.bar0_reads + self.bar0_writes + self.config + self.mmio + self.other
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            bar0_reads: self.bar0_reads - earlier.bar0_reads,
            bar0_writes: self.bar0_writes - earlier.bar0_writes,
            config: self.config - earlier.config,
            mmio: self.mmio - earlier.mmio,
            other: self.other - earlier.other,
            interruptions: self.interruptions - earlier.interruptions,
        }
    }
}

/// One vCPU's counters; nobody else writes them, and no cache line is shared.
#[derive(Default)]
#[repr(align(128))]
struct Counters {
    bar0_reads: AtomicU64,
    bar0_writes: AtomicU64,
    config: AtomicU64,
    mmio: AtomicU64,
    other: AtomicU64,
    interruptions: AtomicU64,
}

/// The counters of all vCPUs.
pub struct Account(Box<[Counters]>);

impl Account {
    /// Zeros for `vcpus` vCPUs.
    pub fn new(vcpus: usize) -> Self {
        Self((0..vcpus).map(|_| Counters::default()).collect())
    }

    /// Counts an exit.
    pub fn count(&self, vcpu: usize, kind: ExitKind) {
        let Some(counters) = self.0.get(vcpu) else {
            return;
        };
        let counter = match kind {
            ExitKind::Bar0 { write: false, .. } => &counters.bar0_reads,
            ExitKind::Bar0 { write: true, .. } => &counters.bar0_writes,
            ExitKind::Config => &counters.config,
            ExitKind::Mmio => &counters.mmio,
            ExitKind::Interruption => &counters.interruptions,
            ExitKind::Port | ExitKind::Halt | ExitKind::Fatal | ExitKind::Other => &counters.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The sums so far.
    pub fn sums(&self) -> ExitCounts {
        let mut sums = ExitCounts::default();
        for counters in &self.0 {
            let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            sums.bar0_reads += get(&counters.bar0_reads);
            sums.bar0_writes += get(&counters.bar0_writes);
            sums.config += get(&counters.config);
            sums.mmio += get(&counters.mmio);
            sums.other += get(&counters.other);
            sums.interruptions += get(&counters.interruptions);
        }
        sums
    }
}

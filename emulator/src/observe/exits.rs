// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a virtual machine monitor counts: how often its guest left, why, and for which part of
//! BAR0.
//!
//! Each virtual processor's thread counts in a block of its own, which shares no cache line with
//! another's; whoever wants to know sums them up. The figures of a snapshot are each exact but not
//! of one instant.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::bar0::{Bar0Place, PLACES};

/// Why KVM_RUN returned because of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// An access to an I/O port other than those of configuration space.
    PortIo,
    /// An access to memory that is neither RAM nor BAR0 nor configuration space.
    Mmio,
    /// A read of BAR0.
    Bar0Read,
    /// A write to BAR0.
    Bar0Write,
    /// An access to PCI configuration space, by ports or by memory.
    Config,
    /// HLT.
    Halt,
    /// A triple fault.
    Shutdown,
    /// KVM could not go on.
    Internal,
    /// Anything else.
    Other,
}

impl ExitReason {
    /// Every reason, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::PortIo,
        Self::Mmio,
        Self::Bar0Read,
        Self::Bar0Write,
        Self::Config,
        Self::Halt,
        Self::Shutdown,
        Self::Internal,
        Self::Other,
    ];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortIo => "port I/O",
            Self::Mmio => "MMIO",
            Self::Bar0Read => "BAR0 read",
            Self::Bar0Write => "BAR0 write",
            Self::Config => "configuration space",
            Self::Halt => "halt",
            Self::Shutdown => "triple fault",
            Self::Internal => "internal error",
            Self::Other => "other",
        }
    }
}

/// What one virtual processor's thread counts. Aligned so that neither neighbour nor prefetcher
/// shares a cache line with it.
#[derive(Debug)]
#[repr(align(128))]
pub struct VcpuExits {
    reasons: [AtomicU64; ExitReason::ALL.len()],
    host_interruptions: AtomicU64,
    reads: [AtomicU64; PLACES],
    writes: [AtomicU64; PLACES],
}

impl Default for VcpuExits {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            reasons: std::array::from_fn(|_| AtomicU64::new(0)),
            host_interruptions: AtomicU64::new(0),
            reads: zeros(),
            writes: zeros(),
        }
    }
}

impl VcpuExits {
    /// Counts an exit. Those for BAR0 belong to [`VcpuExits::count_bar0`].
    pub fn count(&self, reason: ExitReason) {
        add(&self.reasons[reason as usize], 1);
    }

    /// Counts an exit for an access at `offset` of BAR0, by its place too.
    pub fn count_bar0(&self, offset: u64, write: bool) {
        let place = Bar0Place::of(offset).index();
        if write {
            self.count(ExitReason::Bar0Write);
            add(&self.writes[place], 1);
        } else {
            self.count(ExitReason::Bar0Read);
            add(&self.reads[place], 1);
        }
    }

    /// Counts a return because of a signal of the host (EINTR): no doing of the guest.
    pub fn count_interruption(&self) {
        add(&self.host_interruptions, 1);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Gives the sum of what the kernel itself counts as exits, `None` when it cannot be read.
type KernelExits = Box<dyn Fn() -> Option<u64> + Send + Sync>;

#[derive(Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

/// What all virtual processors count, and the signals of ioeventfds.
#[derive(Default)]
pub struct VmExits {
    vcpus: Box<[VcpuExits]>,
    ioeventfd_signals: Padded,
    kernel_exits: OnceLock<KernelExits>,
}

impl VmExits {
    /// Zeros for `vcpus` virtual processors.
    pub fn new(vcpus: usize) -> Self {
        Self {
            vcpus: (0..vcpus).map(|_| VcpuExits::default()).collect(),
            ..Self::default()
        }
    }

    /// Where the thread of virtual processor `index` counts.
    ///
    /// # Panics
    /// When there is no such processor.
    pub fn vcpu(&self, index: usize) -> &VcpuExits {
        &self.vcpus[index]
    }

    /// Counts guest writes that an ioeventfd has swallowed: the value that was read from it. They
    /// are exits for the processor, but KVM_RUN does not return.
    pub fn count_ioeventfd_signals(&self, signals: u64) {
        add(&self.ioeventfd_signals.0, signals);
    }

    /// Says where the kernel's own count of exits is to be had (KVM_GET_STATS_FD, `exits` of all
    /// processors). `read` is called for each snapshot, on the thread that takes it. Only the first
    /// call counts.
    pub fn set_kernel_exits(&self, read: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        // Set already: nothing to be done.
        let _ = self.kernel_exits.set(Box::new(read));
    }

    /// The totals at this moment.
    pub fn totals(&self) -> ExitTotals {
        let reasons = self.vcpus.iter().flat_map(|vcpu| &vcpu.reasons);
        let interruptions = self.vcpus.iter().map(|vcpu| &vcpu.host_interruptions);
        ExitTotals {
            guest_exits: reasons.map(get).sum(),
            ioeventfd_signals: get(&self.ioeventfd_signals.0),
            host_interruptions: interruptions.map(get).sum(),
            kernel_exits: self.kernel_exits.get().and_then(|read| read()),
        }
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> ExitCounts {
        let sum = |counter: &dyn Fn(&VcpuExits) -> u64| self.vcpus.iter().map(counter).sum();
        let reasons = ExitReason::ALL
            .map(|reason| (reason, sum(&|vcpu| get(&vcpu.reasons[reason as usize]))));
        let bar0 = (0..PLACES).map(|index| Bar0Accesses {
            place: Bar0Place::from_index(index),
            reads: sum(&|vcpu| get(&vcpu.reads[index])),
            writes: sum(&|vcpu| get(&vcpu.writes[index])),
        });
        ExitCounts {
            totals: self.totals(),
            reasons: BTreeMap::from(reasons),
            bar0: bar0.filter(Bar0Accesses::any).collect(),
        }
        .adding_up()
    }
}

impl fmt::Debug for VmExits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VmExits").field(&self.totals()).finish()
    }
}

/// The sums of all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExitTotals {
    /// KVM_RUN returns that the guest caused.
    pub guest_exits: u64,
    /// Guest writes that an ioeventfd swallowed.
    pub ioeventfd_signals: u64,
    /// KVM_RUN returns because of a signal of the host.
    pub host_interruptions: u64,
    /// What the kernel counts as exits, if it tells: those that it dealt with itself too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_exits: Option<u64>,
}

impl ExitTotals {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let kernel_exits = self.kernel_exits.zip(earlier.kernel_exits);
        Self {
            guest_exits: self.guest_exits.saturating_sub(earlier.guest_exits),
            ioeventfd_signals: self
                .ioeventfd_signals
                .saturating_sub(earlier.ioeventfd_signals),
            host_interruptions: self
                .host_interruptions
                .saturating_sub(earlier.host_interruptions),
            kernel_exits: kernel_exits.map(|(now, then)| now.saturating_sub(then)),
        }
    }

    /// Times that the guest left for each of `commands` I/O commands, the host's interruptions not
    /// counted; `None` without commands.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn per_command(&self, commands: u64) -> Option<f64> {
        let left = self.guest_exits.saturating_add(self.ioeventfd_signals);
        (commands > 0).then(|| left as f64 / commands as f64)
    }
}

impl fmt::Display for ExitTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} guest exits, {} ioeventfd signals, {} host interruptions",
            self.guest_exits, self.ioeventfd_signals, self.host_interruptions
        )?;
        match self.kernel_exits {
            Some(exits) => write!(f, " (the kernel counts {exits} exits)"),
            None => Ok(()),
        }
    }
}

/// How often the guest left for one place in BAR0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bar0Accesses {
    /// The place.
    pub place: Bar0Place,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl Bar0Accesses {
    fn any(&self) -> bool {
        self.reads > 0 || self.writes > 0
    }
}

/// All that was counted, as plain numbers. In JSON: the totals, `reasons` with each reason, `bar0`
/// with the places that were accessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExitCounts {
    /// The sums.
    #[serde(flatten)]
    pub totals: ExitTotals,
    /// Exits by reason; their sum is the number of guest exits.
    pub reasons: BTreeMap<ExitReason, u64>,
    /// Accesses to BAR0 by place, those without any left out.
    pub bar0: Vec<Bar0Accesses>,
}

impl ExitCounts {
    /// KVM_RUN returns that the guest caused.
    pub fn guest_exits(&self) -> u64 {
        self.totals.guest_exits
    }

    /// Exits for one reason.
    pub fn exits(&self, reason: ExitReason) -> u64 {
        self.reasons.get(&reason).copied().unwrap_or(0)
    }

    /// What was counted since `earlier`, an older snapshot of the same machine.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let reasons = self.reasons.iter().map(|(&reason, &exits)| {
            let before = earlier.exits(reason);
            (reason, exits.saturating_sub(before))
        });
        let bar0 = self.bar0.iter().map(|now| {
            let same = |then: &&Bar0Accesses| then.place == now.place;
            let then = earlier.bar0.iter().find(same);
            let (reads, writes) = then.map_or((0, 0), |then| (then.reads, then.writes));
            Bar0Accesses {
                place: now.place,
                reads: now.reads.saturating_sub(reads),
                writes: now.writes.saturating_sub(writes),
            }
        });
        Self {
            totals: self.totals.since(&earlier.totals),
            reasons: reasons.collect(),
            bar0: bar0.filter(Bar0Accesses::any).collect(),
        }
        .adding_up()
    }

    /// Exits go on while they are summed up: the total is that of the table.
    fn adding_up(mut self) -> Self {
        self.totals.guest_exits = self.reasons.values().sum();
        self
    }
}

/// A table: the totals, below the first of them its reasons, then the places in BAR0.
impl fmt::Display for ExitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        write!(f, "{:<24} {:>12}", "guest exits", totals.guest_exits)?;
        for (reason, exits) in self.reasons.iter().filter(|(_, exits)| **exits > 0) {
            write!(f, "\n  {:<22} {exits:>12}", reason.name())?;
        }
        let row = |f: &mut fmt::Formatter<'_>, name, count| write!(f, "\n{name:<24} {count:>12}");
        row(f, "ioeventfd signals", totals.ioeventfd_signals)?;
        row(f, "host interruptions", totals.host_interruptions)?;
        if let Some(exits) = totals.kernel_exits {
            row(f, "exits by the kernel", exits)?;
        }
        if !self.bar0.is_empty() {
            write!(f, "\n{:<24} {:>12} {:>12}", "BAR0", "reads", "writes")?;
        }
        for access in &self.bar0 {
            let place = access.place.to_string();
            let (reads, writes) = (access.reads, access.writes);
            write!(f, "\n  {place:<22} {reads:>12} {writes:>12}")?;
        }
        Ok(())
    }
}

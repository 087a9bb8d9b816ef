// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counting is part of the device: commands, interrupts, doorbell traps, bytes and lateness, for
//! each queue. Plain numbers, owned by the engine's thread: no atomics, no allocation. What a virtual
//! machine monitor counts beside it, on its own threads, is in [`VmExits`].

pub(crate) mod bar0;
mod exits;
mod histogram;
mod page;
mod trace;

pub use bar0::Bar0Place;
pub use exits::{Bar0Accesses, ExitCounts, ExitReason, ExitTotals, VcpuExits, VmExits};
pub use histogram::{BUCKETS, Histogram, Percentiles, SUB_BUCKET_BITS};
pub use page::{
    CountersPage, EXITS_COUNTED, EXITS_OF_KERNEL, LOG_COUNTERS, MAGIC, PageError, PageHeader,
    QueueRecord, QueueState, RECORD_EXISTS, RECORD_POLLED, VERSION, page_bytes, write_page,
};

pub use trace::{POLLED, Trace, TraceRecord, read_trace};

use std::sync::Arc;

use serde::Serialize;

/// Opcodes are counted one by one up to 0Eh; all above share the last slot.
pub const OPCODE_SLOTS: usize = 16;

/// What is counted for one queue identifier. It outlives the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// How often the submission queue was created.
    pub creations: u32,
    /// Commands completed on a completion queue without interrupts.
    pub polled: u64,
    /// Commands completed on a completion queue with interrupts.
    pub interrupted: u64,
    /// Interrupts raised for the completion queue.
    pub interrupts: u64,
    /// Writes to the tail doorbell that trapped.
    pub sq_doorbell_traps: u64,
    /// Writes to the head doorbell that trapped.
    pub cq_doorbell_traps: u64,
    /// Bytes that the guest read from namespaces.
    pub bytes_read: u64,
    /// Bytes that the guest wrote to namespaces.
    pub bytes_written: u64,
    /// Commands that completed with another status than success.
    pub errors: u64,
    /// Timed completions posted before their time: always 0, but counted, not claimed.
    pub early: u64,
    /// Commands by opcode, see [`OPCODE_SLOTS`].
    pub opcodes: [u64; OPCODE_SLOTS],
    /// How long after its time each timed completion was posted.
    pub lateness: Histogram,
    /// How much of all that lateness the host kept the device from its core, in nanoseconds.
    pub lateness_host_ns: u64,
}

impl QueueCounters {
    /// Counts the opcode of a fetched command.
    pub fn count_opcode(&mut self, opcode: u8) {
        self.opcodes[usize::from(opcode).min(OPCODE_SLOTS - 1)] += 1;
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.creations += other.creations;
        self.polled += other.polled;
        self.interrupted += other.interrupted;
        self.interrupts += other.interrupts;
        self.sq_doorbell_traps += other.sq_doorbell_traps;
        self.cq_doorbell_traps += other.cq_doorbell_traps;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
        self.errors += other.errors;
        self.early += other.early;
        for (mine, theirs) in self.opcodes.iter_mut().zip(other.opcodes) {
            *mine += theirs;
        }
        self.lateness.add(&other.lateness);
        self.lateness_host_ns += other.lateness_host_ns;
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut opcodes = self.opcodes;
        for (now, then) in opcodes.iter_mut().zip(earlier.opcodes) {
            *now = now.saturating_sub(then);
        }
        Self {
            creations: self.creations.saturating_sub(earlier.creations),
            polled: self.polled.saturating_sub(earlier.polled),
            interrupted: self.interrupted.saturating_sub(earlier.interrupted),
            interrupts: self.interrupts.saturating_sub(earlier.interrupts),
            sq_doorbell_traps: self
                .sq_doorbell_traps
                .saturating_sub(earlier.sq_doorbell_traps),
            cq_doorbell_traps: self
                .cq_doorbell_traps
                .saturating_sub(earlier.cq_doorbell_traps),
            bytes_read: self.bytes_read.saturating_sub(earlier.bytes_read),
            bytes_written: self.bytes_written.saturating_sub(earlier.bytes_written),
            errors: self.errors.saturating_sub(earlier.errors),
            early: self.early.saturating_sub(earlier.early),
            opcodes,
            lateness: self.lateness.since(&earlier.lateness),
            lateness_host_ns: self
                .lateness_host_ns
                .saturating_sub(earlier.lateness_host_ns),
        }
    }
}

/// Everything that the device counts: one [`QueueCounters`] for each queue identifier, 0 (the
/// admin queue) first; and the exits of its guest, where somebody counts them. A clone stands still.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    queues: Vec<QueueCounters>,
    /// What fault rules have done.
    pub faults: FaultCounters,
    exits: Exits,
}

/// What fault rules have done since the device was made, whichever rules there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounters {
    /// Commands that a rule has acted on.
    pub acted: u64,
    /// Power cuts among them.
    pub power_cuts: u64,
}

impl FaultCounters {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            acted: self.acted.saturating_sub(earlier.acted),
            power_cuts: self.power_cuts.saturating_sub(earlier.power_cuts),
        }
    }
}

/// The guest's exits.
#[derive(Debug, Default)]
enum Exits {
    /// Nobody counts them.
    #[default]
    Unknown,
    /// They are being counted.
    Live(Arc<VmExits>),
    /// So many there were.
    Taken(ExitTotals),
}

impl Exits {
    fn totals(&self) -> Option<ExitTotals> {
        match self {
            Self::Unknown => None,
            Self::Live(exits) => Some(exits.totals()),
            Self::Taken(totals) => Some(*totals),
        }
    }
}

impl From<Option<ExitTotals>> for Exits {
    fn from(totals: Option<ExitTotals>) -> Self {
        totals.map_or(Self::Unknown, Self::Taken)
    }
}

impl Clone for Exits {
    fn clone(&self) -> Self {
        self.totals().into()
    }
}

impl PartialEq for Exits {
    fn eq(&self, other: &Self) -> bool {
        self.totals() == other.totals()
    }
}

impl Eq for Exits {}

impl Counters {
    /// Zeros for `queues` queue identifiers, the admin queue included.
    pub fn new(queues: usize) -> Self {
        Self {
            queues: vec![QueueCounters::default(); queues],
            faults: FaultCounters::default(),
            exits: Exits::Unknown,
        }
    }

    /// Counters read from elsewhere.
    pub fn from_parts(
        queues: Vec<QueueCounters>,
        faults: FaultCounters,
        exits: Option<ExitTotals>,
    ) -> Self {
        Self {
            queues,
            faults,
            exits: exits.into(),
        }
    }

    /// Says who counts the guest's exits.
    pub fn set_exits(&mut self, exits: Arc<VmExits>) {
        self.exits = Exits::Live(exits);
    }

    /// The guest's exits, if somebody counts them.
    pub fn exits(&self) -> Option<ExitTotals> {
        self.exits.totals()
    }

    /// The guest's exits by reason and place, if somebody is counting them.
    pub fn exit_counts(&self) -> Option<ExitCounts> {
        match &self.exits {
            Exits::Live(exits) => Some(exits.snapshot()),
            Exits::Unknown | Exits::Taken(_) => None,
        }
    }

    /// All queues.
    pub fn queues(&self) -> &[QueueCounters] {
        &self.queues
    }

    /// The counters of one queue, if the device has such an identifier.
    pub fn queue_mut(&mut self, qid: u16) -> Option<&mut QueueCounters> {
        self.queues.get_mut(usize::from(qid))
    }

    /// Adds what `other` counted of queues, and lets it begin anew.
    pub fn take_over(&mut self, other: &mut Self) {
        for (mine, theirs) in self.queues.iter_mut().zip(&mut other.queues) {
            // Whatever else is counted, one of these is: most queues were not the other's at all.
            let completed = theirs.polled + theirs.interrupted + theirs.interrupts;
            if completed > 0 || theirs.opcodes != [0; OPCODE_SLOTS] {
                mine.add(theirs);
                *theirs = QueueCounters::default();
            }
        }
    }

    /// What was counted since `earlier`, an older state of the same device.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let nothing = QueueCounters::default();
        let before = |index| earlier.queues.get(index).unwrap_or(&nothing);
        let queues = self.queues.iter().enumerate();
        let exits = self.exits().zip(earlier.exits());
        Self {
            queues: queues.map(|(i, queue)| queue.since(before(i))).collect(),
            faults: self.faults.since(&earlier.faults),
            exits: exits.map(|(now, then)| now.since(&then)).into(),
        }
    }

    /// The figures of all I/O queues together, and the exits.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary {
            exits: self.exits(),
            ..Summary::default()
        };
        let mut lateness = Histogram::default();
        let mut host_ns = 0;
        for queue in self.queues.iter().skip(1) {
            summary.polled_commands += queue.polled;
            summary.irq_commands += queue.interrupted;
            summary.interrupts += queue.interrupts;
            summary.doorbell_traps += queue.sq_doorbell_traps + queue.cq_doorbell_traps;
            summary.bytes_read += queue.bytes_read;
            summary.bytes_written += queue.bytes_written;
            summary.errors += queue.errors;
            summary.early += queue.early;
            lateness.add(&queue.lateness);
            host_ns += queue.lateness_host_ns;
        }
        summary.lateness = lateness.percentiles();
        summary.lateness_sum_ns = lateness.sum();
        summary.lateness_host_ns = host_ns;
        summary
    }
}

/// Totals over the I/O queues, for people (`Display`) and for JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Commands completed on queues without interrupts.
    pub polled_commands: u64,
    /// Commands completed on queues with interrupts.
    pub irq_commands: u64,
    /// Interrupts raised.
    pub interrupts: u64,
    /// Doorbell writes that trapped.
    pub doorbell_traps: u64,
    /// Bytes that the guest read.
    pub bytes_read: u64,
    /// Bytes that the guest wrote.
    pub bytes_written: u64,
    /// Commands that failed.
    pub errors: u64,
    /// Timed completions that were posted before their time: a fault of the device.
    pub early: u64,
    /// How long after their time completions were posted.
    pub lateness: Percentiles,
    /// The lateness of all completions together.
    pub lateness_sum_ns: u64,
    /// The part of it during which the host kept the device from its core.
    pub lateness_host_ns: u64,
    /// The guest's exits, whatever for, if somebody counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitTotals>,
}

impl Summary {
    /// Commands completed on I/O queues.
    pub fn commands(&self) -> u64 {
        self.polled_commands.saturating_add(self.irq_commands)
    }

    /// What part of all lateness is the host's doing, 0 to 1; 0 where nothing was late.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn lateness_host_share(&self) -> f64 {
        self.lateness_host_ns as f64 / self.lateness_sum_ns.max(1) as f64
    }

    /// Guest exits and ioeventfd signals for each command completed on an I/O queue; `None` when
    /// nobody counts them or there were no commands.
    pub fn exits_per_io(&self) -> Option<f64> {
        self.exits?.per_command(self.commands())
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} commands polled, {} by interrupt ({} interrupts), {} failed; {} doorbells trapped; \
             {} bytes read, {} written; lateness p50 {} ns, p99 {} ns, max {} ns, {:.0} % of it the \
             host's, {} early",
            self.polled_commands,
            self.irq_commands,
            self.interrupts,
            self.errors,
            self.doorbell_traps,
            self.bytes_read,
            self.bytes_written,
            self.lateness.p50_ns,
            self.lateness.p99_ns,
            self.lateness.max_ns,
            100.0 * self.lateness_host_share(),
            self.early,
        )?;
        if let Some(exits) = self.exits {
            write!(f, "; {exits}")?;
        }
        match self.exits_per_io() {
            Some(each) => write!(f, ", {each:.3} exits for each command"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

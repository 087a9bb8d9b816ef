// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The vendor log page C0h: the device's counters, in-band.
//!
//! A header of 4096 bytes, then one record of 4096 bytes for each queue identifier from 0 (the
//! admin queue) to the largest that the controller offers. All numbers are little endian. Counters
//! only grow while the device lives: a reader takes the page before and after a job and subtracts.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::histogram::{BUCKETS, Histogram, SUB_BUCKET_BITS};
use super::{Counters, ExitTotals, FaultCounters, OPCODE_SLOTS, QueueCounters};

/// Log identifier of the page.
pub const LOG_COUNTERS: u8 = 0xC0;

/// First eight bytes of the page.
pub const MAGIC: [u8; 8] = *b"HIPRI-C0";

/// Version of the layout below. A reader refuses what it does not know. Fields that take the place of
/// reserved bytes and mean nothing when these are 0 do not make another version.
pub const VERSION: u32 = 1;

/// Start of the page.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PageHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// Size of this header in bytes: the first record follows.
    pub header_bytes: U32,
    /// Size of a record in bytes.
    pub record_bytes: U32,
    /// Number of records.
    pub records: U32,
    /// Bits that choose a bucket inside a power of two ([`SUB_BUCKET_BITS`]).
    pub sub_bucket_bits: U32,
    /// Buckets of a record's lateness histogram ([`BUCKETS`]).
    pub buckets: U32,
    /// The device's clock when the page was taken, in nanoseconds.
    pub time_ns: U64,
    /// [`EXITS_COUNTED`], [`EXITS_OF_KERNEL`].
    pub exit_flags: U32,
    reserved_dword: U32,
    /// Guest exits.
    pub guest_exits: U64,
    /// Guest writes that an ioeventfd swallowed.
    pub ioeventfd_signals: U64,
    /// Interruptions of the guest by signals of the host.
    pub host_interruptions: U64,
    /// What the kernel counts as exits.
    pub kernel_exits: U64,
    /// Commands that a fault rule has acted on.
    pub faults_acted: U64,
    /// Power cuts among them.
    pub power_cuts: U64,
    reserved: [u8; 4000],
}

/// Flag of the header: somebody counts the guest's exits, so that the figures for them mean
/// something.
pub const EXITS_COUNTED: u32 = 1 << 0;

/// Flag of the header: the kernel's own count of exits is known too.
pub const EXITS_OF_KERNEL: u32 = 1 << 1;

/// Flag of a record: a submission queue with this identifier exists now.
pub const RECORD_EXISTS: u16 = 1 << 0;

/// Flag of a record: the completion queue with this identifier exists and has interrupts disabled,
/// so that its completions must be polled for.
pub const RECORD_POLLED: u16 = 1 << 1;

/// The counters of one queue identifier.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct QueueRecord {
    /// Queue identifier.
    pub qid: U16,
    /// [`RECORD_EXISTS`], [`RECORD_POLLED`].
    pub flags: U16,
    /// How often the submission queue was created.
    pub creations: U32,
    /// Commands completed on a completion queue without interrupts.
    pub polled: U64,
    /// Commands completed on a completion queue with interrupts.
    pub interrupted: U64,
    /// Interrupts raised for the completion queue.
    pub interrupts: U64,
    /// Writes to the tail doorbell that trapped.
    pub sq_doorbell_traps: U64,
    /// Writes to the head doorbell that trapped.
    pub cq_doorbell_traps: U64,
    /// Bytes that the guest read from namespaces.
    pub bytes_read: U64,
    /// Bytes that the guest wrote to namespaces.
    pub bytes_written: U64,
    /// Commands that completed with another status than success.
    pub errors: U64,
    /// Commands by opcode: 00h to 0Eh, then all others.
    pub opcodes: [U64; OPCODE_SLOTS],
    /// Sum of the lateness of all timed completions, in nanoseconds.
    pub lateness_sum_ns: U64,
    /// Largest lateness, in nanoseconds.
    pub lateness_max_ns: U64,
    /// Timed completions posted before their time: always 0, but counted, not claimed.
    pub early: U64,
    /// Part of that sum during which the host kept the device from its core, in nanoseconds.
    pub lateness_host_ns: U64,
    reserved: [u8; 152],
    /// Lateness histogram.
    pub lateness: [U64; BUCKETS],
}

const _: () = assert!(size_of::<PageHeader>() == 4096);
const _: () = assert!(size_of::<QueueRecord>() == 4096);

/// Bytes that are not a counters page that this version knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Too short for what its header promises.
    #[error("the counters page is cut short: {have} bytes of {need}")]
    Short {
        /// Bytes given.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Another device, or another version.
    #[error("not a counters page of version {VERSION}")]
    Foreign,
}

/// Size of the page in bytes for `queues` queue identifiers, the admin queue included.
pub const fn page_bytes(queues: usize) -> usize {
    size_of::<PageHeader>() + queues * size_of::<QueueRecord>()
}

/// What the controller tells about a queue apart from its counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueState {
    /// The submission queue exists.
    pub exists: bool,
    /// The completion queue exists and has interrupts disabled.
    pub polled: bool,
}

/// Writes the whole page. `state` tells about a queue identifier.
pub fn write_page(counters: &Counters, now: u64, state: impl Fn(u16) -> QueueState) -> Vec<u8> {
    let mut page = Vec::with_capacity(page_bytes(counters.queues().len()));
    let mut header = PageHeader::new_zeroed();
    header.magic = MAGIC;
    header.version.set(VERSION);
    header.header_bytes.set(bytes_of::<PageHeader>());
    header.record_bytes.set(bytes_of::<QueueRecord>());
    let records = u32::try_from(counters.queues().len()).unwrap_or(u32::MAX);
    header.records.set(records);
    header.sub_bucket_bits.set(SUB_BUCKET_BITS);
    header.buckets.set(u32::try_from(BUCKETS).unwrap_or(0));
    header.time_ns.set(now);
    header.faults_acted.set(counters.faults.acted);
    header.power_cuts.set(counters.faults.power_cuts);
    if let Some(exits) = counters.exits() {
        write_exits(&mut header, &exits);
    }
    page.extend_from_slice(header.as_bytes());
    for (qid, queue) in (0..).zip(counters.queues()) {
        page.extend_from_slice(record(qid, queue, state(qid)).as_bytes());
    }
    page
}

fn write_exits(header: &mut PageHeader, exits: &ExitTotals) {
    let kernel = exits.kernel_exits.map_or(0, |_| EXITS_OF_KERNEL);
    header.exit_flags.set(EXITS_COUNTED | kernel);
    header.guest_exits.set(exits.guest_exits);
    header.ioeventfd_signals.set(exits.ioeventfd_signals);
    header.host_interruptions.set(exits.host_interruptions);
    header.kernel_exits.set(exits.kernel_exits.unwrap_or(0));
}

fn exits_of(header: &PageHeader) -> Option<ExitTotals> {
    let flag = |flag| header.exit_flags.get() & flag != 0;
    flag(EXITS_COUNTED).then(|| ExitTotals {
        guest_exits: header.guest_exits.get(),
        ioeventfd_signals: header.ioeventfd_signals.get(),
        host_interruptions: header.host_interruptions.get(),
        kernel_exits: flag(EXITS_OF_KERNEL).then(|| header.kernel_exits.get()),
    })
}

fn bytes_of<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

fn record(qid: u16, queue: &QueueCounters, state: QueueState) -> QueueRecord {
    let mut record = QueueRecord::new_zeroed();
    let exists = if state.exists { RECORD_EXISTS } else { 0 };
    let polled = if state.polled { RECORD_POLLED } else { 0 };
    record.qid.set(qid);
    record.flags.set(exists | polled);
    record.creations.set(queue.creations);
    record.polled.set(queue.polled);
    record.interrupted.set(queue.interrupted);
    record.interrupts.set(queue.interrupts);
    record.sq_doorbell_traps.set(queue.sq_doorbell_traps);
    record.cq_doorbell_traps.set(queue.cq_doorbell_traps);
    record.bytes_read.set(queue.bytes_read);
    record.bytes_written.set(queue.bytes_written);
    record.errors.set(queue.errors);
    record.early.set(queue.early);
    record.opcodes = queue.opcodes.map(U64::new);
    record.lateness_sum_ns.set(queue.lateness.sum());
    record.lateness_max_ns.set(queue.lateness.max());
    record.lateness_host_ns.set(queue.lateness_host_ns);
    record.lateness = queue.lateness.buckets().map(U64::new);
    record
}

/// A page read back: its time, the counters of every queue, and the exits if they were counted.
#[derive(Clone, Debug)]
pub struct CountersPage {
    /// The device's clock when the page was taken, in nanoseconds.
    pub time_ns: u64,
    /// The counters.
    pub counters: Counters,
}

impl CountersPage {
    /// Reads a page, as [`write_page`] made it.
    ///
    /// # Errors
    /// [`PageError`] when it is cut short or not of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        let short = |need| PageError::Short {
            have: bytes.len(),
            need,
        };
        let (header, rest) =
            PageHeader::read_from_prefix(bytes).map_err(|_| short(size_of::<PageHeader>()))?;
        let known = header.magic == MAGIC
            && header.version == VERSION
            && header.header_bytes == bytes_of::<PageHeader>()
            && header.record_bytes == bytes_of::<QueueRecord>();
        if !known {
            return Err(PageError::Foreign);
        }
        let count = header.records.get() as usize;
        let need = count
            .checked_mul(size_of::<QueueRecord>())
            .ok_or(PageError::Foreign)?;
        let records = rest
            .get(..need)
            .ok_or_else(|| short(need.saturating_add(size_of::<PageHeader>())))?;
        let queues = records
            .chunks_exact(size_of::<QueueRecord>())
            .filter_map(|chunk| QueueRecord::read_from_bytes(chunk).ok())
            .map(|record| counters_of(&record))
            .collect();
        let faults = FaultCounters {
            acted: header.faults_acted.get(),
            power_cuts: header.power_cuts.get(),
        };
        Ok(Self {
            time_ns: header.time_ns.get(),
            counters: Counters::from_parts(queues, faults, exits_of(&header)),
        })
    }
}

fn counters_of(record: &QueueRecord) -> QueueCounters {
    QueueCounters {
        creations: record.creations.get(),
        polled: record.polled.get(),
        interrupted: record.interrupted.get(),
        interrupts: record.interrupts.get(),
        sq_doorbell_traps: record.sq_doorbell_traps.get(),
        cq_doorbell_traps: record.cq_doorbell_traps.get(),
        bytes_read: record.bytes_read.get(),
        bytes_written: record.bytes_written.get(),
        errors: record.errors.get(),
        early: record.early.get(),
        opcodes: record.opcodes.map(U64::get),
        lateness: Histogram::from_parts(
            record.lateness.map(U64::get),
            record.lateness_sum_ns.get(),
            record.lateness_max_ns.get(),
        ),
        lateness_host_ns: record.lateness_host_ns.get(),
    }
}

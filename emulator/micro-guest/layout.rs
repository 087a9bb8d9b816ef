// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the micro-guest and its host agree on: the guest's memory map, the parameter page, the
//! result pages. Included by both sides, so nothing here depends on either.
//!
//! Guest physical memory is identity-mapped for user mode:
//!
//! ```text
//! 0000_1000  page tables (not mapped)          0010_0000  program
//! 0001_0000  parameters                        0020_0000  windows, 64 KiB a vCPU
//! 0001_1000  results, a page a vCPU            0040_0000  the driver's memory, to the end of RAM
//! 0003_0000  latencies, 16 KiB a vCPU          d000_0000  nobody answers here
//! 0008_0000  stacks, 32 KiB a vCPU             e000_0000  ECAM of bus 0; e800_0000 BAR0; ef00_0000 exit
//! ```

/// vCPUs that there is room for.
pub const MAX_VCPUS: u64 = 16;

/// Where the page tables begin.
pub const PAGE_TABLES: u64 = 0x1000;
/// Where the page tables' room ends.
pub const PAGE_TABLES_END: u64 = 0x1_0000;
/// The parameter page: [`Parameters`], and [`HostWords`] in its second half.
pub const PARAMETERS: u64 = 0x1_0000;
/// Where the words are that the host changes while the guest runs.
pub const HOST_WORDS: u64 = PARAMETERS + 0x800;
/// The first vCPU's [`Results`]; the next one's are a page further.
pub const RESULTS: u64 = 0x1_1000;
/// Bytes of a vCPU's result page.
pub const RESULTS_STRIDE: u64 = 0x1000;
/// The first vCPU's latency histogram: [`LATENCY_BUCKETS`] words.
pub const LATENCIES: u64 = 0x3_0000;
/// Bytes of a vCPU's latency histogram.
pub const LATENCIES_STRIDE: u64 = 0x4000;
/// The lowest stack.
pub const STACKS: u64 = 0x8_0000;
/// Bytes of a vCPU's stack.
pub const STACK_BYTES: u64 = 0x8000;
/// Where the program is linked, at most [`WINDOWS`] - `PROGRAM` bytes of it.
pub const PROGRAM: u64 = 0x10_0000;
/// The first vCPU's windows: how many ticks each [`WINDOW_COMMANDS`] commands took, 32 bits each.
pub const WINDOWS: u64 = 0x20_0000;
/// Bytes of a vCPU's windows.
pub const WINDOWS_STRIDE: u64 = 0x1_0000;
/// From here to the end of RAM the driver uses memory as it likes.
pub const ARENA: u64 = 0x40_0000;
/// The least RAM that a guest runs in, in bytes.
pub const LEAST_RAM: u64 = 32 << 20;
/// RAM must end below this.
pub const RAM_LIMIT: u64 = 0xC000_0000;

/// A mapped guest physical address that is neither RAM nor anything else.
pub const NOBODY: u64 = 0xD000_0000;
/// Memory-mapped configuration space of bus 0.
pub const ECAM: u64 = 0xE000_0000;
/// Bytes of it.
pub const ECAM_BYTES: u64 = 1 << 20;
/// Where the guest puts BAR0.
pub const BAR0: u64 = 0xE800_0000;
/// Bytes of BAR0.
pub const BAR0_BYTES: u64 = 0x4000;
/// A write of 4 bytes ends the guest; the value is one of the `EXIT_` codes.
pub const EXIT: u64 = 0xEF00_0000;

/// Exit: the result page tells how it went.
pub const EXIT_DONE: u32 = 0;
/// Exit: the program panicked; the result page tells where.
pub const EXIT_PANIC: u32 = 1;
/// Exit: the parameter page is not of this program's kind.
pub const EXIT_BAD_PARAMETERS: u32 = 2;

/// Parameters of this layout ("hipriMG" and its version).
pub const MAGIC: u64 = 0x6869_7072_694D_4701;

/// Doorbells: each write of a register traps.
pub const DOORBELLS_EXIT: u64 = 0;
/// Doorbells: Doorbell Buffer Config.
pub const DOORBELLS_SHADOW: u64 = 1;
/// Doorbells: the registers are plain memory.
pub const DOORBELLS_MAPPED: u64 = 2;

/// Scenario: the controller comes up, tells who it is, makes queues, goes down.
pub const SCENARIO_BRING_UP: u64 = 1;
/// Scenario: reads and writes with data check.
pub const SCENARIO_DATA: u64 = 2;
/// Scenario: MSI-X masks, pending bits, table.
pub const SCENARIO_MSIX: u64 = 3;
/// Scenario: controller resets, and queues made and deleted, under I/O.
pub const SCENARIO_RESETS: u64 = 4;
/// Scenario: wrong doorbells, wrong addresses, accesses of every width.
pub const SCENARIO_HOSTILE: u64 = 5;
/// Scenario: random writes everywhere.
pub const SCENARIO_GARBAGE: u64 = 6;
/// Scenario: a loop without exits and without end.
pub const SCENARIO_SPIN: u64 = 7;
/// Scenario: an exception that nobody handles.
pub const SCENARIO_TRIPLE_FAULT: u64 = 8;
/// Scenario: accesses to an address where there is nothing.
pub const SCENARIO_NOBODY: u64 = 9;
/// Scenario: how fast.
pub const SCENARIO_BENCH: u64 = 10;

/// Verdict: the scenario has not ended.
pub const VERDICT_RUNNING: u64 = 0;
/// Verdict: every check held.
pub const VERDICT_PASS: u64 = 1;
/// Verdict: a check failed; the page tells which.
pub const VERDICT_FAIL: u64 = 2;
/// Verdict: the program panicked.
pub const VERDICT_PANIC: u64 = 3;
/// Verdict: this vCPU had nothing to do.
pub const VERDICT_UNUSED: u64 = 4;

/// Commands in a window of a measurement.
pub const WINDOW_COMMANDS: u64 = 1024;
/// Windows that there is room for; later ones are not noted.
pub const MAX_WINDOWS: u64 = WINDOWS_STRIDE / 4;

/// Buckets in each factor of two of a latency, as a power of two.
pub const LATENCY_PRECISION: u32 = 6;
/// Buckets of a latency histogram.
pub const LATENCY_BUCKETS: u64 = 2048;

/// The bucket that counts a latency of `ticks`: the value itself below 128, then 64 buckets for
/// each factor of two. The last bucket takes what is longer than it can tell.
#[inline]
pub const fn latency_bucket(ticks: u64) -> u64 {
    let above = (ticks | 1).ilog2().saturating_sub(LATENCY_PRECISION);
    let bucket = ((above as u64) << LATENCY_PRECISION) + (ticks >> above);
    if bucket < LATENCY_BUCKETS {
        bucket
    } else {
        LATENCY_BUCKETS - 1
    }
}

/// The least latency in ticks that `bucket` counts.
pub const fn latency_of_bucket(bucket: u64) -> u64 {
    let above = (bucket >> LATENCY_PRECISION).saturating_sub(1);
    (bucket - (above << LATENCY_PRECISION)) << above
}

/// The result page of a vCPU.
pub const fn results(vcpu: u64) -> u64 {
    RESULTS + vcpu * RESULTS_STRIDE
}

/// The latency histogram of a vCPU.
pub const fn latencies(vcpu: u64) -> u64 {
    LATENCIES + vcpu * LATENCIES_STRIDE
}

/// The windows of a vCPU.
pub const fn windows(vcpu: u64) -> u64 {
    WINDOWS + vcpu * WINDOWS_STRIDE
}

/// Where a vCPU's stack begins; it grows downwards.
pub const fn stack_top(vcpu: u64) -> u64 {
    STACKS + (vcpu + 1) * STACK_BYTES
}

/// Whose stack `address` is in.
pub const fn vcpu_of_stack(address: u64) -> u64 {
    (address - STACKS) / STACK_BYTES
}

/// What the guest is to do. Written by the host before the guest starts.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Parameters {
    /// [`MAGIC`].
    pub magic: u64,
    /// A `SCENARIO_` number.
    pub scenario: u64,
    /// A `DOORBELLS_` number.
    pub doorbells: u64,
    /// vCPUs that run the program, 1 to [`MAX_VCPUS`].
    pub vcpus: u64,
    /// Seed of all that is random.
    pub seed: u64,
    /// Bytes of RAM from address 0 on.
    pub ram_bytes: u64,
    /// How long the device may take for anything, in ticks of the time stamp counter.
    pub patience_ticks: u64,
    /// Bytes of a logical block of namespace 1.
    pub block_bytes: u64,
    /// Logical blocks of namespace 1.
    pub blocks: u64,
    /// I/O queue pairs to make.
    pub queue_pairs: u64,
    /// Commands in flight on a queue, at most.
    pub depth: u64,
    /// I/O commands to execute: in all (data), a life (resets), a vCPU (bench).
    pub commands: u64,
    /// Controller resets.
    pub resets: u64,
    /// Rounds of making and deleting queues.
    pub queue_rounds: u64,
    /// Distance of the offsets at which BAR0 and configuration space are read in every width.
    pub stride: u64,
    /// How long garbage is written, in ticks, unless the host says stop before.
    pub duration_ticks: u64,
    /// Bytes of each I/O command of a measurement, a multiple of the block, at most 4096.
    pub transfer_bytes: u64,
    /// The measurement's commands are reads (0) or writes (1).
    pub writes: u64,
    /// Commands are made ready until this many wait, then the doorbell is rung, at least 1.
    pub batch: u64,
}

/// What the host changes while the guest runs.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct HostWords {
    /// The last phase of [`Results::phase`] that the host has taken note of.
    pub acknowledged: u64,
    /// Not 0: the guest is to come to an end.
    pub stop: u64,
}

/// Phase of a measurement: all is ready; it begins when the host has taken note.
pub const PHASE_READY: u64 = 1;
/// Phase of a measurement: all commands have completed; the guest goes on when the host has taken
/// note.
pub const PHASE_DONE: u64 = 2;

/// How it went. Written by the guest.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Results {
    /// A `VERDICT_` number.
    pub verdict: u64,
    /// Where a measurement stands: 0 or a `PHASE_` number.
    pub phase: u64,
    /// Grows while the scenario gets on.
    pub progress: u64,
    /// The check that failed: its line in the source file.
    pub line: u64,
    /// What the check wanted.
    pub expected: u64,
    /// What there was.
    pub seen: u64,
    /// More about it, as the message says.
    pub detail: u64,
    /// Bytes of `file`.
    pub file_length: u64,
    /// Bytes of `message`.
    pub message_length: u64,
    /// Source file of the check.
    pub file: [[u8; 8]; 8],
    /// What was checked.
    pub message: [[u8; 8]; 16],
    /// What was done.
    pub counts: Counts,
    /// Ticks at the begin of a measurement.
    pub start_ticks: u64,
    /// Ticks at its end.
    pub end_ticks: u64,
    /// Windows noted.
    pub windows: u64,
}

/// What a scenario did, so that the host can tell that it did anything.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Counts {
    /// I/O commands completed.
    pub commands: u64,
    /// Blocks whose data were compared.
    pub blocks_checked: u64,
    /// Blocks written.
    pub blocks_written: u64,
    /// Most commands in flight at once.
    pub deepest: u64,
    /// Transfers with PRP1 alone.
    pub one_page: u64,
    /// Transfers with PRP2 as a second page.
    pub two_pages: u64,
    /// Transfers with a PRP list.
    pub lists: u64,
    /// Transfers with a chain of PRP lists.
    pub chains: u64,
    /// Longest transfer in bytes.
    pub longest: u64,
    /// Controller resets.
    pub resets: u64,
    /// Commands that were in flight at a reset.
    pub lost_in_reset: u64,
    /// Queue pairs made and deleted again.
    pub queue_rounds: u64,
    /// Commands that were in flight when their queue was deleted.
    pub lost_in_deletion: u64,
    /// Asynchronous events that came as they should.
    pub events: u64,
    /// Commands refused with the right status.
    pub refusals: u64,
    /// Pending bits seen set and then clear.
    pub pending_bits: u64,
    /// Reads of BAR0.
    pub register_reads: u64,
    /// Reads of configuration space.
    pub config_reads: u64,
    /// Random writes.
    pub random_writes: u64,
    /// Doorbell registers written by I/O queues.
    pub doorbell_registers: u64,
}

const _: () = assert!(size_of::<Parameters>() <= 0x800);
const _: () = assert!(size_of::<Results>() <= 0x1000);
const _: () = assert!(stack_top(MAX_VCPUS - 1) <= PROGRAM);
const _: () = assert!(windows(MAX_VCPUS) <= ARENA);
const _: () = assert!(latencies(MAX_VCPUS) <= STACKS);
const _: () = assert!(LATENCY_BUCKETS * 8 <= LATENCIES_STRIDE);

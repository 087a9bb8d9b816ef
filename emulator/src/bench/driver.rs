// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A driver in this process that does as little as a driver can: no system call, no interrupt, one
//! polled queue pair, shadow doorbells. The device is served by its own poller on another core.

use std::convert::Infallible;
use std::hint::spin_loop;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vm_memory::{VolatileMemory, VolatileSlice};
use zerocopy::{FromBytes, IntoBytes};

use super::BenchError;
use crate::controller::BlockSize;
use crate::dma::GuestRam;
use crate::drive::{Clock, FrontEnd, Poller, PollerGone, PollerOptions, pin_thread};
use crate::engine::DOORBELLS;
use crate::observe::Counters;
use crate::pci::{Delivery, MsiMessage, MsiPort, NvmeFunction, Region};
use crate::reference::{Random, WINDOW, Windows};
use crate::spec::{AdminOpcode, CompletionQueueEntry, NvmOpcode, SubmissionQueueEntry};
use crate::timing::Nanos;

/// Where the driver's RAM begins, and the places in it.
const RAM: u64 = 0x1000_0000;
const RAM_BYTES: usize = 4 << 20;
const ADMIN_SQ: u64 = RAM;
const ADMIN_CQ: u64 = RAM + 0x1000;
const SHADOW: u64 = RAM + 0x2000;
const EVENTS: u64 = RAM + 0x3000;
const SQ: u64 = RAM + 0x10_000;
const CQ: u64 = RAM + 0x20_000;
const BUFFERS: u64 = RAM + 0x20_0000;
const ADMIN_ENTRIES: u32 = 32;
/// Entries of the I/O queues.
const ENTRIES: u16 = 256;
/// Most commands in flight.
pub const MOST_IN_FLIGHT: u16 = ENTRIES - 1;
/// How long the device may take to answer an admin command or to become ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// What each command of a run does, at a random place.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    opcode: NvmOpcode,
    bytes: u32,
}

impl Access {
    /// Reads of so many bytes, a multiple of the block and at most 4096.
    pub const fn read(bytes: u32) -> Self {
        let opcode = NvmOpcode::READ;
        Self { opcode, bytes }
    }

    /// Writes likewise.
    pub const fn write(bytes: u32) -> Self {
        let opcode = NvmOpcode::WRITE;
        Self { opcode, bytes }
    }
}

/// Is told of each command of a run. `()` does not listen, and costs nothing.
pub trait Watch: Send {
    /// The doorbell is about to be rung for the command with this identifier.
    #[inline]
    fn rung(&mut self, _cid: u16) {}

    /// Its completion has been seen.
    #[inline]
    fn seen(&mut self, _cid: u16) {}
}

impl Watch for () {}

/// How long each command of a run took, from its doorbell until its completion was seen.
pub struct Latencies {
    clock: Clock,
    rung: Vec<Nanos>,
    taken: Vec<Nanos>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            clock: Clock::new(),
            rung: vec![0; usize::from(ENTRIES)],
            taken: Vec::new(),
        }
    }
}

impl Latencies {
    /// The median, in nanoseconds; 0 without commands.
    pub fn median(&mut self) -> Nanos {
        median(&mut self.taken)
    }
}

/// The one in the middle; 0 of none.
pub(super) fn median(times: &mut [Nanos]) -> Nanos {
    let middle = times.len() / 2;
    match times {
        [] => 0,
        times => *times.select_nth_unstable(middle).1,
    }
}

impl Watch for Latencies {
    #[inline]
    fn rung(&mut self, cid: u16) {
        self.rung[usize::from(cid)] = self.clock.now();
    }

    #[inline]
    fn seen(&mut self, cid: u16) {
        let now = self.clock.now();
        self.taken.push(now - self.rung[usize::from(cid)]);
    }
}

/// The poller's side of a driver that only writes to memory.
struct InProcess;

impl MsiPort for InProcess {
    /// Admin completions while the device is set up; MSI-X is off.
    fn send(&mut self, _: u16, _: MsiMessage) -> Delivery {
        Delivery::Sent
    }
}

impl FrontEnd for InProcess {
    type Error = Infallible;

    fn serve(&mut self, _: Nanos, _: &mut NvmeFunction) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn flush(&mut self, _: &mut NvmeFunction) -> Result<(), Infallible> {
        Ok(())
    }

    fn prepare_sleep(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }

    fn resume_polling(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn notifiers(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn clear_notifications(&mut self) {}
}

/// A device, served by a poller, and the state of its driver.
pub struct Driver {
    ram: GuestRam,
    /// `None` only while it is dropped.
    poller: Option<Poller<InProcess>>,
    /// Of the namespace.
    bytes: u64,
    block: BlockSize,
    rings: Rings,
    random: Random,
}

/// Where the driver is on its I/O queues.
struct Rings {
    sq_tail: u16,
    cq_head: u16,
    phase: u32,
}

impl Driver {
    /// Brings up `function`, whose namespace 1 has so many bytes, makes its first queue pair and has
    /// a poller on `core` serve it. It must offer shadow doorbells.
    ///
    /// # Errors
    /// When the host has no memory, there is no such core, or the device does not do as it should.
    pub fn start(
        function: NvmeFunction,
        bytes: u64,
        block: BlockSize,
        core: usize,
    ) -> Result<Self, BenchError> {
        let ram = GuestRam::anonymous(&[(RAM, RAM_BYTES)]).map_err(wrong)?;
        let clock = Clock::new();
        let function = BringUp::new(function, &ram, &clock).run()?;
        let options = PollerOptions {
            cpu: Some(core),
            ..PollerOptions::default()
        };
        let poller = Poller::spawn(function, clock, options)?;
        poller.handle().start(InProcess).map_err(wrong)?;
        Ok(Self {
            ram,
            poller: Some(poller),
            bytes,
            block,
            rings: Rings {
                sq_tail: 0,
                cq_head: 0,
                phase: 1,
            },
            random: Random::new(7),
        })
    }

    /// Runs `commands` commands, `depth` at a time, from `core`, and gives the time from the first
    /// doorbell to the last completion; `windows` gets that of every [`WINDOW`] commands.
    ///
    /// # Errors
    /// When the core cannot be used, or a command fails.
    pub fn run(
        &mut self,
        core: usize,
        access: Access,
        depth: u16,
        commands: u64,
        windows: &mut Windows,
        watch: &mut impl Watch,
    ) -> Result<Duration, BenchError> {
        let Self {
            ram,
            rings,
            random,
            bytes,
            block,
            ..
        } = self;
        let mut run = || {
            pin_thread(core)?;
            let mut running = Running {
                queues: Queues::new(ram)?,
                rings,
                random,
                places: *bytes / u64::from(access.bytes),
                blocks: access.bytes >> block.shift(),
                opcode: access.opcode.0,
                free: (0..depth.clamp(1, MOST_IN_FLIGHT)).collect(),
                watch,
            };
            let start = Instant::now();
            running.run(commands, windows)?;
            Ok(start.elapsed())
        };
        std::thread::scope(|scope| {
            let driver = scope.spawn(&mut run);
            let panicked = |_| Err(BenchError::Device("the driver panicked".into()));
            driver.join().unwrap_or_else(panicked)
        })
    }

    /// What the device has counted.
    ///
    /// # Errors
    /// When its poller is gone.
    pub fn counters(&self) -> Result<Counters, BenchError> {
        let poller = self.poller.as_ref().ok_or_else(|| wrong(PollerGone))?;
        let counters = poller
            .handle()
            .with_function(|function, _| function.engine().counters().clone());
        counters.map_err(wrong)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(poller) = self.poller.take() {
            // A poller that has panicked has said so.
            let _ = poller.end();
        }
    }
}

/// A device that is brought up, as a driver of the kernel does it.
struct BringUp<'a> {
    function: NvmeFunction,
    ram: &'a GuestRam,
    clock: &'a Clock,
    /// Of the admin queue; it is never full.
    tail: u16,
}

impl<'a> BringUp<'a> {
    fn new(mut function: NvmeFunction, ram: &'a GuestRam, clock: &'a Clock) -> Self {
        function.attach(ram.clone());
        Self {
            function,
            ram,
            clock,
            tail: 0,
        }
    }

    fn run(mut self) -> Result<NvmeFunction, BenchError> {
        // Memory space and bus master.
        self.function.write(0, Region::Config, 4, &[6, 0]);
        let entries = ADMIN_ENTRIES - 1;
        self.write(0x24, &(entries << 16 | entries).to_le_bytes());
        self.write(0x28, &ADMIN_SQ.to_le_bytes());
        self.write(0x30, &ADMIN_CQ.to_le_bytes());
        // IOCQES 4, IOSQES 6, EN.
        self.write(0x14, &(4_u32 << 20 | 6 << 16 | 1).to_le_bytes());
        self.step_until("become ready", |this| {
            let mut status = [0; 4];
            this.function.read(Region::Bar0, 0x1C, &mut status);
            (status[0] & 1 == 1).then_some(())
        })?;
        self.admin(SubmissionQueueEntry {
            opcode: AdminOpcode::DOORBELL_BUFFER_CONFIG.0,
            prp1: SHADOW.into(),
            prp2: EVENTS.into(),
            ..SubmissionQueueEntry::default()
        })?;
        let size = u32::from(ENTRIES - 1) << 16;
        self.admin(SubmissionQueueEntry {
            opcode: AdminOpcode::CREATE_CQ.0,
            prp1: CQ.into(),
            cdw10: (size | 1).into(),
            // Physically contiguous, no interrupts.
            cdw11: 1.into(),
            ..SubmissionQueueEntry::default()
        })?;
        self.admin(SubmissionQueueEntry {
            opcode: AdminOpcode::CREATE_SQ.0,
            prp1: SQ.into(),
            cdw10: (size | 1).into(),
            cdw11: (1 << 16 | 1).into(),
            ..SubmissionQueueEntry::default()
        })?;
        Ok(self.function)
    }

    /// Sends one admin command and waits for it.
    fn admin(&mut self, mut command: SubmissionQueueEntry) -> Result<(), BenchError> {
        let slot = u64::from(self.tail);
        command.cid = self.tail.into();
        let place = ADMIN_SQ + slot * 64;
        self.ram.write(place, command.as_bytes()).map_err(wrong)?;
        self.tail += 1;
        let tail = u32::from(self.tail).to_le_bytes();
        self.write(DOORBELLS, &tail);
        let status = self.step_until("answer an admin command", |this| {
            let mut raw = [0; 16];
            this.ram.read(ADMIN_CQ + slot * 16, &mut raw).ok()?;
            let entry = CompletionQueueEntry::read_from_bytes(&raw).ok()?;
            let status = entry.status_and_phase.get();
            (status & 1 == 1).then_some(status >> 1)
        })?;
        if status != 0 {
            let opcode = command.opcode;
            return Err(BenchError::Device(format!(
                "admin command {opcode:#x} failed with status {status:#x}"
            )));
        }
        self.write(DOORBELLS + 4, &tail);
        Ok(())
    }

    fn write(&mut self, offset: u64, value: &[u8]) {
        let now = self.clock.now();
        self.function.write(now, Region::Bar0, offset, value);
    }

    fn step_until<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, BenchError> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(result) = done(self) {
                return Ok(result);
            }
            let now = self.clock.now();
            self.function.step(now, &mut InProcess);
        }
        Err(BenchError::Device(format!("the device does not {what}")))
    }
}

fn wrong(error: impl std::fmt::Display) -> BenchError {
    BenchError::Device(error.to_string())
}

/// The driver's memory as it uses it.
struct Queues<'a> {
    sq: VolatileSlice<'a>,
    cq: VolatileSlice<'a>,
    /// The shadow doorbells of the I/O queue pair: tail, then head.
    doorbells: VolatileSlice<'a>,
}

impl<'a> Queues<'a> {
    fn new(ram: &'a GuestRam) -> Result<Self, BenchError> {
        let slice = |address, bytes: u16| {
            let slice = ram.slice(address, usize::from(bytes));
            slice.map_err(wrong)
        };
        Ok(Self {
            sq: slice(SQ, ENTRIES * 64)?,
            cq: slice(CQ, ENTRIES * 16)?,
            doorbells: slice(SHADOW + 8, 8)?,
        })
    }

    #[inline]
    fn put(&self, entry: u16, word: u16, value: u64) {
        let offset = usize::from(entry) * 64 + usize::from(word) * 8;
        if let Ok(word) = self.sq.get_atomic_ref::<AtomicU64>(offset) {
            word.store(value.to_le(), Ordering::Relaxed);
        }
    }

    #[inline]
    fn ring(&self, doorbell: usize, value: u16) {
        if let Ok(word) = self.doorbells.get_atomic_ref::<AtomicU32>(doorbell * 4) {
            word.store(u32::from(value).to_le(), Ordering::Release);
        }
    }

    /// Dword 3 of a completion.
    #[inline]
    fn completion(&self, entry: u16) -> u32 {
        let offset = usize::from(entry) * 16 + 12;
        let word = self.cq.get_atomic_ref::<AtomicU32>(offset);
        word.map_or(0, |word| u32::from_le(word.load(Ordering::Acquire)))
    }
}

/// One run of the driver.
struct Running<'a, W: Watch> {
    queues: Queues<'a>,
    rings: &'a mut Rings,
    random: &'a mut Random,
    /// Places of that size in the namespace.
    places: u64,
    blocks: u32,
    opcode: u8,
    /// Identifiers that no command has.
    free: Vec<u16>,
    watch: &'a mut W,
}

impl<W: Watch> Running<'_, W> {
    fn run(&mut self, commands: u64, windows: &mut Windows) -> Result<(), BenchError> {
        let (mut submitted, mut completed) = (0, 0);
        let (mut start, mut window_end) = (Instant::now(), WINDOW);
        while completed < commands {
            if completed >= window_end {
                windows.end(start);
                start = Instant::now();
                window_end += WINDOW;
            }
            let mut rings = false;
            while submitted < commands
                && let Some(cid) = self.free.pop()
            {
                self.submit(cid);
                submitted += 1;
                rings = true;
            }
            if rings {
                self.queues.ring(0, self.rings.sq_tail);
            }
            completed += self.reap()?;
        }
        Ok(())
    }

    #[inline]
    fn submit(&mut self, cid: u16) {
        let slot = self.rings.sq_tail;
        let slba = self.random.below(self.places) * u64::from(self.blocks);
        let first = 1 << 32 | u64::from(cid) << 16 | u64::from(self.opcode);
        self.queues.put(slot, 0, first);
        self.queues.put(slot, 3, BUFFERS + u64::from(cid) * 4096);
        self.queues.put(slot, 5, slba);
        self.queues.put(slot, 6, u64::from(self.blocks - 1));
        self.rings.sq_tail = (slot + 1) % ENTRIES;
        self.watch.rung(cid);
    }

    /// Takes every completion that is there.
    #[inline]
    fn reap(&mut self) -> Result<u64, BenchError> {
        let mut reaped = 0;
        loop {
            let dword = self.queues.completion(self.rings.cq_head);
            if dword >> 16 & 1 != self.rings.phase {
                break;
            }
            let cid = u16::try_from(dword & 0xFFFF).unwrap_or(0);
            self.watch.seen(cid);
            if dword >> 17 != 0 {
                let status = dword >> 17;
                return Err(BenchError::Device(format!(
                    "a command failed with status {status:#x}"
                )));
            }
            self.free.push(cid);
            reaped += 1;
            self.rings.cq_head += 1;
            if self.rings.cq_head == ENTRIES {
                (self.rings.cq_head, self.rings.phase) = (0, self.rings.phase ^ 1);
            }
        }
        if reaped == 0 {
            spin_loop();
        } else {
            self.queues.ring(1, self.rings.cq_head);
        }
        Ok(reaped)
    }
}

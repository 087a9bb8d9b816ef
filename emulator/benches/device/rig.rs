// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device with a driver that does as little as a driver can: no system call, no interrupt, one
//! polled queue pair, shadow doorbells.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use emulator::controller::{BlockSize, ControllerConfig, InterruptSink, NamespaceConfig};
use emulator::dma::GuestRam;
use emulator::drive::pin_thread;
use emulator::engine::{DOORBELLS, Engine};
use emulator::media::{self, Backing, MediaConfig};
use emulator::reference::{Random, WINDOW, Windows};
use emulator::spec::{AdminOpcode, CompletionQueueEntry, NvmOpcode, SubmissionQueueEntry};
use emulator::timing::{Model, Profile};
use vm_memory::{VolatileMemory, VolatileSlice};
use zerocopy::{FromBytes, IntoBytes};

/// Where guest RAM begins, and the places in it.
const RAM: u64 = 0x1000_0000;
const RAM_BYTES: usize = 64 << 20;
const ADMIN_SQ: u64 = RAM;
const ADMIN_CQ: u64 = RAM + 0x1000;
const SHADOW: u64 = RAM + 0x2000;
const EVENTS: u64 = RAM + 0x3000;
const SQ: u64 = RAM + 0x10_000;
const CQ: u64 = RAM + 0x20_000;
const BUFFERS: u64 = RAM + 0x20_0000;
const ADMIN_ENTRIES: u32 = 32;
/// Entries of the I/O queues.
const ENTRIES: u32 = 256;
/// Steps between two looks at whether the poller is to end.
const STEPS: usize = 64;
/// How long the device may take to answer an admin command or to become ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// What each command of a run does, at a random place.
#[derive(Clone, Copy)]
pub struct Access {
    opcode: NvmOpcode,
    bytes: u32,
}

impl Access {
    pub fn read(bytes: u32) -> Self {
        let opcode = NvmOpcode::READ;
        Self { opcode, bytes }
    }

    pub fn write(bytes: u32) -> Self {
        let opcode = NvmOpcode::WRITE;
        Self { opcode, bytes }
    }
}

/// Polled queues must never get here.
struct NoInterrupts;

impl InterruptSink for NoInterrupts {
    fn raise(&mut self, _vector: u16) {
        std::process::abort();
    }
}

/// Admin completions while the device is set up: their interrupt is not looked at.
struct AdminInterrupts;

impl InterruptSink for AdminInterrupts {
    fn raise(&mut self, _vector: u16) {}
}

/// The device and the driver's state.
pub struct Rig {
    ram: GuestRam,
    engine: Engine,
    clock: quanta::Clock,
    epoch: u64,
    area: u64,
    block: BlockSize,
    admin_tail: u32,
    sq_tail: u32,
    cq_head: u32,
    phase: u32,
    random: Random,
}

impl Rig {
    /// A device with one namespace of `area` bytes, ready for commands on its first queue pair.
    pub fn new(backing: &Backing, area: u64, block: BlockSize, depth: u32) -> Self {
        assert!(depth < ENTRIES);
        let media = media::open(&MediaConfig::new(backing.clone(), area)).expect("a medium");
        let config = ControllerConfig {
            queue_pairs: 4,
            vectors: 2,
            ..ControllerConfig::default()
        };
        let namespace = NamespaceConfig {
            media,
            block_size: block,
        };
        let profile = Profile::load("floor").expect("the floor profile");
        let engine =
            Engine::new(config, vec![namespace], Model::new(profile, 1)).expect("a device");
        let clock = quanta::Clock::new();
        let mut rig = Self {
            ram: GuestRam::anonymous(&[(RAM, RAM_BYTES)]).expect("guest RAM"),
            engine,
            epoch: clock.raw(),
            clock,
            area,
            block,
            admin_tail: 0,
            sq_tail: 0,
            cq_head: 0,
            phase: 1,
            random: Random::new(7),
        };
        rig.enable();
        rig.create_queues();
        rig
    }

    /// Writes all of the namespace: the host gives memory only to what was written, and that takes
    /// its time.
    pub fn fill(&mut self) {
        let bytes = 128 << 10;
        let list = BUFFERS - 0x1000;
        for entry in 0..31 {
            let page = BUFFERS + (entry + 1) * 4096;
            self.put(list + entry * 8, &page.to_le_bytes());
        }
        for at in (0..self.area).step_by(bytes) {
            let blocks = u32::try_from(bytes).expect("small") >> self.block.shift();
            let command = SubmissionQueueEntry {
                opcode: NvmOpcode::WRITE.0,
                nsid: 1.into(),
                prp1: BUFFERS.into(),
                prp2: list.into(),
                cdw10: low(at >> self.block.shift()).into(),
                cdw11: low(at >> self.block.shift() >> 32).into(),
                cdw12: (blocks - 1).into(),
                ..SubmissionQueueEntry::default()
            };
            self.put(SQ + u64::from(self.sq_tail) * 64, command.as_bytes());
            self.sq_tail = (self.sq_tail + 1) % ENTRIES;
            self.put(SHADOW + 8, &self.sq_tail.to_le_bytes());
            self.step_until(|rig| rig.io_status().is_some());
            assert_eq!(self.io_status(), Some(0), "a write failed");
            self.cq_head += 1;
            if self.cq_head == ENTRIES {
                (self.cq_head, self.phase) = (0, self.phase ^ 1);
            }
            self.put(SHADOW + 12, &self.cq_head.to_le_bytes());
        }
        // Entries are only partly rewritten later.
        self.put(SQ, &[0; ENTRIES as usize * 64]);
    }

    /// Runs `commands` commands, `depth` at a time, and gives the time from the first doorbell to
    /// the last completion; `windows` gets that of every [`WINDOW`] commands.
    pub fn run(
        &mut self,
        cores: (usize, usize),
        access: Access,
        depth: u32,
        commands: u64,
        windows: &mut Windows,
    ) -> Duration {
        let Self {
            ram,
            engine,
            clock,
            epoch,
            area,
            block,
            sq_tail,
            cq_head,
            phase,
            random,
            ..
        } = self;
        let mut driver = Driver {
            queues: Queues::new(ram),
            sq_tail,
            cq_head,
            phase,
            random,
            places: *area / u64::from(access.bytes),
            blocks: access.bytes >> block.shift(),
            opcode: access.opcode.0,
            depth,
        };
        let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pin_thread(cores.1).expect("the poller's core");
                engine.resume_polling();
                ready.store(true, Ordering::Release);
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..STEPS {
                        let now = clock.delta_as_nanos(*epoch, clock.raw());
                        engine.step(now, &mut NoInterrupts);
                    }
                }
            });
            pin_thread(cores.0).expect("the driver's core");
            while !ready.load(Ordering::Acquire) {
                spin_loop();
            }
            let start = Instant::now();
            driver.run(commands, windows);
            let spent = start.elapsed();
            stop.store(true, Ordering::Relaxed);
            spent
        })
    }

    /// The registers as the NVMe driver writes them.
    fn enable(&mut self) {
        self.engine.attach(self.ram.clone());
        let entries = u64::from(ADMIN_ENTRIES - 1);
        self.write_register(0x24, 4, entries << 16 | entries);
        self.write_register(0x28, 8, ADMIN_SQ);
        self.write_register(0x30, 8, ADMIN_CQ);
        // IOCQES 4, IOSQES 6, EN.
        self.write_register(0x14, 4, 4 << 20 | 6 << 16 | 1);
        self.step_until(|rig| rig.engine.read_register(0x1C, 4) & 1 == 1);
    }

    fn create_queues(&mut self) {
        self.admin(SubmissionQueueEntry {
            opcode: AdminOpcode::DOORBELL_BUFFER_CONFIG.0,
            prp1: SHADOW.into(),
            prp2: EVENTS.into(),
            ..SubmissionQueueEntry::default()
        });
        self.admin(SubmissionQueueEntry {
            opcode: AdminOpcode::CREATE_CQ.0,
            prp1: CQ.into(),
            cdw10: ((ENTRIES - 1) << 16 | 1).into(),
            // Physically contiguous, no interrupts.
            cdw11: 1.into(),
            ..SubmissionQueueEntry::default()
        });
        self.admin(SubmissionQueueEntry {
            opcode: AdminOpcode::CREATE_SQ.0,
            prp1: SQ.into(),
            cdw10: ((ENTRIES - 1) << 16 | 1).into(),
            cdw11: (1 << 16 | 1).into(),
            ..SubmissionQueueEntry::default()
        });
    }

    /// Sends one admin command and waits for it. There are fewer than the queue has entries.
    fn admin(&mut self, mut command: SubmissionQueueEntry) {
        let slot = self.admin_tail;
        command.cid = u16::try_from(slot).expect("few").into();
        self.put(ADMIN_SQ + u64::from(slot) * 64, command.as_bytes());
        self.admin_tail += 1;
        self.write_register(DOORBELLS, 4, u64::from(self.admin_tail));
        let completion = |rig: &Self| {
            let mut raw = [0; 16];
            let address = ADMIN_CQ + u64::from(slot) * 16;
            rig.ram.read(address, &mut raw).expect("inside RAM");
            CompletionQueueEntry::read_from_bytes(&raw).expect("16 bytes")
        };
        self.step_until(|rig| completion(rig).status_and_phase.get() & 1 == 1);
        let status = completion(self).status_and_phase.get() >> 1;
        assert_eq!(status, 0, "admin command {:#x} failed", command.opcode);
        self.write_register(DOORBELLS + 4, 4, u64::from(self.admin_tail));
    }

    /// The status of the next I/O completion, once it is there.
    fn io_status(&self) -> Option<u32> {
        let mut raw = [0; 4];
        let address = CQ + u64::from(self.cq_head) * 16 + 12;
        self.ram.read(address, &mut raw).expect("inside RAM");
        let dword = u32::from_le_bytes(raw);
        (dword >> 16 & 1 == self.phase).then_some(dword >> 17)
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        self.ram.write(address, bytes).expect("inside RAM");
    }

    fn write_register(&mut self, offset: u64, size: usize, value: u64) {
        let now = self.now();
        self.engine.write_register(now, offset, size, value);
    }

    fn now(&self) -> u64 {
        self.clock.delta_as_nanos(self.epoch, self.clock.raw())
    }

    fn step_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            let now = self.now();
            self.engine.step(now, &mut AdminInterrupts);
            assert!(start.elapsed() < PATIENCE, "the device does not answer");
        }
    }
}

/// Guest memory as the driver uses it.
struct Queues<'a> {
    sq: VolatileSlice<'a>,
    cq: VolatileSlice<'a>,
    /// The shadow doorbells of the I/O queue pair: tail, then head.
    doorbells: VolatileSlice<'a>,
}

impl<'a> Queues<'a> {
    fn new(ram: &'a GuestRam) -> Self {
        let slice = |address, length: u32| {
            let slice = ram.slice(address, length as usize);
            slice.expect("inside RAM")
        };
        Self {
            sq: slice(SQ, ENTRIES * 64),
            cq: slice(CQ, ENTRIES * 16),
            doorbells: slice(SHADOW + 8, 8),
        }
    }

    #[inline]
    fn put(&self, entry: u32, word: u32, value: u64) {
        let offset = (entry * 64 + word * 8) as usize;
        let word = self.sq.get_atomic_ref::<AtomicU64>(offset);
        word.expect("inside the queue")
            .store(value.to_le(), Ordering::Relaxed);
    }

    #[inline]
    fn ring(&self, doorbell: usize, value: u32) {
        let word = self.doorbells.get_atomic_ref::<AtomicU32>(doorbell * 4);
        word.expect("a doorbell")
            .store(value.to_le(), Ordering::Release);
    }

    /// Dword 3 of a completion.
    #[inline]
    fn completion(&self, entry: u32) -> u32 {
        let word = self
            .cq
            .get_atomic_ref::<AtomicU32>((entry * 16 + 12) as usize);
        u32::from_le(word.expect("inside the queue").load(Ordering::Acquire))
    }
}

/// One run of the driver.
struct Driver<'a> {
    queues: Queues<'a>,
    sq_tail: &'a mut u32,
    cq_head: &'a mut u32,
    phase: &'a mut u32,
    random: &'a mut Random,
    places: u64,
    blocks: u32,
    opcode: u8,
    depth: u32,
}

impl Driver<'_> {
    fn run(&mut self, commands: u64, windows: &mut Windows) {
        let (mut submitted, mut completed) = (0, 0);
        let (mut start, mut window_end) = (Instant::now(), WINDOW);
        while completed < commands {
            if completed >= window_end {
                windows.end(start);
                start = Instant::now();
                window_end += WINDOW;
            }
            let in_flight = submitted - completed;
            let room = u64::from(self.depth) - in_flight;
            let batch = room.min(commands - submitted);
            for _ in 0..batch {
                self.submit(submitted);
                submitted += 1;
            }
            if batch > 0 {
                self.queues.ring(0, *self.sq_tail);
            }
            completed += self.reap();
        }
    }

    fn submit(&mut self, number: u64) {
        let slot = *self.sq_tail;
        let cid = number % u64::from(self.depth);
        let slba = self.random.below(self.places) * u64::from(self.blocks);
        self.queues
            .put(slot, 0, 1 << 32 | cid << 16 | u64::from(self.opcode));
        self.queues.put(slot, 3, BUFFERS + cid * 4096);
        self.queues.put(slot, 5, slba);
        self.queues.put(slot, 6, u64::from(self.blocks - 1));
        *self.sq_tail = (slot + 1) % ENTRIES;
    }

    /// Takes every completion that is there.
    fn reap(&mut self) -> u64 {
        let mut reaped = 0;
        loop {
            let dword = self.queues.completion(*self.cq_head);
            if dword >> 16 & 1 != *self.phase {
                break;
            }
            assert!(
                dword >> 17 == 0,
                "a command failed: status {:#x}",
                dword >> 17
            );
            reaped += 1;
            *self.cq_head += 1;
            if *self.cq_head == ENTRIES {
                (*self.cq_head, *self.phase) = (0, *self.phase ^ 1);
            }
        }
        if reaped == 0 {
            spin_loop();
        } else {
            self.queues.ring(1, *self.cq_head);
        }
        reaped
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xFFFF_FFFF).unwrap_or(0)
}

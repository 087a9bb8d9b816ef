// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small driver: enables the controller, makes queues, sends commands, counts interrupts.

use emulator::controller::{BlockSize, ControllerConfig, DoorbellMode, NamespaceConfig};
use emulator::dma::GuestRam;
use emulator::engine::Engine;
use emulator::media::{self, Backing, MediaConfig};
use emulator::timing::{Model, Profile};

pub const CAP: u64 = 0x00;
pub const VS: u64 = 0x08;
pub const INTMS: u64 = 0x0C;
pub const INTMC: u64 = 0x10;
pub const CC: u64 = 0x14;
pub const CSTS: u64 = 0x1C;
pub const NSSR: u64 = 0x20;
pub const AQA: u64 = 0x24;
pub const ASQ: u64 = 0x28;
pub const ACQ: u64 = 0x30;
pub const CRTO: u64 = 0x68;
pub const DOORBELLS: u64 = 0x1000;

/// CC with EN, IOSQES 6 (64 bytes) and IOCQES 4 (16 bytes).
pub const CC_ENABLE: u32 = 4 << 20 | 6 << 16 | 1;

/// Where guest RAM begins, not at 0, and how much there is.
pub const RAM: u64 = 0x198_4000;
pub const RAM_BYTES: usize = 8 << 20;
pub const PAGE: u64 = 4096;

/// Entries of the admin queues.
pub const ADMIN_ENTRIES: u32 = 32;
/// Logical blocks and sizes of the two namespaces of [`Host::new`].
pub const NS1_BLOCKS: u64 = 16384;
pub const NS2_BLOCKS: u64 = 1024;
/// Largest transfer of [`Host::new`] in bytes.
pub const MAX_TRANSFER: usize = 128 << 10;
/// I/O queue pairs and largest queue of [`Host::new`].
pub const QUEUE_PAIRS: u16 = 4;
pub const QUEUE_DEPTH: u32 = 64;
pub const VECTORS: u16 = 5;

/// Whether Doorbell Buffer Config is offered.
pub const DOORBELL_BUFFER_CONFIG: bool = matches!(crate::DOORBELL_MODE, DoorbellMode::Shadow);

/// A device without delays.
pub const FLOOR: &str = include_str!("../../../configs/profiles/floor.toml");

/// (status code type, status code): what a completion says, without DNR, More and CRD.
pub type Status = (u8, u8);

pub const SUCCESS: Status = (0, 0x00);
pub const INVALID_OPCODE: Status = (0, 0x01);
pub const INVALID_FIELD: Status = (0, 0x02);
pub const DATA_TRANSFER_ERROR: Status = (0, 0x04);
pub const ABORTED_BY_REQUEST: Status = (0, 0x07);
pub const ABORTED_SQ_DELETION: Status = (0, 0x08);
pub const INVALID_NAMESPACE: Status = (0, 0x0B);
pub const PRP_OFFSET_INVALID: Status = (0, 0x13);
pub const LBA_OUT_OF_RANGE: Status = (0, 0x80);
pub const COMPLETION_QUEUE_INVALID: Status = (1, 0x00);
pub const INVALID_QUEUE_ID: Status = (1, 0x01);
pub const INVALID_QUEUE_SIZE: Status = (1, 0x02);
pub const EVENT_LIMIT_EXCEEDED: Status = (1, 0x05);
pub const INVALID_VECTOR: Status = (1, 0x08);
pub const INVALID_LOG_PAGE: Status = (1, 0x09);
pub const INVALID_FORMAT: Status = (1, 0x0A);
pub const INVALID_QUEUE_DELETION: Status = (1, 0x0C);
pub const FEATURE_NOT_SAVEABLE: Status = (1, 0x0D);
pub const COMPARE_FAILURE: Status = (2, 0x85);

/// How a test reaches a device: what `connect` of the suite's root makes.
pub trait Transport {
    fn read(&mut self, offset: u64, size: usize) -> u64;
    fn write(&mut self, offset: u64, size: usize, value: u64);
    /// Lets the device work for a microsecond of its time.
    fn work(&mut self);
    /// The interrupt vectors raised since the last call, in order.
    fn raised(&mut self) -> Vec<u16>;
    /// The engine behind it, where a test needs more than a guest can do.
    fn engine(&mut self) -> &mut Engine;
}

/// A command to be: 64 bytes, built field by field.
#[derive(Clone, Copy)]
pub struct Command(pub [u32; 16]);

impl Command {
    pub fn new(opcode: u8) -> Self {
        let mut dwords = [0; 16];
        dwords[0] = u32::from(opcode);
        Self(dwords)
    }

    /// Sets command dword `index`.
    pub fn cdw(mut self, index: usize, value: u32) -> Self {
        self.0[index] = value;
        self
    }

    pub fn nsid(self, nsid: u32) -> Self {
        self.cdw(1, nsid)
    }

    /// FUSE and PSDT: bits 15:8 of dword 0.
    pub fn flags(mut self, flags: u8) -> Self {
        self.0[0] |= u32::from(flags) << 8;
        self
    }

    pub fn cid(mut self, cid: u16) -> Self {
        self.0[0] = self.0[0] & 0xFFFF | u32::from(cid) << 16;
        self
    }

    pub fn prp(self, prp1: u64, prp2: u64) -> Self {
        self.quad(6, prp1).quad(8, prp2)
    }

    /// Sets the dwords `index` and `index + 1`.
    pub fn quad(self, index: usize, value: u64) -> Self {
        self.cdw(index, low(value)).cdw(index + 1, low(value >> 32))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|dword| dword.to_le_bytes())
            .collect()
    }
}

/// The low half of `value`.
pub fn low(value: u64) -> u32 {
    u32::try_from(value & 0xFFFF_FFFF).unwrap()
}

/// A completion as it stands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub dw0: u32,
    pub dw1: u32,
    pub sq_head: u16,
    pub sq_id: u16,
    pub cid: u16,
    /// Bits 15:1 of the last word: status field.
    pub field: u16,
}

impl Completion {
    pub fn status(&self) -> Status {
        let [code, kind] = self.field.to_le_bytes();
        (kind & 7, code)
    }
}

/// A queue pair as its driver sees it.
#[derive(Clone, Copy)]
pub struct Queue {
    pub id: u16,
    pub sq: u64,
    pub cq: u64,
    pub entries: u32,
    pub tail: u32,
    pub head: u32,
    pub phase: u8,
}

impl Queue {
    fn new(id: u16, sq: u64, cq: u64, entries: u32) -> Self {
        Self {
            id,
            sq,
            cq,
            entries,
            tail: 0,
            head: 0,
            phase: 1,
        }
    }
}

/// The driver and the device.
pub struct Host {
    pub ram: GuestRam,
    pub device: Box<dyn Transport>,
    pub admin: Queue,
    next_page: u64,
    next_cid: u16,
}

/// What [`Host::new`] sets up.
pub fn config() -> ControllerConfig {
    ControllerConfig {
        queue_pairs: QUEUE_PAIRS,
        queue_depth: QUEUE_DEPTH,
        max_transfer: u32::try_from(MAX_TRANSFER).unwrap(),
        vectors: VECTORS,
        doorbells: crate::DOORBELL_MODE,
        ..ControllerConfig::default()
    }
}

/// A medium in memory of `size` bytes, with a volatile write cache where the tests have one.
pub fn namespace(size: u64, block_size: BlockSize) -> NamespaceConfig {
    let mut config = MediaConfig::new(Backing::Ram, size);
    config.volatile_cache = crate::MEDIA_CACHE;
    NamespaceConfig {
        media: media::open(&config).unwrap(),
        block_size,
    }
}

impl Host {
    /// A ready controller with two namespaces (512-byte blocks, 4096-byte blocks), no I/O queues.
    pub fn new() -> Self {
        let mut host = Self::disabled();
        host.enable();
        host
    }

    /// As [`Host::new`], before CC.EN.
    pub fn disabled() -> Self {
        Self::with(config(), FLOOR)
    }

    /// A controller of another kind or speed (the text of a profile), before CC.EN.
    pub fn with(config: ControllerConfig, profile: &str) -> Self {
        let namespaces = vec![
            namespace(NS1_BLOCKS * 512, BlockSize::B512),
            namespace(NS2_BLOCKS * 4096, BlockSize::B4096),
        ];
        let profile = Profile::parse(profile, "test").unwrap();
        let engine = Engine::new(config, namespaces, Model::new(profile, 1)).unwrap();
        let ram = GuestRam::anonymous(&[(RAM, RAM_BYTES)]).unwrap();
        let device = crate::connect(engine, &ram);
        let mut host = Self {
            ram,
            device,
            admin: Queue::new(0, 0, 0, ADMIN_ENTRIES),
            next_page: RAM,
            next_cid: 100,
        };
        host.admin.sq = host.page();
        host.admin.cq = host.page();
        host
    }

    pub fn read32(&mut self, offset: u64) -> u32 {
        low(self.device.read(offset, 4))
    }

    pub fn read64(&mut self, offset: u64) -> u64 {
        self.device.read(offset, 8)
    }

    pub fn write32(&mut self, offset: u64, value: u32) {
        self.device.write(offset, 4, u64::from(value));
    }

    pub fn write64(&mut self, offset: u64, value: u64) {
        self.device.write(offset, 8, value);
    }

    /// Lets the device work long enough for everything that it can do without delay.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            self.device.work();
        }
    }

    /// Lets the device work long enough to notice what need not be noticed at once: half a
    /// millisecond of its time.
    pub fn notice(&mut self) {
        for _ in 0..5 {
            self.settle();
        }
    }

    /// Writes AQA, ASQ and ACQ as they should be.
    pub fn set_admin_queues(&mut self) {
        self.write32(AQA, (ADMIN_ENTRIES - 1) << 16 | (ADMIN_ENTRIES - 1));
        self.write64(ASQ, self.admin.sq);
        self.write64(ACQ, self.admin.cq);
    }

    /// From disabled to ready, with fresh admin queues.
    pub fn enable(&mut self) {
        self.admin = Queue::new(0, self.admin.sq, self.admin.cq, ADMIN_ENTRIES);
        self.put(self.admin.cq, &[0; 4096]);
        self.set_admin_queues();
        self.write32(CC, CC_ENABLE);
        self.settle();
        assert_eq!(self.read32(CSTS), 1, "not ready");
    }

    pub fn disable(&mut self) {
        self.write32(CC, CC_ENABLE & !1);
        self.settle();
        assert_eq!(self.read32(CSTS) & 1, 0, "still ready");
    }

    /// A page of guest RAM that nobody else uses, zeroed.
    pub fn page(&mut self) -> u64 {
        self.pages(1)
    }

    /// As [`Host::page`], several in a row.
    pub fn pages(&mut self, count: u64) -> u64 {
        let page = self.next_page;
        self.next_page += count * PAGE;
        assert!(self.next_page <= RAM + RAM_BYTES as u64, "out of pages");
        page
    }

    pub fn put(&self, address: u64, bytes: &[u8]) {
        self.ram.write(address, bytes).unwrap();
    }

    pub fn get(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.ram.read(address, &mut bytes).unwrap();
        bytes
    }

    pub fn get32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.get(address, 4).try_into().unwrap())
    }

    pub fn put32(&self, address: u64, value: u32) {
        self.put(address, &value.to_le_bytes());
    }

    /// Writes a PRP list.
    pub fn put_list(&self, address: u64, entries: &[u64]) {
        for (index, entry) in (0..).zip(entries) {
            self.put(address + index * 8, &entry.to_le_bytes());
        }
    }

    pub fn doorbell(queue: u16, completion: bool) -> u64 {
        DOORBELLS + u64::from(queue) * 8 + if completion { 4 } else { 0 }
    }

    /// Puts a command into the queue without ringing; gives its CID.
    pub fn stage(&mut self, queue: &mut Queue, command: Command) -> u16 {
        self.next_cid = self.next_cid.wrapping_add(1);
        let command = command.cid(self.next_cid);
        self.put(queue.sq + u64::from(queue.tail) * 64, &command.bytes());
        queue.tail = (queue.tail + 1) % queue.entries;
        self.next_cid
    }

    pub fn ring(&mut self, queue: &Queue) {
        self.write32(Self::doorbell(queue.id, false), queue.tail);
    }

    /// Stages and rings; gives the CID.
    pub fn submit(&mut self, queue: &mut Queue, command: Command) -> u16 {
        let cid = self.stage(queue, command);
        self.ring(queue);
        cid
    }

    /// The next completion, if it is there; its head doorbell is rung.
    pub fn reap(&mut self, queue: &mut Queue) -> Option<Completion> {
        let completion = self.peek(queue)?;
        queue.head += 1;
        if queue.head == queue.entries {
            (queue.head, queue.phase) = (0, queue.phase ^ 1);
        }
        self.write32(Self::doorbell(queue.id, true), queue.head);
        Some(completion)
    }

    /// The next completion, if it is there.
    pub fn peek(&self, queue: &Queue) -> Option<Completion> {
        let raw = self.get(queue.cq + u64::from(queue.head) * 16, 16);
        let word = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let dword = |at: usize| u32::from(word(at)) | u32::from(word(at + 2)) << 16;
        (raw[14] & 1 == queue.phase).then(|| Completion {
            dw0: dword(0),
            dw1: dword(4),
            sq_head: word(8),
            sq_id: word(10),
            cid: word(12),
            field: word(14) >> 1,
        })
    }

    /// Sends a command, lets the device work and gives the completion, which must be its own.
    pub fn run(&mut self, queue: &mut Queue, command: Command) -> Completion {
        let cid = self.submit(queue, command);
        self.settle();
        let completion = self.reap(queue).expect("no completion");
        assert_eq!(completion.cid, cid, "another command's completion");
        assert_eq!(completion.sq_id, queue.id);
        completion
    }

    /// As [`Host::run`] on the admin queue.
    pub fn admin(&mut self, command: Command) -> Completion {
        let mut queue = self.admin;
        let completion = self.run(&mut queue, command);
        self.admin = queue;
        completion
    }

    /// Sends an admin command without waiting.
    pub fn submit_admin(&mut self, command: Command) -> u16 {
        let mut queue = self.admin;
        let cid = self.submit(&mut queue, command);
        self.admin = queue;
        cid
    }

    pub fn reap_admin(&mut self) -> Option<Completion> {
        let mut queue = self.admin;
        let completion = self.reap(&mut queue);
        self.admin = queue;
        completion
    }

    /// Sends an admin command that must succeed.
    pub fn admin_ok(&mut self, command: Command) -> Completion {
        let completion = self.admin(command);
        assert_eq!(completion.status(), SUCCESS, "{completion:x?}");
        completion
    }

    /// Makes an I/O queue pair; with `vector`, its completions interrupt.
    pub fn create_queue(&mut self, id: u16, entries: u32, vector: Option<u16>) -> Queue {
        let sq = self.pages(u64::from(entries * 64).div_ceil(PAGE));
        let cq = self.pages(u64::from(entries * 16).div_ceil(PAGE));
        self.admin_ok(create_cq(id, entries, cq, vector));
        self.admin_ok(create_sq(id, entries, sq, id));
        Queue::new(id, sq, cq, entries)
    }
}

pub fn create_cq(id: u16, entries: u32, address: u64, vector: Option<u16>) -> Command {
    let interrupts = vector.map_or(0, |vector| u32::from(vector) << 16 | 2);
    Command::new(0x05)
        .prp(address, 0)
        .cdw(10, (entries.wrapping_sub(1) & 0xFFFF) << 16 | u32::from(id))
        .cdw(11, interrupts | 1)
}

pub fn create_sq(id: u16, entries: u32, address: u64, cq: u16) -> Command {
    Command::new(0x01)
        .prp(address, 0)
        .cdw(10, (entries.wrapping_sub(1) & 0xFFFF) << 16 | u32::from(id))
        .cdw(11, u32::from(cq) << 16 | 1)
}

pub fn delete_sq(id: u16) -> Command {
    Command::new(0x00).cdw(10, u32::from(id))
}

pub fn delete_cq(id: u16) -> Command {
    Command::new(0x04).cdw(10, u32::from(id))
}

/// Identify into the page at `address`.
pub fn identify(cns: u8, nsid: u32, address: u64) -> Command {
    Command::new(0x06)
        .nsid(nsid)
        .prp(address, 0)
        .cdw(10, u32::from(cns))
}

/// Get Log Page: `bytes` (a multiple of 4) from `offset` into the page at `address`.
pub fn get_log(lid: u8, bytes: u32, offset: u64, address: u64) -> Command {
    let dwords = bytes / 4 - 1;
    Command::new(0x02)
        .nsid(0xFFFF_FFFF)
        .prp(address, 0)
        .cdw(10, (dwords & 0xFFFF) << 16 | u32::from(lid))
        .cdw(11, dwords >> 16)
        .quad(12, offset)
}

pub fn get_feature(id: u8, select: u32) -> Command {
    Command::new(0x0A).cdw(10, select << 8 | u32::from(id))
}

pub fn set_feature(id: u8, value: u32) -> Command {
    Command::new(0x09).cdw(10, u32::from(id)).cdw(11, value)
}

/// Read, Write, Compare, Write Zeroes or Verify of `blocks` logical blocks.
pub fn transfer(opcode: u8, nsid: u32, slba: u64, blocks: u32) -> Command {
    Command::new(opcode)
        .nsid(nsid)
        .quad(10, slba)
        .cdw(12, blocks.wrapping_sub(1) & 0xFFFF)
}

pub const FLUSH: u8 = 0x00;
pub const WRITE: u8 = 0x01;
pub const READ: u8 = 0x02;
pub const COMPARE: u8 = 0x05;
pub const WRITE_ZEROES: u8 = 0x08;
pub const DATASET_MANAGEMENT: u8 = 0x09;
pub const VERIFY: u8 = 0x0C;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device, its guest's memory, and what is known about both. Everything that a stream does goes
//! through here, and everything that the device does is checked here.

use std::sync::Arc;

use emulator::controller::{BlockSize, ControllerConfig, DoorbellMode, NamespaceConfig};
use emulator::dma::DoorbellPage;
use emulator::engine::{Engine, LaneShare};
use emulator::media::{self, Backing, MediaConfig};
use emulator::pci::{Delivery, FunctionLane, Identity, MsiMessage, MsiPort, NvmeFunction, Region};
use emulator::timing::{Model, Profile, Service};

use crate::containment;
use crate::dice::{Dice, low};
use crate::issue::*;
use crate::medium::{Medium, SECTOR, SECTORS};
use crate::memory::{Memory, PAGE, REGIONS, overlap};
use crate::queues::{Completion, Found, Queues, Submission};

pub const CC: u64 = 0x14;
pub const CSTS: u64 = 0x1C;
pub const AQA: u64 = 0x24;
pub const ASQ: u64 = 0x28;
pub const ACQ: u64 = 0x30;
pub const DOORBELLS: u64 = 0x1000;
/// CC with EN, IOSQES 6 (64 bytes) and IOCQES 4 (16 bytes).
pub const CC_ENABLE: u32 = 4 << 20 | 6 << 16 | 1;

pub const QUEUE_PAIRS: u16 = 4;
pub const QUEUE_DEPTH: u32 = 64;
pub const VECTORS: u16 = 5;
pub const MAX_TRANSFER: u64 = 32 << 10;

const BAR0: u64 = 0xFE00_4000;
const MSIX_TABLE: u64 = 0x2000;
const ALL: LaneShare = LaneShare { number: 0, of: 1 };

/// What kind of device a stream meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub doorbells: DoorbellMode,
    pub media: MediaKind,
    /// Commands take their time.
    pub slow: bool,
    /// The I/O queues are lent to a lane in each step.
    pub lane: bool,
}

/// What holds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Ram,
    Cached,
    Null,
}

/// Takes interrupts; now and then it has no room.
struct Port {
    dice: Dice,
}

impl MsiPort for Port {
    fn send(&mut self, vector: u16, _message: MsiMessage) -> Delivery {
        assert!(vector < VECTORS, "interrupt vector {vector} does not exist");
        if self.dice.one_in(16) {
            Delivery::Busy
        } else {
            Delivery::Sent
        }
    }
}

pub struct Host {
    function: NvmeFunction,
    lane: Option<FunctionLane>,
    port: Port,
    pub now: u64,
    pub kind: Kind,
    pub memory: Memory,
    pub queues: Queues,
    pub medium: Medium,
    /// Data pages that no outstanding command uses.
    pub free_pages: Vec<u64>,
    pub next_cid: u16,
    /// The device sleeps, and every doorbell that moves must trap.
    asleep: bool,
    must_trap: bool,
    running: bool,
    traced: bool,
}

fn engine(kind: Kind) -> Engine {
    let config = ControllerConfig {
        queue_pairs: QUEUE_PAIRS,
        queue_depth: QUEUE_DEPTH,
        max_transfer: low(MAX_TRANSFER),
        vectors: VECTORS,
        doorbells: kind.doorbells,
        ..ControllerConfig::default()
    };
    let backing = match kind.media {
        MediaKind::Null => Backing::Null { zero_fill: true },
        MediaKind::Ram | MediaKind::Cached => Backing::Ram,
    };
    let namespace = |index: usize, block_size| {
        let mut config = MediaConfig::new(backing.clone(), (SECTORS[index] * SECTOR) as u64);
        config.volatile_cache = kind.media == MediaKind::Cached;
        NamespaceConfig {
            media: media::open(&config).unwrap(),
            block_size,
        }
    };
    let namespaces = vec![
        namespace(0, BlockSize::B512),
        namespace(1, BlockSize::B4096),
    ];
    Engine::new(config, namespaces, Model::new(profile(kind.slow), 1)).unwrap()
}

pub fn profile(slow: bool) -> Profile {
    let (front, time, jitter) = if slow { (200, 5_000, 3_000) } else { (0, 0, 0) };
    Profile::uniform("fuzz", 4, front, &Service::uniform(time, jitter))
}

fn all_data_pages() -> Vec<u64> {
    // The first pages of the first region are for queues.
    let pages = REGIONS
        .iter()
        .enumerate()
        .flat_map(|(index, &(start, count))| {
            let first = if index == 0 { 24 } else { 0 };
            (first..count).map(move |page| start + page * PAGE)
        });
    pages.collect()
}

/// A page of the first region, for queues and the like.
pub fn fixed_page(index: u64) -> u64 {
    REGIONS[0].0 + index * PAGE
}

impl Host {
    /// A device that was just attached, in memory of zeros.
    pub fn new(kind: Kind) -> Self {
        let memory = Memory::new();
        let mut function = NvmeFunction::new(engine(kind), &Identity::default(), VECTORS);
        function.attach(memory.ram.clone());
        let lane = if kind.lane { function.lane() } else { None };
        Self {
            function,
            lane,
            port: Port { dice: Dice::new(7) },
            now: 0,
            kind,
            memory,
            queues: Queues::default(),
            medium: Medium::new(kind.media == MediaKind::Null),
            free_pages: all_data_pages(),
            next_cid: 0,
            asleep: false,
            must_trap: false,
            running: false,
            traced: std::env::var_os("HIPRI_FUZZ_TRACE").is_some(),
        }
    }

    /// Commands that the device has fetched.
    pub fn executed(&self) -> u64 {
        let queues = self.function.engine().counters().queues();
        queues.iter().flat_map(|queue| queue.opcodes).sum()
    }

    // Accesses.

    /// A trapped access wakes the device.
    fn trap(&mut self) {
        if std::mem::take(&mut self.asleep) {
            self.function.resume_polling();
        }
    }

    pub fn read(&mut self, region: Region, offset: u64, size: usize) -> u64 {
        self.trap();
        let mut data = [0; 8];
        self.function.read(region, offset, &mut data[..size]);
        u64::from_le_bytes(data)
    }

    /// Writes, and notices when the controller has stopped or started by it.
    pub fn write(&mut self, region: Region, offset: u64, size: usize, value: u64) {
        self.trap();
        let data = value.to_le_bytes();
        self.function.write(self.now, region, offset, &data[..size]);
        self.look_at_little();
        let running = self.function.engine().is_running();
        if self.running && !running {
            self.forget_queues();
        } else if !self.running && running {
            // With admin queues that nobody here has made.
            self.queues.spoiled = true;
        }
        self.running = running;
    }

    pub fn register(&mut self, offset: u64) -> u32 {
        low(self.function.engine_mut().read_register(offset, 4))
    }

    pub fn reattach(&mut self) {
        self.look_at_little();
        self.function.detach();
        assert!(self.function.is_idle());
        self.function.attach(self.memory.ram.clone());
        self.running = false;
        self.asleep = false;
        self.forget_queues();
    }

    pub fn set_profile(&mut self, slow: bool) {
        let set = self.function.engine_mut().set_profile(profile(slow));
        set.expect("no floor was set");
    }

    pub fn set_temperature(&mut self, kelvins: u16) {
        self.function.engine_mut().set_temperature(kelvins);
    }

    /// The queues are gone, and with them their commands.
    fn forget_queues(&mut self) {
        for sq in &self.queues.submission {
            for transfer in sq
                .issued
                .iter()
                .filter_map(|issued| issued.transfer.as_ref())
            {
                self.medium.forget(transfer);
            }
        }
        self.queues = Queues::default();
        self.free_pages = all_data_pages();
    }

    // Doorbells.

    /// Rings a doorbell in the way of the mode. False if it cannot have been heard.
    pub fn ring(&mut self, qid: u16, is_head: bool, value: u32) -> bool {
        let slot = 2 * u32::from(qid) + u32::from(is_head);
        if let Some(page) = self.page() {
            page.set_doorbell(slot, value);
            return true;
        }
        if !self.answers() {
            return false;
        }
        match self.queues.shadow {
            Some((doorbells, events)) if (1..=QUEUE_PAIRS).contains(&qid) => {
                self.ring_shadow(slot, is_head, value, doorbells, events);
            }
            _ => self.trap_doorbell(slot, value),
        }
        true
    }

    /// Whether BAR0 answers. Wakes nobody.
    fn answers(&mut self) -> bool {
        let mut data = [0; 4];
        self.function.read(Region::Bar0, 0, &mut data);
        data != [0xFF; 4]
    }

    /// The page that is laid over the doorbells now.
    fn page(&self) -> Option<Arc<DoorbellPage>> {
        self.function.mapped_doorbells()?;
        self.function.doorbell_page().cloned()
    }

    fn trap_doorbell(&mut self, slot: u32, value: u32) {
        self.trap();
        let offset = DOORBELLS + 4 * u64::from(slot);
        let value = value.to_le_bytes();
        self.function.write(self.now, Region::Bar0, offset, &value);
    }

    /// What Linux does: write, barrier, look at the event index.
    fn ring_shadow(&mut self, slot: u32, is_head: bool, value: u32, doorbells: u64, events: u64) {
        let at = 4 * u64::from(slot);
        let old = self.memory.u32(doorbells + at).unwrap();
        self.memory.write32(doorbells + at, value);
        let event = self.memory.u32(events + at).unwrap();
        let word = |value: u32| value & 0xFFFF;
        let passed =
            word(value.wrapping_sub(event).wrapping_sub(1)) < word(value.wrapping_sub(old));
        if passed {
            self.trap_doorbell(slot, value);
        } else if self.asleep && self.must_trap && !self.queues.spoiled && !is_head {
            let sq = (slot / 2)
                .try_into()
                .ok()
                .and_then(|qid| self.queues.sq(qid));
            // From one possible tail to another.
            let sound = sq.is_some_and(|sq| old == sq.tail && value != old && value < sq.entries);
            assert!(
                !sound,
                "a doorbell of a sleeping device does not trap: {old} -> {value}"
            );
        }
    }

    /// Prepares sleep as a poller does.
    pub fn sleep(&mut self) {
        self.look_at_little();
        if !self.asleep && self.function.prepare_sleep() {
            self.asleep = true;
            let mut command = [0; 2];
            self.function.read(Region::Config, 4, &mut command);
            self.must_trap = command[0] & 4 != 0 && self.running;
        }
        self.look_at_little();
    }

    pub fn wake(&mut self) {
        self.trap();
        self.look_at_little();
    }

    /// Between steps the device writes nothing but shadow doorbells and event indices.
    fn look_at_little(&mut self) {
        let mut allowed = Vec::new();
        containment::shadow(&self.queues, &mut allowed);
        let checked = !self.queues.spoiled;
        self.memory.look(checked.then_some(&allowed[..]));
    }

    // Steps.

    fn page_size(&mut self) -> u64 {
        1 << (12 + (self.register(CC) >> 7 & 0xF).min(4))
    }

    /// Lets the device work once, and checks everything that it has done.
    pub fn step(&mut self, pass: u64) {
        self.now += pass;
        self.trap();
        self.look_at_little();
        let page = self.page_size();
        let allowed = if self.queues.spoiled {
            None
        } else {
            containment::allowed(&self.queues, &self.memory, page)
        };
        self.queues.spoiled |= allowed.is_none();
        let next = self.step_device();
        assert!(next.is_none_or(|next| next >= self.now), "back in time");
        self.memory.look(allowed.as_deref());
        if !self.queues.spoiled {
            self.take_completions();
        }
    }

    fn step_device(&mut self) -> Option<u64> {
        match &mut self.lane {
            Some(lane) if self.function.can_lend(ALL) => {
                self.function.lend(lane, ALL);
                lane.step(self.now, &mut self.port);
                self.function.step(self.now, &mut self.port);
                self.function.take_back(lane);
            }
            _ => {}
        }
        self.function.step(self.now, &mut self.port)
    }

    fn take_completions(&mut self) {
        // Those of the admin queue last: they may take the other queues away.
        let mut ids: Vec<u16> = self.queues.completion.iter().map(|cq| cq.id).collect();
        ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        for id in ids {
            while let Some(found) = self.queues.next_completion(id, &self.memory) {
                self.completed(&found);
                if self.queues.spoiled {
                    return;
                }
            }
        }
    }

    fn completed(&mut self, found: &Found) {
        let Found {
            sqid,
            status,
            issued,
        } = found;
        let command = &issued.command;
        self.trace(&|| format!("queue {sqid} {status:x?} {command:x?}"));
        match issued.expect {
            Expect::Success if !is_aborted(*status) => {
                assert_eq!(*status, SUCCESS, "queue {sqid}: {:x?}", command.0);
            }
            Expect::Refused => {
                assert_ne!(*status, SUCCESS, "queue {sqid}: {:x?}", command.0);
            }
            _ => {}
        }
        if let Some(transfer) = &issued.transfer {
            self.medium.complete(transfer, *status, &self.memory);
        }
        self.free_pages.extend(&issued.pages);
        if (*sqid, *status) == (0, SUCCESS) {
            self.admin_completed(command);
        }
    }

    /// An admin command has changed what queues there are.
    fn admin_completed(&mut self, command: &Command) {
        let (id, size) = command.halves(10);
        let (base, entries) = (command.get_quad(6), u32::from(size) + 1);
        let added = match command.opcode() {
            CREATE_CQ => {
                self.queues.spoiled |= !Queues::is_clear(&self.memory, base, entries);
                (base, base + u64::from(entries) * 16)
            }
            CREATE_SQ => (base, base + u64::from(entries) * 64),
            DOORBELL_BUFFERS => (base, base + 128),
            DELETE_SQ => return self.remove_sq(id),
            DELETE_CQ => return self.queues.completion.retain(|cq| cq.id != id),
            _ => return,
        };
        let protected = self.queues.protected();
        self.queues.spoiled |= protected.iter().any(|range| overlap(*range, added));
        match command.opcode() {
            CREATE_CQ => self.add_cq(id, base, entries),
            CREATE_SQ => self.add_sq(id, base, entries, command.halves(11).1),
            _ => {
                let events = command.get_quad(8);
                let event_range = (events, events + 128);
                self.queues.spoiled |= protected.iter().any(|range| overlap(*range, event_range));
                self.queues.shadow = Some((base, events));
            }
        }
    }

    fn add_cq(&mut self, id: u16, base: u64, entries: u32) {
        self.queues.completion.push(Completion {
            id,
            base,
            entries,
            seen: 0,
            phase: 1,
            head: 0,
        });
    }

    fn add_sq(&mut self, id: u16, base: u64, entries: u32, cqid: u16) {
        self.queues.submission.push(Submission {
            id,
            base,
            entries,
            cqid,
            tail: 0,
            head: 0,
            issued: Vec::new(),
        });
    }

    fn remove_sq(&mut self, id: u16) {
        let Some(at) = self.queues.submission.iter().position(|sq| sq.id == id) else {
            return;
        };
        for issued in self.queues.submission.remove(at).issued {
            if let Some(transfer) = &issued.transfer {
                self.medium.forget(transfer);
            }
            self.free_pages.extend(issued.pages);
        }
    }

    // Bring-up.

    /// Configuration space and MSI-X as a driver sets them up.
    fn set_up_function(&mut self) {
        self.write(Region::Config, 0x44, 1, 0);
        self.write(Region::Config, 0x10, 8, BAR0);
        self.write(Region::Config, 4, 2, 6);
        self.write(Region::Config, 0x52, 2, 0x8000);
        for vector in 0..u64::from(VECTORS) {
            let entry = MSIX_TABLE + 16 * vector;
            self.write(Region::Bar0, entry, 8, 0xFEE0_0000);
            self.write(Region::Bar0, entry + 8, 8, vector);
        }
    }

    /// From whatever state to a running controller with new admin queues of `entries`.
    pub fn bring_up(&mut self, entries: u32) {
        self.set_up_function();
        self.write(Region::Bar0, CC, 4, 0);
        assert_eq!(
            self.register(CSTS) & 0b11,
            0,
            "the controller does not stop"
        );
        let (sq, cq) = (fixed_page(0), fixed_page(1));
        self.memory.write(cq, &[0; 4096]);
        let last = u64::from(entries - 1);
        self.write(Region::Bar0, AQA, 4, last << 16 | last);
        self.write(Region::Bar0, ASQ, 8, sq);
        self.write(Region::Bar0, ACQ, 8, cq);
        self.write(Region::Bar0, CC, 4, CC_ENABLE.into());
        self.queues = Queues::default();
        self.add_cq(0, cq, entries);
        self.add_sq(0, sq, entries, 0);
        self.step(1000);
        assert_eq!(
            self.register(CSTS) & 0b11,
            1,
            "the controller does not start"
        );
    }

    /// Gives every completion queue back what was seen.
    pub fn reap_all(&mut self) {
        let heads: Vec<_> = self
            .queues
            .completion
            .iter()
            .map(|cq| (cq.id, cq.seen))
            .collect();
        for (id, seen) in heads {
            self.move_head(id, seen);
        }
    }

    /// Rings a head doorbell with a value that the device takes.
    pub fn move_head(&mut self, id: u16, head: u32) {
        let moves = self.queues.cq(id).is_some_and(|cq| cq.head != head);
        if moves
            && self.ring(id, true, head)
            && let Some(cq) = self.queues.cq(id)
        {
            cq.head = head;
        }
    }

    /// Tells the device of commands whose entries are in place.
    pub fn issue(&mut self, qid: u16, commands: Vec<Issued>) {
        let Some(sq) = self.queues.sq(qid) else {
            return;
        };
        let tail = (sq.tail + u32::try_from(commands.len()).unwrap()) % sq.entries;
        for issued in &commands {
            self.trace(&|| format!("queue {qid} issues {:x?}", issued.command));
        }
        if self.ring(qid, false, tail)
            && let Some(sq) = self.queues.sq(qid)
        {
            sq.tail = tail;
            sq.issued.extend(commands);
        } else {
            for issued in commands {
                self.free_pages.extend(issued.pages);
            }
        }
    }

    /// Whether commands other than requests for events are outstanding.
    pub fn is_busy(&self) -> bool {
        let mut submission = self.queues.submission.iter();
        submission.any(|sq| {
            let mut issued = sq.issued.iter();
            issued.any(|issued| sq.id != 0 || issued.command.opcode() != EVENT_REQUEST)
        })
    }

    /// Lets everything complete that was issued. It must, on a device that was treated well.
    pub fn drain(&mut self) {
        self.write(Region::Config, 4, 2, 6);
        for _ in 0..400 {
            if !self.is_busy() || self.queues.spoiled {
                break;
            }
            self.step(50_000);
            self.reap_all();
        }
        let left = |sq: &Submission| (sq.id, sq.tail, sq.head, sq.issued.len());
        let left: Vec<_> = self.queues.submission.iter().map(left).collect();
        assert!(
            self.queues.spoiled || !self.is_busy(),
            "never completed: {left:?}"
        );
    }

    /// Whether nothing is left to do for the device after some time.
    pub fn becomes_idle(&mut self) -> bool {
        (0..40).any(|_| {
            self.step(1_000_000);
            self.function.is_idle()
        })
    }
}

/// A little I/O that must work.
impl Host {
    /// Writes and reads one block of each namespace.
    pub fn sane(&mut self) {
        for nsid in 1..=2 {
            let [from, to] = [self.free_pages[0], self.free_pages[1]];
            let stamp = self.medium.stamps(1)[0];
            self.memory
                .write(from, &[stamp.to_le_bytes(); 512].concat());
            let before = self.memory.at(from, 4096).unwrap().to_vec();
            for (opcode, page) in [(WRITE, from), (READ, to)] {
                let command = Command::new(opcode).nsid(nsid).prp(page, 0);
                let issued = Issued::new(command, Expect::Success);
                crate::acts::submit(self, 1, vec![issued]);
                self.drain();
            }
            let after = self.memory.at(to, SECTOR).unwrap();
            if self.kind.media == MediaKind::Null {
                assert!(after.iter().all(|byte| *byte == 0));
            } else {
                assert_eq!(after, &before[..SECTOR], "what was written is not read");
            }
            self.medium.forget_start(nsid as usize - 1);
        }
    }
}

impl Host {
    /// For a look at a stream that fails: what is issued, if `HIPRI_FUZZ_TRACE` is set.
    pub fn trace(&self, what: &dyn Fn() -> String) {
        if self.traced {
            eprintln!("{:>9} {}", self.now, what());
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What hosts do. A well-behaved one, here, may still send commands that must be refused, but never
//! two owners of one piece of memory; what others do is in `wild`.

use emulator::pci::Region;
use proptest::prelude::*;

use crate::dice::Dice;
use crate::host::{CC, CC_ENABLE, Host, MAX_TRANSFER, QUEUE_DEPTH, QUEUE_PAIRS, fixed_page};
use crate::issue::*;
use crate::medium::{Deed, SECTOR, SECTORS, Transfer};
use crate::memory::PAGE;
use crate::wild;

/// One action. The seeds decide the rest, together with what the host knows by then.
#[derive(Clone, Debug)]
pub enum Act {
    /// Commands on an I/O queue.
    Io(Vec<u64>),
    /// Commands on the admin queue.
    Admin(Vec<u64>),
    /// The device works once.
    Step(u64),
    /// Completions are given back.
    Reap(u64),
    Sleep,
    Wake,
    /// Things that are done with nothing under way, and resets.
    Rare(u64),
    /// Something that no driver does; only in wild streams.
    Wild(u64),
}

fn seed() -> impl Strategy<Value = u64> {
    any::<u64>().no_shrink()
}

pub fn act() -> impl Strategy<Value = Act> {
    let seeds = |most| prop::collection::vec(seed(), 1..most);
    prop_oneof![
        20 => seeds(20).prop_map(Act::Io),
        4 => seeds(6).prop_map(Act::Admin),
        16 => seed().prop_map(Act::Step),
        12 => seed().prop_map(Act::Reap),
        2 => Just(Act::Sleep),
        1 => Just(Act::Wake),
        1 => seed().prop_map(Act::Rare),
        6 => seed().prop_map(Act::Wild),
    ]
}

/// Does it.
pub fn perform(host: &mut Host, act: &Act, wild: bool, salt: u64) {
    let dice = |seed: u64| Dice::new(seed ^ salt);
    match act {
        Act::Io(seeds) => io(host, seeds, wild, salt),
        Act::Admin(seeds) => admin(host, seeds, wild, salt),
        Act::Step(seed) => {
            let pass = dice(*seed).pick(&[0, 100, 1000, 5000, 20_000, 1_000_000]);
            host.step(pass);
        }
        Act::Reap(seed) => reap(host, &mut dice(*seed)),
        Act::Sleep => host.sleep(),
        Act::Wake => host.wake(),
        Act::Rare(seed) => rare(host, &mut dice(*seed), wild),
        Act::Wild(seed) if wild => wild::act(host, &mut dice(*seed)),
        Act::Wild(_) => host.step(1000),
    }
}

/// Queues for a start, made one after another.
pub fn make_queues(host: &mut Host, dice: &mut Dice) {
    for id in 1..=QUEUE_PAIRS {
        if id > 1 && dice.one_in(3) {
            continue;
        }
        let entries = 2 + dice.small(QUEUE_DEPTH - 1);
        let create = create_cq(host, dice, id, entries);
        run_admin(host, create);
        let create = create_sq(dice, id, entries, id);
        run_admin(host, create);
    }
    if host.kind.doorbells == emulator::controller::DoorbellMode::Shadow && !dice.one_in(4) {
        let command = doorbell_buffers(host);
        run_admin(host, command);
    }
}

fn run_admin(host: &mut Host, command: Command) {
    let issued = Issued::new(command, Expect::Success);
    submit(host, 0, vec![issued]);
    host.drain();
}

/// Puts commands into their queue, as many as fit, and rings.
pub fn submit(host: &mut Host, qid: u16, mut commands: Vec<Issued>) {
    let Some(sq) = host.queues.sq(qid) else {
        return;
    };
    let fits = sq.space() as usize;
    for issued in commands.drain(fits.min(commands.len())..) {
        host.free_pages.extend(issued.pages);
    }
    let slots: Vec<u64> = (0..)
        .take(commands.len())
        .map(|ahead| sq.slot(ahead))
        .collect();
    for (issued, slot) in commands.iter_mut().zip(slots) {
        issued.command = issued.command.with_cid(host.next_cid);
        host.next_cid = host.next_cid.wrapping_add(1);
        host.memory.write(slot, &issued.command.bytes());
    }
    host.issue(qid, commands);
}

fn io(host: &mut Host, seeds: &[u64], wild: bool, salt: u64) {
    let ids: Vec<u16> = host
        .queues
        .submission
        .iter()
        .map(|sq| sq.id)
        .filter(|id| *id > 0)
        .collect();
    if ids.is_empty() {
        return;
    }
    let mut dice = Dice::new(seeds[0] ^ salt);
    let qid = dice.pick(&ids);
    let fits = host.queues.sq(qid).map_or(0, |sq| sq.space() as usize);
    let mut batch: Vec<Issued> = Vec::new();
    for seed in seeds.iter().take(fits) {
        let mut dice = Dice::new(seed ^ salt);
        let issued = if wild {
            Some(Issued::new(
                wild::io_command(host, &mut dice),
                Expect::Anything,
            ))
        } else if dice.one_in(12) {
            Some(refused(host, &mut dice))
        } else {
            well_formed(host, &mut dice)
        };
        let Some(mut issued) = issued else { continue };
        if let Some(transfer) = &mut issued.transfer {
            mark_races(host, &mut batch, transfer);
        }
        batch.push(issued);
    }
    submit(host, qid, batch);
}

/// Notes which commands are outstanding on the same sectors.
fn mark_races(host: &mut Host, batch: &mut [Issued], new: &mut Transfer) {
    let outstanding = host
        .queues
        .submission
        .iter_mut()
        .flat_map(|sq| sq.issued.iter_mut());
    for other in outstanding
        .chain(batch)
        .filter_map(|issued| issued.transfer.as_mut())
    {
        if other.races(new) {
            other.raced = true;
            new.raced = true;
        }
    }
}

/// A command that succeeds.
fn well_formed(host: &mut Host, dice: &mut Dice) -> Option<Issued> {
    let namespace = dice.index(2);
    let block = 1_usize << host.medium.shifts[namespace] >> 9;
    let blocks = SECTORS[namespace] / block;
    let most = blocks.min(usize::try_from(MAX_TRANSFER).unwrap() / SECTOR / block);
    let wanted = if dice.one_in(5) {
        1 + dice.index(most)
    } else {
        1 + dice.index(most.min(4))
    };
    let first = dice.index(blocks - wanted + 1);
    let mut transfer = Transfer {
        namespace,
        first: first * block,
        count: wanted * block,
        deed: Deed::Read,
        pieces: Vec::new(),
        raced: false,
    };
    let opcode = dice.pick(&[
        READ,
        READ,
        READ,
        WRITE,
        WRITE,
        WRITE,
        WRITE,
        COMPARE,
        VERIFY,
        WRITE_ZEROES,
        FLUSH,
        DATASET_MANAGEMENT,
    ]);
    let mut command = Command::new(opcode)
        .nsid(u32::try_from(namespace).unwrap() + 1)
        .quad(10, first as u64)
        .cdw(12, u32::try_from(wanted - 1).unwrap());
    if dice.one_in(8) && matches!(opcode, READ | WRITE | WRITE_ZEROES) {
        command.0[12] |= 1 << 30;
    }
    match opcode {
        WRITE => transfer.deed = Deed::Write(host.medium.stamps(transfer.count)),
        COMPARE => transfer.deed = Deed::Compare(guess(host, dice, &transfer)),
        WRITE_ZEROES => {
            command.0[12] |= dice.small(2) << 25;
            transfer.deed = Deed::Zero;
        }
        DATASET_MANAGEMENT => return deallocate(host, dice, transfer, block),
        VERIFY => return Some(Issued::new(command, Expect::Success)),
        FLUSH => {
            let nsid = if dice.one_in(4) {
                u32::MAX
            } else {
                command.0[1]
            };
            return Some(Issued::new(Command::new(FLUSH).nsid(nsid), Expect::Success));
        }
        _ => {}
    }
    let mut issued = Issued::new(command, Expect::Anything);
    if opcode != WRITE_ZEROES {
        let length = transfer.count * SECTOR;
        let (prp1, prp2) = buffer(host, dice, length, &mut transfer, &mut issued.pages)?;
        issued.command = command.prp(prp1, prp2);
    }
    issued.transfer = Some(transfer);
    Some(issued)
}

/// Data for a Compare: right or wrong.
fn guess(host: &mut Host, dice: &mut Dice, transfer: &Transfer) -> Vec<u64> {
    if dice.one_in(2) {
        return host.medium.stamps(transfer.count);
    }
    let known = host.medium.known(transfer).iter();
    known.map(|stamp| stamp.unwrap_or(1)).collect()
}

/// Dataset Management of one range and some empty ones.
fn deallocate(
    host: &mut Host,
    dice: &mut Dice,
    mut transfer: Transfer,
    block: usize,
) -> Option<Issued> {
    let page = take_page(host, dice)?;
    let ranges = 1 + dice.small(3);
    let mut bytes = Vec::new();
    for index in 0..ranges {
        let blocks = if index == 0 {
            transfer.count / block
        } else {
            0
        };
        bytes.extend(dice.u32().to_le_bytes());
        bytes.extend(u32::try_from(blocks).unwrap().to_le_bytes());
        bytes.extend(((transfer.first / block) as u64).to_le_bytes());
    }
    host.memory.write(page, &bytes);
    let effective = !dice.one_in(4);
    let command = Command::new(DATASET_MANAGEMENT)
        .nsid(u32::try_from(transfer.namespace).unwrap() + 1)
        .prp(page, dice.u64())
        .cdw(10, ranges - 1)
        .cdw(11, u32::from(effective) << 2);
    let mut issued = Issued::new(command, Expect::Success);
    issued.pages.push(page);
    if effective {
        transfer.deed = Deed::Zero;
        issued.transfer = Some(transfer);
    }
    Some(issued)
}

fn take_page(host: &mut Host, dice: &mut Dice) -> Option<u64> {
    if host.free_pages.is_empty() {
        return None;
    }
    let at = dice.index(host.free_pages.len());
    Some(host.free_pages.swap_remove(at))
}

/// Pages for a transfer, filled with what the transfer gives; its PRPs.
fn buffer(
    host: &mut Host,
    dice: &mut Dice,
    length: usize,
    transfer: &mut Transfer,
    pages: &mut Vec<u64>,
) -> Option<(u64, u64)> {
    let page = usize::try_from(PAGE).unwrap();
    let offset = if dice.one_in(3) {
        dice.index(page / 4) * 4
    } else {
        0
    };
    let needed = (offset + length).div_ceil(page);
    // Two more for lists.
    if host.free_pages.len() < needed + 2 {
        return None;
    }
    let data: Vec<u64> = (0..needed).filter_map(|_| take_page(host, dice)).collect();
    pages.extend(&data);
    let mut left = length;
    for (index, &address) in data.iter().enumerate() {
        let at = if index == 0 { offset } else { 0 };
        let piece = left.min(page - at);
        transfer.pieces.push((address + at as u64, piece));
        left -= piece;
    }
    if let Deed::Write(stamps) | Deed::Compare(stamps) = &transfer.deed {
        let bytes: Vec<u8> = stamps
            .iter()
            .flat_map(|stamp| [stamp.to_le_bytes(); 64].concat())
            .collect();
        let mut rest = &bytes[..];
        for &(address, length) in &transfer.pieces {
            host.memory.write(address, &rest[..length]);
            rest = &rest[length..];
        }
    }
    let prp2 = match &data[1..] {
        [] => dice.u64(),
        [second] => *second,
        rest => list(host, dice, rest, pages)?,
    };
    Some((data[0] + offset as u64, prp2))
}

/// A PRP list somewhere in a page; near its end it goes on in another.
fn list(host: &mut Host, dice: &mut Dice, entries: &[u64], pages: &mut Vec<u64>) -> Option<u64> {
    let first = take_page(host, dice)?;
    pages.push(first);
    let room = if dice.one_in(2) {
        1 + dice.index(entries.len())
    } else {
        1 + dice.index(512)
    };
    let start = first + PAGE - 8 * room as u64;
    let mut at = start;
    for (index, entry) in entries.iter().enumerate() {
        let last_slot = (at + 8).is_multiple_of(PAGE);
        if last_slot && index + 1 < entries.len() {
            let next = take_page(host, dice)?;
            pages.push(next);
            host.memory.write(at, &next.to_le_bytes());
            at = next;
        }
        host.memory.write(at, &entry.to_le_bytes());
        at += 8;
    }
    Some(start)
}

/// A command that must fail and change nothing.
fn refused(host: &mut Host, dice: &mut Dice) -> Issued {
    let namespace = dice.index(2);
    let block = 1_usize << host.medium.shifts[namespace] >> 9;
    let blocks = (SECTORS[namespace] / block) as u64;
    let opcode = dice.pick(&[READ, WRITE, COMPARE]);
    let good = fixed_page(20);
    let command = Command::new(opcode)
        .nsid(u32::try_from(namespace).unwrap() + 1)
        .prp(good, 0);
    let command = match dice.below(9) {
        0 => command.nsid(dice.pick(&[0, 3, u32::MAX, 0x8000_0001])),
        1 => command.quad(10, blocks),
        2 => command
            .quad(10, u64::MAX - dice.below(3))
            .cdw(12, dice.small(8)),
        3 => command.cdw(12, 0xFFFF),
        4 => command.prp(good + 1 + dice.below(3), 0),
        5 => command.prp(
            dice.pick(&[0, 0x1FF_F000, 0x206_0000, !0xFFF, 0x7A_5A00_8000]),
            0,
        ),
        6 => command.flags(dice.pick(&[1, 2, 3, 0x40, 0x80, 0xC0])),
        7 => Command(Command::new(dice.pick(&[0x03, 0x04, 0x0D, 0x7F, 0xFF])).0).nsid(1),
        // Not enough room in the page, and no second one.
        _ => command.prp(good + 0xE04, dice.pick(&[0, 1, 0x20, 0x1FF_F000])),
    };
    Issued::new(command, Expect::Refused)
}

fn reap(host: &mut Host, dice: &mut Dice) {
    if dice.one_in(2) {
        host.reap_all();
        return;
    }
    let at = dice.index(host.queues.completion.len().max(1));
    if let Some(cq) = host.queues.completion.get(at) {
        let taken = dice.small(cq.used() + 1);
        let (id, head) = (cq.id, (cq.head + taken) % cq.entries);
        host.move_head(id, head);
    }
}

fn admin(host: &mut Host, seeds: &[u64], wild: bool, salt: u64) {
    let mut batch = Vec::new();
    for seed in seeds {
        let mut dice = Dice::new(seed ^ salt);
        let command = if wild && dice.one_in(2) {
            wild::admin_command(host, &mut dice)
        } else {
            match admin_command(host, &mut dice) {
                Some(issued) => {
                    batch.push(issued);
                    continue;
                }
                None => continue,
            }
        };
        batch.push(Issued::new(command, Expect::Anything));
    }
    submit(host, 0, batch);
}

/// What a driver might ask.
fn admin_command(host: &mut Host, dice: &mut Dice) -> Option<Issued> {
    let mut pages = Vec::new();
    let (command, expect) = match dice.below(12) {
        0..4 => {
            pages.push(take_page(host, dice)?);
            let command = match dice.below(3) {
                0 => Command::new(IDENTIFY).cdw(10, dice.small(0x20)),
                1 => Command::new(GET_LOG_PAGE)
                    .cdw(
                        10,
                        0x00FF_0000 | dice.small(2) << 15 | dice.pick(&[1, 2, 3, 4, 5, 0xC0]),
                    )
                    .quad(12, u64::from(dice.small(64)) * 4),
                _ => Command::new(GET_FEATURES).cdw(10, dice.small(4) << 8 | dice.small(0x20)),
            };
            let command = command
                .nsid(dice.pick(&[0, 1, 2, u32::MAX]))
                .prp(pages[0], dice.u64());
            (command, Expect::Anything)
        }
        4 => (set_feature(dice), Expect::Anything),
        5 => (Command::new(EVENT_REQUEST), Expect::Anything),
        6 => (
            Command::new(dice.pick(&[0x03, 0x0B, 0x7F, 0xFF])),
            Expect::Refused,
        ),
        7 => {
            let qid = dice.small(5);
            let age = 1 + dice.small(40);
            let cid = u32::from(host.next_cid).wrapping_sub(age) & 0xFFFF;
            (
                Command::new(ABORT).cdw(10, cid << 16 | qid),
                Expect::Anything,
            )
        }
        _ => {
            return change_queues(host, dice).map(|command| Issued::new(command, Expect::Anything));
        }
    };
    let mut issued = Issued::new(command, expect);
    issued.pages = pages;
    Some(issued)
}

fn set_feature(dice: &mut Dice) -> Command {
    let (id, value) = match dice.below(7) {
        0 => (0x01, dice.u32()),
        1 => (0x04, dice.small(500) | dice.small(2) << 20),
        2 => (0x05, dice.u32() & 0xFFFF),
        3 => (0x06, dice.small(2)),
        4 => (0x08, dice.u32() & 0x0707),
        5 => (0x09, dice.small(2) << 16 | dice.small(6)),
        _ => (0x0B, dice.u32() & 0xFFFF),
    };
    Command::new(SET_FEATURES)
        .cdw(10, id)
        .cdw(11, value)
        .nsid(0)
}

/// Makes or deletes a queue that may be made or deleted.
fn change_queues(host: &mut Host, dice: &mut Dice) -> Option<Command> {
    // One change at a time: the next one depends on it.
    let admin = host.queues.sq(0)?;
    let changes = |issued: &Issued| {
        matches!(
            issued.command.opcode(),
            CREATE_SQ | CREATE_CQ | DELETE_SQ | DELETE_CQ | DOORBELL_BUFFERS
        )
    };
    if admin.issued.iter().any(changes) {
        return None;
    }
    let id = 1 + dice.pick(&[0, 1, 2, 3]);
    let has_sq = host.queues.sq(id).is_some();
    let attached = host
        .queues
        .submission
        .iter()
        .filter(|sq| sq.cqid == id)
        .count();
    let entries = 2 + dice.small(QUEUE_DEPTH - 1);
    match host.queues.cq(id) {
        None => Some(create_cq(host, dice, id, entries)),
        Some(_) if !has_sq => {
            let cqids: Vec<u16> = host
                .queues
                .completion
                .iter()
                .map(|cq| cq.id)
                .filter(|id| *id > 0)
                .collect();
            if attached == 0 && dice.one_in(3) {
                return Some(Command::new(DELETE_CQ).cdw(10, id.into()));
            }
            let cqid = if dice.one_in(4) {
                dice.pick(&cqids)
            } else {
                id
            };
            Some(create_sq(dice, id, entries, cqid))
        }
        Some(_) => dice
            .one_in(6)
            .then(|| Command::new(DELETE_SQ).cdw(10, id.into())),
    }
}

/// Two places for each queue, so that a new one need not be where the old one was.
fn queue_page(dice: &mut Dice, index: u64) -> u64 {
    fixed_page(2 + index + 8 * dice.below(2))
}

fn create_cq(host: &mut Host, dice: &mut Dice, id: u16, entries: u32) -> Command {
    let base = queue_page(dice, 2 * u64::from(id - 1) + 1);
    host.memory.write(base, &[0; 4096]);
    let interrupts = u32::from(id) << 16 | dice.small(2) << 1;
    Command::new(CREATE_CQ)
        .prp(base, 0)
        .cdw(10, (entries - 1) << 16 | u32::from(id))
        .cdw(11, interrupts | 1)
}

fn create_sq(dice: &mut Dice, id: u16, entries: u32, cqid: u16) -> Command {
    let base = queue_page(dice, 2 * u64::from(id - 1));
    Command::new(CREATE_SQ)
        .prp(base, 0)
        .cdw(10, (entries - 1) << 16 | u32::from(id))
        .cdw(11, u32::from(cqid) << 16 | 1)
}

fn doorbell_buffers(host: &mut Host) -> Command {
    for page in [18, 19] {
        host.memory.write(fixed_page(page), &[0; 4096]);
    }
    Command::new(DOORBELL_BUFFERS).prp(fixed_page(18), fixed_page(19))
}

/// Resets and the like.
fn rare(host: &mut Host, dice: &mut Dice, wild: bool) {
    match dice.below(8) {
        0 => {
            let entries = 2 + dice.small(62);
            host.bring_up(entries);
            make_queues(host, dice);
        }
        1 => {
            host.write(Region::Config, 0x68, 2, 0x8000); // function level reset
            host.bring_up(32);
            make_queues(host, dice);
        }
        2 => {
            host.write(Region::Bar0, CC, 4, u64::from(CC_ENABLE | 1 << 14)); // shutdown
            host.step(1000);
            host.bring_up(32);
            make_queues(host, dice);
        }
        3 => {
            host.reattach();
            host.bring_up(16);
            make_queues(host, dice);
        }
        4 => host.set_profile(dice.one_in(2)),
        5 => host.set_temperature(u16::try_from(dice.below(500)).unwrap()),
        6 => {
            // For a while it may not reach memory.
            host.write(Region::Config, 4, 2, 2);
            host.step(1000);
            host.write(Region::Config, 4, 2, 6);
        }
        _ if wild => host.step(0),
        _ => format(host, dice),
    }
}

/// Another block size, with nothing under way.
fn format(host: &mut Host, dice: &mut Dice) {
    host.drain();
    if host.queues.sq(0).is_none_or(|admin| admin.space() == 0) {
        return; // a small queue, of which the device has not told how far it is
    }
    let namespace = dice.index(2);
    let (format, shift) = dice.pick(&[(0, 9), (1, 12)]);
    let command = Command::new(FORMAT)
        .nsid(u32::try_from(namespace).unwrap() + 1)
        .cdw(10, format | dice.small(2) << 9);
    run_admin(host, command);
    host.medium.format(namespace, shift);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What no driver does: any command, any register, any doorbell, any memory.

use emulator::pci::Region;

use crate::dice::Dice;
use crate::host::{CC, CC_ENABLE, DOORBELLS, Host, fixed_page};
use crate::issue::*;
use crate::memory::{PAGE, REGIONS, overlap};

/// An address that is likely to do harm: mostly pages of RAM that are for data.
fn address(dice: &mut Dice) -> u64 {
    let (start, pages) = dice.pick(&REGIONS);
    let data = |dice: &mut Dice| {
        let first = if start == REGIONS[0].0 { 24 } else { 0 };
        start + (first + dice.below(pages - first)) * PAGE
    };
    match dice.below(24) {
        0..14 => data(dice),
        14..17 => data(dice) + dice.below(PAGE) / 4 * 4,
        // A list at the end of a page.
        17..19 => data(dice) + PAGE - 8 * (1 + dice.below(4)),
        19 => data(dice) + dice.below(PAGE),
        20 => start + pages * PAGE - dice.below(2) * PAGE,
        21 => dice.pick(&[0, u64::MAX, !0xFFF, start.wrapping_sub(PAGE)]),
        22 if dice.one_in(8) => fixed_page(dice.below(24)),
        _ => dice.u64(),
    }
}

fn anything(dice: &mut Dice, opcode: u8) -> Command {
    let mut command = Command::new(opcode)
        .nsid(dice.pick(&[1, 1, 1, 2, 2, 2, 0, 3, u32::MAX]))
        .prp(address(dice), address(dice));
    for dword in &mut command.0[10..16] {
        *dword = if dice.one_in(2) { 0 } else { dice.field() };
    }
    if dice.one_in(12) {
        command = command.flags(dice.byte());
    }
    if dice.one_in(16) {
        command.0[2] = dice.u32();
        command.0[4] = dice.u32();
    }
    command
}

/// Addresses into a page that may become a list.
fn write_list(host: &mut Host, dice: &mut Dice, at: u64) {
    let bytes: Vec<u8> = (0..1 + dice.below(12))
        .flat_map(|_| address(dice).to_le_bytes())
        .collect();
    poke(host, at & !7, &bytes);
}

/// Any I/O command.
pub fn io_command(host: &mut Host, dice: &mut Dice) -> Command {
    let opcode = match dice.below(16) {
        0..5 => READ,
        5..10 => WRITE,
        10 => COMPARE,
        11 => VERIFY,
        12 => dice.pick(&[WRITE_ZEROES, FLUSH]),
        13 => DATASET_MANAGEMENT,
        _ => dice.byte(),
    };
    let mut command = anything(dice, opcode);
    if !dice.one_in(8) {
        // Within reach, so that something happens.
        command = command.quad(10, dice.below(80)).cdw(12, dice.small(24));
    }
    if dice.one_in(4) {
        write_list(host, dice, command.get_quad(8));
    }
    if opcode == DATASET_MANAGEMENT {
        command.0[10] = dice.small(4);
        command.0[11] = 4;
    }
    command
}

/// Any admin command.
pub fn admin_command(host: &mut Host, dice: &mut Dice) -> Command {
    let opcode = dice.pick(&[
        DELETE_SQ,
        CREATE_SQ,
        GET_LOG_PAGE,
        DELETE_CQ,
        CREATE_CQ,
        IDENTIFY,
        ABORT,
        SET_FEATURES,
        GET_FEATURES,
        EVENT_REQUEST,
        DOORBELL_BUFFERS,
        FORMAT,
        0x18,
    ]);
    let opcode = if dice.one_in(10) { dice.byte() } else { opcode };
    let mut command = anything(dice, opcode);
    match opcode {
        DELETE_SQ | DELETE_CQ => command.0[10] = dice.small(6),
        CREATE_SQ | CREATE_CQ if !dice.one_in(6) => {
            command.0[10] = dice.small(5) | dice.small(70) << 16;
            command.0[11] = dice.small(6) << 16 | dice.small(4);
        }
        ABORT => command.0[10] = dice.small(5) | (u32::from(host.next_cid) & 0xFFFF) << 16,
        SET_FEATURES | GET_FEATURES => command.0[10] = dice.small(0x20) | dice.small(4) << 8,
        IDENTIFY => command.0[10] = dice.small(0x20),
        GET_LOG_PAGE if !dice.one_in(4) => {
            command.0[10] = dice.pick(&[1, 2, 3, 4, 5, 0xC0]) | dice.small(2048) << 16;
            command.0[11] = 0;
        }
        _ => {}
    }
    command
}

/// Writes to memory, and notes when the device may stumble over it.
fn poke(host: &mut Host, at: u64, bytes: &[u8]) {
    let range = (at, at.saturating_add(bytes.len() as u64));
    let protected = host.queues.protected();
    host.queues.spoiled |= protected.iter().any(|other| overlap(range, *other));
    host.memory.write(at, bytes);
}

/// Something that no driver does.
pub fn act(host: &mut Host, dice: &mut Dice) {
    match dice.below(16) {
        0..5 => doorbell(host, dice),
        5..9 => {
            let at = address(dice);
            write_list(host, dice, at);
        }
        9 | 10 => {
            let (offset, size) = place(dice);
            host.read(Region::Bar0, offset, size);
            host.read(Region::Config, offset & 0xFFF, size);
        }
        11 | 12 => {
            let (offset, size) = place(dice);
            // Never what would disable the controller by chance: that is less often, below.
            if !(offset < 0x38 && offset + size as u64 > CC) {
                let value = dice.u64();
                host.write(Region::Bar0, offset, size, value);
            }
        }
        13 => {
            let (at, size) = (dice.below(0x1000), dice.pick(&[1, 2, 4, 8]));
            let value = dice.u64();
            host.write(Region::Config, at, size, value);
        }
        14 if dice.one_in(4) => registers(host, dice),
        15 if dice.one_in(4) => recover(host, dice),
        _ => {
            let doorbell = DOORBELLS + dice.below(0x1000);
            let (size, value) = (dice.pick(&[1, 2, 8]), dice.u64());
            narrow_doorbell(host, doorbell, size, value);
        }
    }
}

/// Ends what other wild acts may have left.
fn recover(host: &mut Host, dice: &mut Dice) {
    host.bring_up(2 + dice.small(62));
    crate::acts::make_queues(host, dice);
}

fn place(dice: &mut Dice) -> (u64, usize) {
    let offset = match dice.below(4) {
        0 | 1 => dice.below(0x80),
        2 => dice.pick(&[0, 0x2000, 0x3000]) + dice.below(0x60),
        _ => dice.below(0x5000),
    };
    let offset = if (0x1000..0x2000).contains(&offset) {
        offset & 0xFFF
    } else {
        offset
    };
    (offset, dice.pick(&[1, 2, 4, 4, 8]))
}

/// A doorbell access of a size that means nothing: it is ignored where it traps, and is a change of
/// memory where it does not. Only the former is done.
fn narrow_doorbell(host: &mut Host, offset: u64, size: usize, value: u64) {
    if host.kind.doorbells != emulator::controller::DoorbellMode::Mapped && size != 8 {
        host.write(Region::Bar0, offset, size, value);
    }
}

/// Registers of the controller itself, and perhaps a start.
fn registers(host: &mut Host, dice: &mut Dice) {
    if dice.one_in(3) {
        host.write(Region::Bar0, 0x20, 4, 0x4E56_4D65); // NSSR
    }
    for offset in [0x24, 0x28, 0x2C, 0x30, 0x34] {
        let value = match dice.below(3) {
            0 => u64::from(dice.field()),
            1 => address(dice) & !0xFFFF,
            _ => address(dice),
        };
        host.write(Region::Bar0, offset, 4, value);
    }
    let mps = dice.small(6);
    let cc = match dice.below(4) {
        0 => dice.u32(),
        1 => 0,
        _ => CC_ENABLE | mps << 7,
    };
    host.write(Region::Bar0, CC, 4, cc.into());
    host.step(1000);
}

/// Any doorbell, any value. The model follows where it can be told what comes of it.
fn doorbell(host: &mut Host, dice: &mut Dice) {
    let (qid, is_head) = (dice.pick(&[0, 1, 1, 2, 3, 4, 5, 100, 511]), dice.one_in(2));
    let value = match dice.below(4) {
        0 => dice.field(),
        _ => dice.small(70),
    };
    let mapped = host.kind.doorbells == emulator::controller::DoorbellMode::Mapped;
    let in_memory = mapped || host.queues.shadow.is_some() && qid != 0;
    if is_head {
        let takes = host.queues.cq(qid).map(|cq| cq.can_be_head(value));
        let heard = host.ring(qid, true, value);
        match takes {
            Some(true) if heard => {
                if let Some(cq) = host.queues.cq(qid) {
                    cq.head = value;
                }
            }
            // It may become possible later on.
            Some(false) if in_memory => host.queues.spoiled = true,
            _ => {}
        }
    } else {
        tail(host, qid, value);
    }
}

fn tail(host: &mut Host, qid: u16, value: u32) {
    let mut commands = Vec::new();
    if let Some(sq) = host.queues.sq(qid)
        && value < sq.entries
        && value != sq.tail
    {
        let more = (value + sq.entries - sq.tail) % sq.entries;
        if more > sq.space() {
            // Backwards: nobody knows what was fetched.
            host.queues.spoiled = true;
        } else {
            let slots: Vec<u64> = (0..more).map(|ahead| sq.slot(ahead)).collect();
            for slot in slots {
                let bytes = host.memory.at(slot, 64).unwrap();
                commands.push(Issued::new(Command::from_bytes(bytes), Expect::Anything));
            }
            host.issue(qid, commands);
            return;
        }
    }
    host.ring(qid, false, value);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Addresses that a device must not follow, and other values that it must refuse.

use super::super::expect;
use crate::check::{Failure, Outcome, equal_in};
use crate::command::{
    CREATE_CQ, CREATE_SQ, Command, DATA_TRANSFER_ERROR, DOORBELL_BUFFER_CONFIG, INVALID_FIELD,
    INVALID_QUEUE_IDENTIFIER, INVALID_QUEUE_SIZE, LBA_OUT_OF_RANGE, PRP_OFFSET_INVALID, READ,
    SUCCESS, WRITE, create_cq, create_sq, flush, transfer,
};
use crate::controller::Controller;
use crate::identify;
use crate::layout::{BAR0, Counts, ECAM, EXIT, NOBODY, Parameters};
use crate::memory::{Arena, PAGE, Region};
use crate::rings::QueuePair;

/// What the buffer holds.
const POISON: u64 = 0xEEEE_EEEE_EEEE_EEEE;
/// Status: Invalid Namespace or Format.
const INVALID_NAMESPACE: u16 = 0x00B;
/// Status: Invalid Command Opcode.
const INVALID_OPCODE: u16 = 0x001;

/// PRP1, PRP2, bytes, status.
type Case = (u64, u64, u64, u16);

/// All of it. `pair` is an I/O queue pair with nothing in flight.
pub fn run(
    controller: &mut Controller,
    arena: &mut Arena,
    pair: &mut QueuePair,
    parameters: &Parameters,
    counts: &mut Counts,
) -> Outcome {
    let bench = Bench {
        buffer: arena.pages(4),
        list: arena.pages(1),
        parameters,
    };
    let before = counts.refusals;
    bench.prps(pair, controller, counts)?;
    bench.lists(pair, controller, counts)?;
    bench.places(pair, controller, counts)?;
    admin(controller, arena, parameters, counts)?;
    if counts.refusals == before {
        return Err(Failure::new("commands refused", 1, 0));
    }
    Ok(())
}

/// Addresses outside RAM: its end, BAR0 and its doorbells, configuration space, the exit page,
/// nothing at all, and the last page of the address space.
fn outside(parameters: &Parameters) -> [u64; 8] {
    [
        parameters.ram_bytes,
        BAR0,
        BAR0 + PAGE,
        ECAM,
        EXIT,
        NOBODY,
        1 << 52,
        !(PAGE - 1),
    ]
}

struct Bench<'a> {
    buffer: Region,
    list: Region,
    parameters: &'a Parameters,
}

impl Bench<'_> {
    fn page(&self, number: u64) -> u64 {
        self.buffer.address() + number * PAGE
    }

    /// A read and a write are refused, and nothing is read.
    fn refused(
        &self,
        pair: &mut QueuePair,
        controller: &Controller,
        counts: &mut Counts,
        (prp1, prp2, bytes, status): Case,
    ) -> Outcome {
        let blocks = bytes.div_ceil(self.parameters.block_bytes);
        for opcode in [READ, WRITE] {
            self.buffer.fill(POISON);
            let command = transfer(opcode, 0, blocks).prp(prp1, prp2);
            expect(pair, command, status, controller.patience)?;
            if let Some((offset, word)) = self.buffer.differs(POISON) {
                let message = "a refused command touches nothing (detail: offset)";
                return Err(Failure::new(message, POISON, word).with(offset));
            }
            counts.refusals += 1;
        }
        Ok(())
    }

    fn prps(&self, pair: &mut QueuePair, controller: &Controller, counts: &mut Counts) -> Outcome {
        let (p0, p1, list) = (self.page(0), self.page(1), self.list.address());
        let (one, two, three) = (512, 2 * PAGE, 3 * PAGE);
        let cases: [Case; 8] = [
            (p0 + 1, 0, one, PRP_OFFSET_INVALID),
            (p0 + 2, 0, one, PRP_OFFSET_INVALID),
            (p0 + 3, p1, one, PRP_OFFSET_INVALID),
            (p0, p1 + 4, two, PRP_OFFSET_INVALID),
            (p0, list + 4, three, PRP_OFFSET_INVALID),
            (0, 0, one, DATA_TRANSFER_ERROR),
            (p0, 0, two, DATA_TRANSFER_ERROR),
            (p0, !7, three, DATA_TRANSFER_ERROR),
        ];
        for case in cases {
            self.refused(pair, controller, counts, case)?;
        }
        for address in outside(self.parameters) {
            for (prp1, prp2, bytes) in [
                (address, 0, one),
                (address, p1, two),
                (p0, address, two),
                (p0, address, three),
            ] {
                let case = (prp1, prp2, bytes, DATA_TRANSFER_ERROR);
                self.refused(pair, controller, counts, case)?;
            }
        }
        Ok(())
    }

    /// Wrong entries of a list.
    fn lists(&self, pair: &mut QueuePair, controller: &Controller, counts: &mut Counts) -> Outcome {
        let (p0, p1, list) = (self.page(0), self.page(1), self.list.address());
        self.list.store64(0, p1);
        let mut wrong = |entry, status| {
            self.list.store64(8, entry);
            self.refused(pair, controller, counts, (p0, list, 3 * PAGE, status))
        };
        wrong(self.page(2) + 512, PRP_OFFSET_INVALID)?;
        wrong(0, DATA_TRANSFER_ERROR)?;
        for address in outside(self.parameters) {
            wrong(address, DATA_TRANSFER_ERROR)?;
        }
        // A list whose last entry points back to its beginning ends all the same.
        self.list.store64(8, self.page(2));
        self.list.store64(PAGE - 8, list);
        let blocks = 3 * PAGE / self.parameters.block_bytes;
        let command = transfer(READ, 0, blocks).prp(p0, list + PAGE - 8);
        expect(pair, command, SUCCESS, controller.patience)
    }

    /// Blocks and namespaces that do not exist.
    fn places(
        &self,
        pair: &mut QueuePair,
        controller: &Controller,
        counts: &mut Counts,
    ) -> Outcome {
        let (prp1, blocks) = (self.page(0), self.parameters.blocks);
        let cases = [
            (transfer(READ, blocks, 1), LBA_OUT_OF_RANGE),
            (transfer(WRITE, blocks, 1), LBA_OUT_OF_RANGE),
            (transfer(READ, u64::MAX, 1), LBA_OUT_OF_RANGE),
            (
                transfer(READ, blocks - 1, 1).nsid(0x8000_0000),
                INVALID_NAMESPACE,
            ),
        ];
        for (command, status) in cases {
            expect(pair, command.prp(prp1, 0), status, controller.patience)?;
            counts.refusals += 1;
        }
        // The last block is there.
        let last = transfer(READ, blocks - 1, 1).prp(prp1, 0);
        expect(pair, last, SUCCESS, controller.patience)?;
        expect(pair, flush(), SUCCESS, controller.patience)
    }
}

/// Admin commands with addresses and identifiers that cannot be.
fn admin(
    controller: &mut Controller,
    arena: &mut Arena,
    parameters: &Parameters,
    counts: &mut Counts,
) -> Outcome {
    let page = arena.pages(1).address();
    let limit = controller.queue_limit();
    let mut refuse = |command: Command, status: u16| {
        let completion = controller.try_admin(command)?;
        counts.refusals += 1;
        equal_in(
            "status of an admin command that is wrong (detail: opcode)",
            status.into(),
            completion.status.into(),
            command.0[0] & 0xFF,
        )
    };
    for address in outside(parameters) {
        refuse(identify::command(0x01, 0, address), DATA_TRANSFER_ERROR)?;
        refuse(create_cq(2, 16, address, None), INVALID_FIELD)?;
        refuse(create_sq(2, 16, address, 1), INVALID_FIELD)?;
    }
    refuse(create_cq(2, 16, page + 4, None), INVALID_FIELD)?;
    refuse(create_cq(2, 1, page, None), INVALID_QUEUE_SIZE)?;
    refuse(create_cq(0, 16, page, None), INVALID_QUEUE_IDENTIFIER)?;
    refuse(create_cq(1, 16, page, None), INVALID_QUEUE_IDENTIFIER)?;
    refuse(create_sq(0xFFFF, 16, page, 1), INVALID_QUEUE_IDENTIFIER)?;
    for opcode in [CREATE_CQ, CREATE_SQ] {
        let largest = Command::new(opcode)
            .prp(page, 0)
            .cdw(10, 0xFFFF << 16 | 2)
            .cdw(11, 1 << 16 | 1);
        if limit < 0x1_0000 {
            refuse(largest, INVALID_QUEUE_SIZE)?;
        }
    }
    let wrong = |first, second| Command::new(DOORBELL_BUFFER_CONFIG).prp(first, second);
    let status = if controller.identity.shadow_doorbells {
        INVALID_FIELD
    } else {
        INVALID_OPCODE
    };
    for address in outside(parameters) {
        for command in [wrong(page, address), wrong(address, page)] {
            let completion = controller.try_admin(command)?;
            counts.refusals += 1;
            equal_in(
                "status of Doorbell Buffer Config that cannot be (detail: address)",
                status.into(),
                completion.status.into(),
                address,
            )?;
        }
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What Identify says, checked (NVMe Base 2.0c, 5.17; NVM Command Set 1.0c, 4.1.5).

use crate::check::{Failure, Outcome, at_least, equal, that};
use crate::command::{Command, IDENTIFY, low32};
use crate::doorbell::Mode;
use crate::layout::Parameters;
use crate::memory::{PAGE, Region};

/// OACS: Doorbell Buffer Config.
const OACS_DOORBELL_BUFFER: u32 = 1 << 8;
/// Largest transfer that the guest makes use of, where the controller sets no limit.
const LARGEST_TRANSFER: u64 = 1 << 20;

/// What the driver needs to know.
#[derive(Clone, Copy, Default)]
pub struct Identity {
    /// Largest transfer in bytes.
    pub max_transfer: u64,
    /// Whether Doorbell Buffer Config is offered.
    pub shadow_doorbells: bool,
}

/// Identify with a CNS value into the page at `address`.
pub fn command(cns: u32, nsid: u32, address: u64) -> Command {
    Command::new(IDENTIFY)
        .nsid(nsid)
        .prp(address, 0)
        .cdw(10, cns)
}

fn byte(page: Region, at: u64) -> u32 {
    page.load32(at & !3) >> (8 * (at & 3)) & 0xFF
}

fn half(page: Region, at: u64) -> u32 {
    byte(page, at) | byte(page, at + 1) << 8
}

/// Looks at Identify Controller.
///
/// # Errors
/// It is not what an I/O controller that suits this run says.
pub fn controller(page: Region, version: u32, mode: Mode) -> Outcome<Identity> {
    for at in 4..64 {
        let code = byte(page, at);
        if !(0x20..0x7F).contains(&code) {
            let message = "serial and model number are printable (detail: byte)";
            return Err(Failure::new(message, 0x20, code.into()).with(at));
        }
    }
    let specified = page.load32(80);
    equal(
        "VER of Identify is the VS register",
        version.into(),
        specified.into(),
    )?;
    equal("CNTRLTYPE is an I/O controller", 1, byte(page, 111).into())?;
    equal("SQES: entries of 64 bytes", 0x66, byte(page, 512).into())?;
    equal("CQES: entries of 16 bytes", 0x44, byte(page, 513).into())?;
    at_least("NN: there is a namespace", 1, page.load32(516).into())?;
    let offered = half(page, 256) & OACS_DOORBELL_BUFFER != 0;
    match mode {
        // It may be offered; the guest makes no use of it.
        Mode::Exit => {}
        Mode::Shadow => that("OACS offers Doorbell Buffer Config", offered)?,
        Mode::Mapped => that(
            "OACS does not offer Doorbell Buffer Config, for doorbells are mapped",
            !offered,
        )?,
    }
    let mdts = byte(page, 77);
    let max_transfer = match mdts {
        0 => LARGEST_TRANSFER,
        power => LARGEST_TRANSFER.min(PAGE << power.min(20)),
    };
    Ok(Identity {
        max_transfer,
        shadow_doorbells: offered,
    })
}

/// Looks at Identify Namespace of namespace 1.
///
/// # Errors
/// It is not the namespace that the host described.
pub fn namespace(page: Region, parameters: &Parameters) -> Outcome {
    let size = page.load64(0);
    equal("NSZE of namespace 1 in blocks", parameters.blocks, size)?;
    equal("NCAP of namespace 1", parameters.blocks, page.load64(8))?;
    let format = u64::from(byte(page, 26) & 0xF);
    let lbaf = page.load32(128 + 4 * format);
    equal("namespace 1 has no metadata", 0, u64::from(lbaf & 0xFFFF))?;
    equal(
        "bytes of a block of namespace 1",
        parameters.block_bytes,
        1 << (lbaf >> 16 & 0x3F),
    )
}

/// Looks at the list of active namespaces.
///
/// # Errors
/// Namespace 1 is not in it, or it is not in order.
pub fn namespace_list(page: Region) -> Outcome {
    equal("the first active namespace", 1, page.load32(0).into())?;
    let mut last = 1;
    for at in (4..PAGE).step_by(4) {
        let nsid = page.load32(at);
        if nsid == 0 {
            break;
        }
        that("active namespaces are in order", nsid > last)?;
        last = nsid;
    }
    Ok(())
}

/// Number of Queues (feature 07h): asks for `pairs` of each, 0's based in both halves.
pub fn number_of_queues(pairs: u64) -> u32 {
    let wanted = low32(pairs - 1);
    wanted << 16 | wanted
}

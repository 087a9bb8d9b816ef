// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The register file (NVMe Base 2.0c, 3.1.3): what the host reads and writes, and the state machine
//! of enable, ready, shutdown and reset behind it.

use super::ControllerConfig;
use crate::spec::registers::{
    ACQ, AQA, ASQ, Aqa, CAP, CC, CC_CSS_ALL, CC_CSS_NVM, CRTO, CSS_IO_COMMAND_SETS, CSS_NVM, CSTS,
    Cap, Cc, Crto, Csts, INTMC, INTMS, NSSR, NSSR_RESET, SHST_COMPLETE, SHST_NORMAL,
    SHST_OCCURRING, VERSION_2_0, VS,
};

/// CAP.TO and CRTO.CRWMT: ready within 5 s, in units of 500 ms. It takes no time at all.
const READY_TIMEOUT: u8 = 10;

/// CAP.MPSMAX: memory pages up to 64 KiB.
const MPSMAX: u8 = 4;

/// What a register write asks of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterEffect {
    /// Nothing.
    None,
    /// CC.EN went from 0 to 1.
    Enable,
    /// CC.EN went from 1 to 0: a controller reset.
    Disable,
    /// CC.SHN asks for a shutdown.
    Shutdown,
    /// NSSR: the whole subsystem starts anew.
    SubsystemReset,
}

/// The registers.
#[derive(Clone, Debug)]
pub struct RegisterFile {
    cap: Cap,
    cc: Cc,
    csts: Csts,
    aqa: Aqa,
    asq: u64,
    acq: u64,
    /// Masks of pin-based and MSI interrupts. With MSI-X, which is all that there is here, the
    /// specification leaves the register without effect.
    interrupt_mask: u32,
}

impl RegisterFile {
    /// Registers after power-on.
    pub fn new(config: &ControllerConfig) -> Self {
        let mqes = u16::try_from(config.queue_depth - 1).unwrap_or(u16::MAX);
        let cap = Cap::new()
            .with_mqes(mqes)
            .with_cqr(true)
            .with_to(READY_TIMEOUT)
            .with_nssrs(true)
            .with_css(CSS_NVM | CSS_IO_COMMAND_SETS)
            .with_mpsmax(MPSMAX)
            .with_crwms(true);
        Self {
            cap,
            cc: Cc::new(),
            csts: Csts::new(),
            aqa: Aqa::new(),
            asq: 0,
            acq: 0,
            interrupt_mask: 0,
        }
    }

    /// Everything as after power-on, but for CSTS.NSSRO.
    pub fn reset_all(&mut self, subsystem: bool) {
        let reset = self.csts.nssro() || subsystem;
        self.cc = Cc::new();
        self.csts = Csts::new().with_nssro(reset);
        self.aqa = Aqa::new();
        self.asq = 0;
        self.acq = 0;
        self.interrupt_mask = 0;
    }

    /// A controller reset: not ready, no shutdown, no fault. Admin queue registers stay.
    pub fn disable(&mut self) {
        self.csts = Csts::new().with_nssro(self.csts.nssro());
        self.interrupt_mask = 0;
    }

    /// Reads `size` bytes; what is not there, and any access that is not aligned to its size,
    /// reads as 0.
    pub fn read(&self, offset: u64, size: usize) -> u64 {
        let aligned = offset & !3;
        let dword = u64::from(self.dword(aligned));
        match size {
            8 if offset.is_multiple_of(8) => dword | u64::from(self.dword(aligned + 4)) << 32,
            4 if offset.is_multiple_of(4) => dword,
            2 if offset.is_multiple_of(2) => dword >> (8 * (offset & 3)) & 0xFFFF,
            1 => dword >> (8 * (offset & 3)) & 0xFF,
            _ => 0,
        }
    }

    fn dword(&self, offset: u64) -> u32 {
        let half = |register: u64, base: u64| {
            let bytes = register.to_le_bytes();
            let at = if offset == base { 0 } else { 4 };
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        match offset {
            CAP | 0x04 => half(self.cap.into_bits(), CAP),
            VS => VERSION_2_0,
            INTMS | INTMC => self.interrupt_mask,
            CC => self.cc.into_bits(),
            CSTS => self.csts.into_bits(),
            AQA => self.aqa.into_bits(),
            ASQ | 0x2C => half(self.asq, ASQ),
            ACQ | 0x34 => half(self.acq, ACQ),
            CRTO => Crto::new().with_crwmt(READY_TIMEOUT.into()).into_bits(),
            _ => 0,
        }
    }

    /// Writes an aligned dword. 64-bit registers take their halves in any order.
    /// `io_queues_exist` keeps the entry sizes as they are.
    pub fn write(&mut self, offset: u64, value: u32, io_queues_exist: bool) -> RegisterEffect {
        let enabled = self.cc.en();
        match offset {
            INTMS => self.interrupt_mask |= value,
            INTMC => self.interrupt_mask &= !value,
            CC => return self.write_cc(Cc::from_bits(value), io_queues_exist),
            CSTS if Csts::from_bits(value).nssro() => self.csts.set_nssro(false),
            NSSR if value == NSSR_RESET => return RegisterEffect::SubsystemReset,
            AQA | ASQ | 0x2C | ACQ | 0x34 if enabled => {
                log::warn!("write to admin queue register {offset:#x} ignored: CC.EN is 1");
            }
            AQA => self.aqa = Aqa::from_bits(value & 0x0FFF_0FFF),
            ASQ => self.asq = with_low(self.asq, value),
            0x2C => self.asq = with_high(self.asq, value),
            ACQ => self.acq = with_low(self.acq, value),
            0x34 => self.acq = with_high(self.acq, value),
            _ => log::debug!("write of {value:#x} to read-only or absent register {offset:#x}"),
        }
        RegisterEffect::None
    }

    fn write_cc(&mut self, new: Cc, io_queues_exist: bool) -> RegisterEffect {
        let old = self.cc;
        let new = Cc::from_bits(new.into_bits() & 0x00FF_FFF1);
        if old.en() && new.en() {
            self.change_while_enabled(new, io_queues_exist);
        } else {
            self.cc = new;
        }
        match (old.en(), new.en()) {
            (false, true) => RegisterEffect::Enable,
            (true, false) => RegisterEffect::Disable,
            _ if new.shn() != 0 && old.shn() != new.shn() => RegisterEffect::Shutdown,
            _ => RegisterEffect::None,
        }
    }

    /// While enabled only SHN may change, and the entry sizes as long as no I/O queue exists: a
    /// host learns them from Identify. The rest is undefined by the specification and ignored.
    fn change_while_enabled(&mut self, new: Cc, io_queues_exist: bool) {
        let mut next = self.cc.with_shn(new.shn());
        if !io_queues_exist {
            next = next.with_iosqes(new.iosqes()).with_iocqes(new.iocqes());
        }
        if next != new {
            log::warn!(
                "CC written as {:#x} while enabled with {:#x}: ignored but for SHN",
                new.into_bits(),
                self.cc.into_bits()
            );
        }
        self.cc = next;
    }

    /// Whether CC, AQA, ASQ and ACQ describe a controller that can start: supported command set,
    /// page size and arbitration; admin queues of 2 to 4096 entries on page boundaries.
    pub fn can_enable(&self) -> bool {
        let css = self.cc.css();
        let page = u64::from(self.page_size());
        (css == CC_CSS_NVM || css == CC_CSS_ALL)
            && self.cc.mps() >= self.cap.mpsmin()
            && self.cc.mps() <= self.cap.mpsmax()
            && self.cc.ams() == 0
            && self.aqa.asqs() > 0
            && self.aqa.acqs() > 0
            && self.asq.is_multiple_of(page)
            && self.acq.is_multiple_of(page)
    }

    /// The controller started. Whoever shut down a disabled controller has no CC.EN to clear that
    /// would end it: this does.
    pub fn set_ready(&mut self) {
        self.csts.set_shst(SHST_NORMAL);
        self.csts.set_rdy(true);
    }

    /// The controller cannot start or go on.
    pub fn set_fatal(&mut self) {
        self.csts.set_rdy(false);
        self.csts.set_cfs(true);
    }

    /// A fatal error of a controller that runs: it stays ready, but goes on with nothing.
    pub fn set_failed(&mut self) {
        self.csts.set_cfs(true);
    }

    /// CSTS.RDY.
    pub fn is_ready(&self) -> bool {
        self.csts.rdy()
    }

    /// Shutdown processing began.
    pub fn shutdown_begins(&mut self) {
        self.csts.set_shst(SHST_OCCURRING);
    }

    /// Shutdown processing ended.
    pub fn shutdown_ends(&mut self) {
        self.csts.set_shst(SHST_COMPLETE);
    }

    /// Whether shutdown processing is under way.
    pub fn shutdown_occurring(&self) -> bool {
        self.csts.shst() == SHST_OCCURRING
    }

    /// CSTS.RDY without CSTS.CFS, and no shutdown was asked for: commands are processed.
    pub fn is_running(&self) -> bool {
        self.csts.rdy() && !self.csts.cfs() && self.csts.shst() == SHST_NORMAL
    }

    /// Memory page size in bytes (CC.MPS).
    pub fn page_size(&self) -> u32 {
        1 << (12 + u32::from(self.cc.mps()))
    }

    /// CC.
    pub fn cc(&self) -> Cc {
        self.cc
    }

    /// Address and entries of the admin submission queue.
    pub fn admin_sq(&self) -> (u64, u32) {
        (self.asq, u32::from(self.aqa.asqs()) + 1)
    }

    /// Address and entries of the admin completion queue.
    pub fn admin_cq(&self) -> (u64, u32) {
        (self.acq, u32::from(self.aqa.acqs()) + 1)
    }
}

fn with_low(register: u64, value: u32) -> u64 {
    register & !0xFFFF_FFFF | u64::from(value)
}

fn with_high(register: u64, value: u32) -> u64 {
    register & 0xFFFF_FFFF | u64::from(value) << 32
}

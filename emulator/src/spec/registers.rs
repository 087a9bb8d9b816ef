// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Controller registers (NVMe Base 2.0c, 3.1.3): offsets and bit fields.

use bitfield_struct::bitfield;

/// Offset of CAP, Controller Capabilities (64 bits).
pub const CAP: u64 = 0x00;
/// Offset of VS, Version.
pub const VS: u64 = 0x08;
/// Offset of INTMS, Interrupt Mask Set.
pub const INTMS: u64 = 0x0C;
/// Offset of INTMC, Interrupt Mask Clear.
pub const INTMC: u64 = 0x10;
/// Offset of CC, Controller Configuration.
pub const CC: u64 = 0x14;
/// Offset of CSTS, Controller Status.
pub const CSTS: u64 = 0x1C;
/// Offset of NSSR, NVM Subsystem Reset.
pub const NSSR: u64 = 0x20;
/// Offset of AQA, Admin Queue Attributes.
pub const AQA: u64 = 0x24;
/// Offset of ASQ, Admin Submission Queue Base Address (64 bits).
pub const ASQ: u64 = 0x28;
/// Offset of ACQ, Admin Completion Queue Base Address (64 bits).
pub const ACQ: u64 = 0x30;
/// Offset of CRTO, Controller Ready Timeouts.
pub const CRTO: u64 = 0x68;
/// Offset of the first doorbell, SQ 0 tail; each takes 4 bytes (CAP.DSTRD = 0).
pub const DOORBELLS: u64 = 0x1000;

/// VS of NVMe 2.0.
pub const VERSION_2_0: u32 = 0x0002_0000;

/// The value that resets the subsystem when written to NSSR: "NVMe".
pub const NSSR_RESET: u32 = 0x4E56_4D65;

/// CAP.CSS: the NVM command set alone can be selected.
pub const CSS_NVM: u8 = 1 << 0;
/// CAP.CSS: one or more I/O command sets, listed by Identify CNS 1Ch.
pub const CSS_IO_COMMAND_SETS: u8 = 1 << 6;

/// CAP (3.1.3.1, figure 36).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// Maximum Queue Entries Supported, 0's based.
    #[bits(16)]
    pub mqes: u16,
    /// Contiguous Queues Required.
    pub cqr: bool,
    /// Arbitration Mechanism Supported, besides round robin.
    #[bits(2)]
    pub ams: u8,
    #[bits(5)]
    __: u8,
    /// Timeout in units of 500 ms.
    #[bits(8)]
    pub to: u8,
    /// Doorbell Stride: 2^(2 + DSTRD) bytes.
    #[bits(4)]
    pub dstrd: u8,
    /// NVM Subsystem Reset Supported.
    pub nssrs: bool,
    /// Command Sets Supported.
    #[bits(8)]
    pub css: u8,
    /// Boot Partition Support.
    pub bps: bool,
    /// Controller Power Scope.
    #[bits(2)]
    pub cps: u8,
    /// Memory Page Size Minimum: 2^(12 + MPSMIN) bytes.
    #[bits(4)]
    pub mpsmin: u8,
    /// Memory Page Size Maximum: 2^(12 + MPSMAX) bytes.
    #[bits(4)]
    pub mpsmax: u8,
    /// Persistent Memory Region Supported.
    pub pmrs: bool,
    /// Controller Memory Buffer Supported.
    pub cmbs: bool,
    /// NVM Subsystem Shutdown Supported.
    pub nsss: bool,
    /// Controller Ready With Media Support (CRMS.CRWMS).
    pub crwms: bool,
    /// Controller Ready Independent of Media Support (CRMS.CRIMS).
    pub crims: bool,
    #[bits(3)]
    __: u8,
}

/// CC (3.1.3.5, figure 41).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cc {
    /// Enable.
    pub en: bool,
    #[bits(3)]
    __: u8,
    /// I/O Command Set Selected.
    #[bits(3)]
    pub css: u8,
    /// Memory Page Size: 2^(12 + MPS) bytes.
    #[bits(4)]
    pub mps: u8,
    /// Arbitration Mechanism Selected.
    #[bits(3)]
    pub ams: u8,
    /// Shutdown Notification.
    #[bits(2)]
    pub shn: u8,
    /// I/O Submission Queue Entry Size, a power of two.
    #[bits(4)]
    pub iosqes: u8,
    /// I/O Completion Queue Entry Size, a power of two.
    #[bits(4)]
    pub iocqes: u8,
    /// Controller Ready Independent of Media Enable.
    pub crime: bool,
    #[bits(7)]
    __: u8,
}

/// CC.CSS: the NVM command set.
pub const CC_CSS_NVM: u8 = 0b000;
/// CC.CSS: all supported I/O command sets.
pub const CC_CSS_ALL: u8 = 0b110;

/// CSTS (3.1.3.6, figure 42).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Csts {
    /// Ready.
    pub rdy: bool,
    /// Controller Fatal Status.
    pub cfs: bool,
    /// Shutdown Status.
    #[bits(2)]
    pub shst: u8,
    /// NVM Subsystem Reset Occurred; cleared by writing 1.
    pub nssro: bool,
    /// Processing Paused.
    pub pp: bool,
    /// Shutdown Type.
    pub st: bool,
    #[bits(25)]
    __: u32,
}

/// CSTS.SHST: no shutdown was asked for.
pub const SHST_NORMAL: u8 = 0b00;
/// CSTS.SHST: shutdown is under way.
pub const SHST_OCCURRING: u8 = 0b01;
/// CSTS.SHST: shutdown is complete.
pub const SHST_COMPLETE: u8 = 0b10;

/// AQA (3.1.3.8, figure 44).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Aqa {
    /// Admin Submission Queue Size, 0's based; 0 is not allowed.
    #[bits(12)]
    pub asqs: u16,
    #[bits(4)]
    __: u8,
    /// Admin Completion Queue Size, 0's based; 0 is not allowed.
    #[bits(12)]
    pub acqs: u16,
    #[bits(4)]
    __: u8,
}

/// CRTO (3.1.3.18).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Crto {
    /// Controller Ready With Media Timeout in units of 500 ms.
    #[bits(16)]
    pub crwmt: u16,
    /// Controller Ready Independent of Media Timeout in units of 500 ms.
    #[bits(16)]
    pub crimt: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cap_fields_stand_where_the_kernel_looks() {
        let cap = Cap::new()
            .with_mqes(1023)
            .with_cqr(true)
            .with_to(30)
            .with_nssrs(true)
            .with_css(CSS_NVM | CSS_IO_COMMAND_SETS)
            .with_mpsmax(4)
            .with_crwms(true);
        let bits = cap.into_bits();
        assert_eq!(bits & 0xffff, 1023);
        assert_eq!((bits >> 16) & 1, 1);
        assert_eq!((bits >> 24) & 0xff, 30);
        assert_eq!((bits >> 36) & 1, 1);
        assert_eq!((bits >> 37) & 0xff, 0x41);
        assert_eq!((bits >> 52) & 0xf, 4);
        assert_eq!(bits >> 59, 1);
    }

    #[test]
    fn cc_fields_stand_where_the_kernel_puts_them() {
        let cc = Cc::from_bits(0x0046_0061);
        assert!(cc.en());
        assert_eq!(cc.css(), CC_CSS_ALL);
        assert_eq!((cc.iosqes(), cc.iocqes()), (6, 4));
        assert_eq!(Cc::from_bits(1 << 14).shn(), 1);
        assert_eq!(Cc::from_bits(3 << 7).mps(), 3);
        assert!(Cc::from_bits(1 << 24).crime());
    }

    #[test]
    fn csts_and_aqa_fields_stand_where_the_kernel_looks() {
        assert_eq!(Csts::new().with_cfs(true).into_bits(), 2);
        assert_eq!(Csts::new().with_shst(2).into_bits(), 2 << 2);
        assert_eq!(Csts::new().with_nssro(true).into_bits(), 1 << 4);
        let aqa = Aqa::from_bits(31 << 16 | 63);
        assert_eq!((aqa.asqs(), aqa.acqs()), (63, 31));
    }
}

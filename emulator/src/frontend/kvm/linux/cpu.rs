// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processors: what they say they can do, and the state in which the first one starts.

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_lapic_state, kvm_msr_entry, kvm_regs, kvm_segment,
    kvm_sregs,
};
use kvm_ioctls::{Kvm, VcpuFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::boot::Entry;
use super::layout::{GDT, PAGE_TABLES, START_INFO, ZERO_PAGE};
use crate::frontend::kvm::vm::{VmError, kvm_error};

/// Which of the host's features the guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Features {
    /// All that KVM offers.
    #[default]
    Host,
    /// Without those whose instructions a KVM that interprets supervisor code does not know.
    /// For the boot test on such hosts.
    Interpretable,
}

// CPUID leaf 1, ECX and EDX.
const LEAF1_ECX_SUPERVISED: u32 = 1 << 31 | 1 << 21 | 1 << 24; // hypervisor, x2APIC, TSC deadline
const LEAF1_ECX_UNKNOWN: u32 = 1 << 0  // SSE3
    | 1 << 1   // PCLMULQDQ
    | 1 << 9   // SSSE3
    | 1 << 12  // FMA
    | 1 << 13  // CMPXCHG16B
    | 1 << 17  // PCID
    | 1 << 19  // SSE4.1
    | 1 << 20  // SSE4.2
    | 1 << 22  // MOVBE
    | 1 << 23  // POPCNT
    | 1 << 25  // AES
    | 1 << 26  // XSAVE
    | 1 << 27  // OSXSAVE
    | 1 << 28  // AVX
    | 1 << 29  // F16C
    | 1 << 30; // RDRAND
const LEAF80000001_EDX_UNKNOWN: u32 = 1 << 27; // RDTSCP
const LEAF80000001_ECX_UNKNOWN: u32 = 1 << 5 | 1 << 6 | 1 << 11 | 1 << 16; // ABM, SSE4A, XOP, FMA4

// MSRs (Intel SDM, volume 4).
const MSR_MISC_ENABLE: u32 = 0x1A0;
const MISC_ENABLE_FAST_STRING: u64 = 1;
const MSR_MTRR_DEFAULT: u32 = 0x2FF;
const MTRR_ENABLE_WRITE_BACK: u64 = 1 << 11 | 6;

// Local APIC registers and delivery modes.
const APIC_LVT_LINT0: usize = 0x350;
const APIC_LVT_LINT1: usize = 0x360;
const APIC_MODE_NMI: u32 = 4 << 8;
const APIC_MODE_EXTINT: u32 = 7 << 8;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// The bit of RFLAGS that is always 1.
const RFLAGS_FIXED: u64 = 2;

// Selectors as the 64-bit boot protocol wants them.
const SELECTOR_CODE: u16 = 0x10;
const SELECTOR_DATA: u16 = 0x18;
const SELECTOR_TASK: u16 = 0x20;

/// Sets up processor `index` of `count`: features, MSRs, local interrupts.
///
/// # Errors
/// When KVM refuses.
pub fn set_up(
    kvm: &Kvm,
    fd: &VcpuFd,
    index: u8,
    count: u8,
    features: Features,
) -> Result<(), VmError> {
    let mut cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm_error("say what processors can do"))?;
    describe(&mut cpuid, index, count);
    if features == Features::Interpretable {
        hide_unknown(&mut cpuid);
    }
    fd.set_cpuid2(&cpuid)
        .map_err(kvm_error("take a processor's features"))?;
    set_msrs(fd)?;
    set_local_interrupts(fd)
}

/// Names the processor in every leaf that tells one from another: each is a core of one package.
fn describe(cpuid: &mut CpuId, index: u8, count: u8) {
    let shift = u32::from(count.next_power_of_two().trailing_zeros().to_le_bytes()[0]);
    for entry in cpuid.as_mut_slice() {
        match (entry.function, entry.index) {
            (1, _) => {
                let count = u32::from(count);
                entry.ebx = entry.ebx & 0xFFFF | count << 16 | u32::from(index) << 24;
                entry.ecx |= LEAF1_ECX_SUPERVISED;
                if count > 1 {
                    entry.edx |= 1 << 28; // more than one logical processor
                }
            }
            // Cores that share the package (bits 31:26), threads that share a cache (25:14).
            (4, _) if entry.eax & 0x1F != 0 => {
                let cores = u32::from(count.next_power_of_two() - 1);
                let level = entry.eax >> 5 & 7;
                let sharing = if level >= 3 { cores } else { 0 };
                entry.eax = entry.eax & 0x3FFF | sharing << 14 | cores.min(63) << 26;
            }
            (0xB | 0x1F, 0) => {
                // One thread a core.
                (entry.eax, entry.ebx, entry.ecx) = (0, 1, 1 << 8);
                entry.edx = index.into();
            }
            (0xB | 0x1F, 1) => {
                (entry.eax, entry.ebx, entry.ecx) = (shift, count.into(), 2 << 8 | 1);
                entry.edx = index.into();
            }
            (0xB | 0x1F, _) => entry.edx = index.into(),
            // AMD: cores of the package, and the width of their number in the identifier.
            (0x8000_0008, _) => entry.ecx = shift << 12 | u32::from(count - 1),
            (0x8000_001E, _) => {
                entry.eax = index.into();
                entry.ebx = index.into();
                entry.ecx = 0;
            }
            _ => {}
        }
    }
}

fn hide_unknown(cpuid: &mut CpuId) {
    for entry in cpuid.as_mut_slice() {
        match (entry.function, entry.index) {
            (1, _) => entry.ecx &= !LEAF1_ECX_UNKNOWN,
            // BMI, AVX2, SMEP, SMAP, UMIP, FSGSBASE, RDSEED, ERMS, FSRM, PKU, ...: all of them,
            // and the state that XSAVE would keep.
            (7 | 0xD, _) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
            (0x8000_0001, _) => {
                entry.edx &= !LEAF80000001_EDX_UNKNOWN;
                entry.ecx &= !LEAF80000001_ECX_UNKNOWN;
            }
            _ => {}
        }
    }
}

fn set_msrs(fd: &VcpuFd) -> Result<(), VmError> {
    let entry = |index, data| kvm_msr_entry {
        index,
        data,
        ..kvm_msr_entry::default()
    };
    for wanted in [
        entry(MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING),
        entry(MSR_MTRR_DEFAULT, MTRR_ENABLE_WRITE_BACK),
    ] {
        let msrs = Msrs::from_entries(&[wanted]).map_err(|_| VmError::Kvm {
            what: "take a register",
            source: kvm_ioctls::Error::new(libc::EINVAL),
        })?;
        let taken = fd.set_msrs(&msrs).map_err(kvm_error("take a register"))?;
        if taken != 1 {
            log::debug!("KVM does not have MSR {:#x}", wanted.index);
        }
    }
    Ok(())
}

/// As firmware leaves it: the PIC's line on LINT0, NMI on LINT1.
fn set_local_interrupts(fd: &VcpuFd) -> Result<(), VmError> {
    let mut lapic = fd
        .get_lapic()
        .map_err(kvm_error("show a local interrupt controller"))?;
    set_lapic_mode(&mut lapic, APIC_LVT_LINT0, APIC_MODE_EXTINT);
    set_lapic_mode(&mut lapic, APIC_LVT_LINT1, APIC_MODE_NMI);
    fd.set_lapic(&lapic)
        .map_err(kvm_error("take a local interrupt controller's state"))
}

fn set_lapic_mode(lapic: &mut kvm_lapic_state, register: usize, mode: u32) {
    if let Some(bytes) = lapic.regs.get_mut(register..register + 4) {
        for (to, from) in bytes.iter_mut().zip(mode.to_le_bytes()) {
            *to = i8::from_le_bytes([from]);
        }
    }
}

/// Puts the first processor where the kernel begins.
///
/// # Errors
/// When KVM refuses, or the guest has no memory for the tables.
pub fn set_entry(memory: &GuestMemoryMmap, fd: &VcpuFd, entry: Entry) -> Result<(), VmError> {
    let mut sregs = fd.get_sregs().map_err(kvm_error("show registers"))?;
    let mut regs = kvm_regs {
        rflags: RFLAGS_FIXED,
        ..kvm_regs::default()
    };
    match entry {
        Entry::Pvh(address) => {
            regs.rip = address;
            regs.rbx = START_INFO;
            set_segments(&mut sregs, false);
            sregs.cr0 = CR0_PE | CR0_ET;
            sregs.cr4 = 0;
            sregs.efer = 0;
        }
        Entry::Long(address) => {
            regs.rip = address;
            regs.rsi = ZERO_PAGE;
            set_segments(&mut sregs, true);
            write_page_tables(memory)?;
            sregs.cr3 = PAGE_TABLES;
            sregs.cr4 = CR4_PAE;
            sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
            sregs.efer = EFER_LME | EFER_LMA;
        }
    }
    write_descriptors(memory, matches!(entry, Entry::Long(_)))?;
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 5 * 8 - 1;
    fd.set_sregs(&sregs)
        .and_then(|()| fd.set_regs(&regs))
        .map_err(kvm_error("take registers"))
}

fn segment(selector: u16, type_: u8, long: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xFFFF_FFFF,
        selector,
        type_,
        present: 1,
        s: 1,
        l: u8::from(long),
        db: u8::from(!long),
        g: 1,
        ..kvm_segment::default()
    }
}

fn set_segments(sregs: &mut kvm_sregs, long: bool) {
    const CODE: u8 = 0xB; // execute, read, accessed
    const DATA: u8 = 0x3; // read, write, accessed
    const BUSY_TASK: u8 = 0xB;
    sregs.cs = segment(SELECTOR_CODE, CODE, long);
    let mut data = segment(SELECTOR_DATA, DATA, false);
    data.db = 1;
    sregs.ds = data;
    sregs.es = data;
    sregs.fs = data;
    sregs.gs = data;
    sregs.ss = data;
    sregs.tr = kvm_segment {
        limit: 0x67,
        selector: SELECTOR_TASK,
        type_: BUSY_TASK,
        present: 1,
        ..kvm_segment::default()
    };
}

/// The descriptors that belong to the selectors, for code that loads them again.
fn write_descriptors(memory: &GuestMemoryMmap, long: bool) -> Result<(), VmError> {
    const CODE_32: u64 = 0x00CF_9B00_0000_FFFF;
    const CODE_64: u64 = 0x00AF_9B00_0000_FFFF;
    const DATA: u64 = 0x00CF_9300_0000_FFFF;
    const TASK: u64 = 0x0000_8B00_0000_0067;
    let code = if long { CODE_64 } else { CODE_32 };
    let table = [0, 0, code, DATA, TASK];
    write_words(memory, GDT, &table)
}

/// The first 4 GiB one to one, in pages of 2 MiB.
fn write_page_tables(memory: &GuestMemoryMmap) -> Result<(), VmError> {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    const PAGE: u64 = 4096;
    let directories = PAGE_TABLES + 2 * PAGE;
    let pointers: Vec<u64> = (0..4)
        .map(|gigabyte| (directories + gigabyte * PAGE) | PRESENT_WRITABLE)
        .collect();
    write_words(
        memory,
        PAGE_TABLES,
        &[(PAGE_TABLES + PAGE) | PRESENT_WRITABLE],
    )?;
    write_words(memory, PAGE_TABLES + PAGE, &pointers)?;
    let pages: Vec<u64> = (0..4 * 512)
        .map(|page| page << 21 | PRESENT_WRITABLE | LARGE)
        .collect();
    write_words(memory, directories, &pages)
}

fn write_words(memory: &GuestMemoryMmap, place: u64, words: &[u64]) -> Result<(), VmError> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    memory
        .write_slice(&bytes, GuestAddress(place))
        .map_err(|error| VmError::Host {
            what: "writing the guest's tables",
            source: std::io::Error::other(error),
        })
}

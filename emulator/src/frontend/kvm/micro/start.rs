// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state in which a vCPU starts: 64-bit user mode, flat segments, paging, no descriptor tables.

use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, KVM_MP_STATE_RUNNABLE, kvm_dtable, kvm_mp_state, kvm_regs, kvm_segment,
};
use kvm_ioctls::VcpuFd;

use super::layout::{PARAMETERS, stack_top};
use super::paging;
use crate::frontend::kvm::vm::kvm_error;
use crate::frontend::kvm::{Irqchip, Vm, VmError};

/// Protection, numeric errors reported inside, write protection for supervisors, paging.
const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;
/// Physical address extension, SSE with its exceptions.
const CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10;
/// Long mode, enabled and active.
const EFER: u64 = 1 << 8 | 1 << 10;
/// The bit of RFLAGS that is always 1; interrupts are off.
const RFLAGS: u64 = 1 << 1;
/// User mode.
const CPL3: u8 = 3;

/// Makes the machine's vCPU `index`.
///
/// # Errors
/// When KVM refuses.
pub fn make(vm: &Vm, index: u64) -> Result<VcpuFd, VmError> {
    let fd = vm.fd().create_vcpu(index);
    fd.map_err(kvm_error("make a vCPU"))
}

/// Readies vCPU `index` to enter the program at `entry`.
///
/// # Errors
/// When KVM refuses.
pub fn set_up(vm: &Vm, fd: &VcpuFd, index: u64, entry: u64) -> Result<(), VmError> {
    let cpuid = vm
        .kvm()
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm_error("say what vCPUs can do"))?;
    fd.set_cpuid2(&cpuid)
        .map_err(kvm_error("take a vCPU's features"))?;
    set_system_registers(fd).map_err(kvm_error("start a vCPU in user mode"))?;
    let registers = kvm_regs {
        rip: entry,
        rsp: stack_top(index),
        rdi: index,
        rsi: PARAMETERS,
        rflags: RFLAGS,
        ..kvm_regs::default()
    };
    fd.set_regs(&registers)
        .map_err(kvm_error("take a vCPU's registers"))?;
    if vm.irqchip() != Irqchip::None && index > 0 {
        // With interrupt controllers KVM lets the others wait until the first one wakes them.
        let state = kvm_mp_state {
            mp_state: KVM_MP_STATE_RUNNABLE,
        };
        fd.set_mp_state(state).map_err(kvm_error("start a vCPU"))?;
    }
    Ok(())
}

fn set_system_registers(fd: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut registers = fd.get_sregs()?;
    registers.cs = segment(0x33, 0b1011);
    registers.cs.l = 1;
    let data = segment(0x2B, 0b0011);
    for segment in [
        &mut registers.ds,
        &mut registers.es,
        &mut registers.fs,
        &mut registers.gs,
        &mut registers.ss,
    ] {
        *segment = data;
        segment.db = 1;
    }
    // Any exception finds no handler, and no handler for that.
    registers.gdt = kvm_dtable::default();
    registers.idt = kvm_dtable::default();
    registers.cr0 = CR0;
    registers.cr3 = paging::ROOT;
    registers.cr4 = CR4;
    registers.efer = EFER;
    fd.set_sregs(&registers)
}

/// A flat segment of user mode; `kind` is its type field: accessed code or data.
fn segment(selector: u16, kind: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        dpl: CPL3,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    }
}

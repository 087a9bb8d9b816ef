// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first instruction, and what happens when the program cannot go on.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

use crate::layout::{EXIT_BAD_PARAMETERS, MAGIC, MAX_VCPUS, vcpu_of_stack};
use crate::{memory, report, scenarios};

// The host gives a stack as it likes; the ABI wants it aligned to 16 bytes before a call.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start,
);

extern "C" fn start(vcpu: u64, _parameters: u64) -> ! {
    let parameters = memory::parameters();
    if parameters.magic != MAGIC || parameters.vcpus > MAX_VCPUS || vcpu >= parameters.vcpus {
        report::exit(EXIT_BAD_PARAMETERS);
    }
    scenarios::run(vcpu, &parameters)
}

/// The vCPU that runs this.
fn current_vcpu() -> u64 {
    let stack: u64;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rsp", out(reg) stack, options(nomem, nostack, preserves_flags)) };
    vcpu_of_stack(stack)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let message = info.message().as_str().unwrap_or("");
    report::panicked(current_vcpu(), message, info.location())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Help for a KVM that interprets supervisor code and does not know every instruction. For the
//! boot test on such hosts alone; on a native KVM nothing here is ever called.

use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// `int3`.
const INT3: u8 = 0xCC;
/// Exception number of `int3`.
const BREAKPOINT: u8 = 3;
/// `fwait`.
const FWAIT: u8 = 0x9B;

/// Does what the interpreter does not.
pub struct Interpreter {
    memory: GuestMemoryMmap,
}

impl Interpreter {
    /// Help for the guest with this memory.
    pub fn new(memory: GuestMemoryMmap) -> Self {
        Self { memory }
    }

    /// Carries the instruction out that the interpreter stopped at, if it is one of ours.
    pub fn mend(&self, fd: &mut VcpuFd) -> bool {
        match self.instruction(fd) {
            Some([INT3, ..]) => raise_breakpoint(fd).is_ok(),
            // No floating point exception is ever pending in a kernel.
            Some([FWAIT, ..]) => skip(fd, 1).is_ok(),
            Some([0x0F, 0x05, ..]) => syscall(fd).is_ok(),
            Some(bytes) => {
                log::error!("the interpreter does not know {bytes:02x?}");
                false
            }
            None => false,
        }
    }

    fn instruction(&self, fd: &VcpuFd) -> Option<[u8; 15]> {
        let regs = fd.get_regs().ok()?;
        let place = fd.translate_gva(regs.rip).ok()?;
        let mut bytes = [0; 15];
        self.memory
            .read_slice(&mut bytes, GuestAddress(place.physical_address))
            .ok()?;
        Some(bytes)
    }
}

fn skip(fd: &VcpuFd, bytes: u64) -> Result<(), kvm_ioctls::Error> {
    let mut regs = fd.get_regs()?;
    regs.rip += bytes;
    fd.set_regs(&regs)
}

fn syscall(_fd: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    log::error!("SYSCALL SEEN");
    Err(kvm_ioctls::Error::new(1))
}

/// The exception of a breakpoint that has been executed.
fn raise_breakpoint(fd: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    skip(fd, 1)?;
    let mut events = fd.get_vcpu_events()?;
    events.exception.injected = 1;
    events.exception.nr = BREAKPOINT;
    events.exception.has_error_code = 0;
    fd.set_vcpu_events(&events)
}

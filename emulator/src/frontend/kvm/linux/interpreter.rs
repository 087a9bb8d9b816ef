// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Help for a KVM that interprets supervisor code and does not know every instruction. For the
//! boot test on such hosts alone; on a native KVM nothing here is ever called.

use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

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

    /// Carries the instruction out that the interpreter stopped at, if it is one that we know.
    pub fn mend(&self, fd: &mut VcpuFd) -> bool {
        match self.instruction(fd) {
            // No floating point exception is ever pending in a kernel.
            Some([FWAIT, ..]) => skip(fd, 1).is_ok(),
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

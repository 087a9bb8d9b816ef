// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtual machine: memory slots and interrupt controllers, no guest yet.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VmFd};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use super::memory::{self, MemoryError, MemoryOptions};
use crate::dma::{DoorbellPage, GuestRam};

/// KVM wants three pages for itself on processors of one maker; out of the way of RAM and devices.
const TSS_ADDRESS: usize = 0xFFFB_D000;
/// KVM wants one page more.
const IDENTITY_MAP_ADDRESS: u64 = 0xFFFB_C000;

/// Who emulates the interrupt controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irqchip {
    /// Nobody: a guest that takes no interrupts.
    None,
    /// KVM emulates all of them: PIC, I/O APIC, PIT and the local APICs.
    Kernel,
}

/// A virtual machine that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// No `/dev/kvm`.
    #[error("/dev/kvm cannot be opened: {0}; load the kvm modules, or join the group that owns it")]
    Open(kvm_ioctls::Error),
    /// A call to KVM failed.
    #[error("KVM refuses to {what}: {source}")]
    Kvm {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: kvm_ioctls::Error,
    },
    /// Guest RAM.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Something of the host, not of KVM.
    #[error("{what}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// Names the call that failed.
pub(super) fn kvm_error(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> VmError {
    move |source| VmError::Kvm { what, source }
}

/// Names the host's call that failed.
pub(super) fn host_error(what: &'static str) -> impl FnOnce(std::io::Error) -> VmError {
    move |source| VmError::Host { what, source }
}

/// The virtual machine.
pub struct Vm {
    kvm: Kvm,
    fd: Arc<VmFd>,
    memory: GuestMemoryMmap,
    irqchip: Irqchip,
    slots: Slots,
}

impl Vm {
    /// A machine with RAM and interrupt controllers.
    ///
    /// # Errors
    /// See [`VmError`].
    pub fn new(options: MemoryOptions, irqchip: Irqchip) -> Result<Self, VmError> {
        let kvm = Kvm::new().map_err(VmError::Open)?;
        let fd = Arc::new(
            kvm.create_vm()
                .map_err(kvm_error("make a virtual machine"))?,
        );
        fd.set_identity_map_address(IDENTITY_MAP_ADDRESS)
            .and_then(|()| fd.set_tss_address(TSS_ADDRESS))
            .map_err(kvm_error("take its pages below 4 GiB"))?;
        let memory = memory::map(options)?;
        let slots = Slots::new(Arc::clone(&fd), &memory)?;
        make_irqchip(&fd, irqchip)?;
        Ok(Self {
            kvm,
            fd,
            memory,
            irqchip,
            slots,
        })
    }

    /// KVM itself, to ask what it can do.
    pub fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// The machine's descriptor.
    pub fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// Guest RAM, to be filled before the guest runs.
    pub fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// Guest RAM as devices see it.
    pub fn ram(&self) -> GuestRam {
        GuestRam::new(self.memory.clone())
    }

    /// Who emulates the interrupt controllers.
    pub fn irqchip(&self) -> Irqchip {
        self.irqchip
    }

    /// A slot for a page of doorbells.
    pub fn doorbell_slot(&self, page: Arc<DoorbellPage>) -> DoorbellSlot {
        self.slots.doorbells(page)
    }
}

fn make_irqchip(fd: &VmFd, irqchip: Irqchip) -> Result<(), VmError> {
    match irqchip {
        Irqchip::None => Ok(()),
        Irqchip::Kernel => {
            fd.create_irq_chip()
                .map_err(kvm_error("make interrupt controllers"))?;
            let pit = kvm_pit_config {
                // The port of the speaker answers too: kernels calibrate with it.
                flags: KVM_PIT_SPEAKER_DUMMY,
                ..kvm_pit_config::default()
            };
            fd.create_pit2(pit).map_err(kvm_error("make a timer"))
        }
    }
}

/// Hands out memory slots.
struct Slots {
    fd: Arc<VmFd>,
    next: Mutex<u32>,
    /// Keeps what the slots show mapped.
    _memory: GuestMemoryMmap,
}

impl Slots {
    /// Lays guest RAM into the first slots.
    fn new(fd: Arc<VmFd>, memory: &GuestMemoryMmap) -> Result<Self, VmError> {
        let mut slot = 0;
        for region in memory.iter() {
            let description = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: region.start_addr().0,
                memory_size: region.len(),
                userspace_addr: region.as_ptr().addr() as u64,
            };
            // SAFETY: the region is mapped for as long as `_memory`, which the machine holds
            // together with the descriptor, and accessed as shared memory only.
            unsafe { fd.set_user_memory_region(description) }
                .map_err(kvm_error("take guest memory"))?;
            slot += 1;
        }
        Ok(Self {
            fd,
            next: Mutex::new(slot),
            _memory: memory.clone(),
        })
    }

    fn doorbells(&self, page: Arc<DoorbellPage>) -> DoorbellSlot {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = *next;
        *next += 1;
        DoorbellSlot {
            fd: Arc::clone(&self.fd),
            slot,
            page,
            laid: None,
            wanted: None,
        }
    }
}

/// The memory slot that shows the guest a page of doorbells at changing places, or nowhere.
pub struct DoorbellSlot {
    fd: Arc<VmFd>,
    slot: u32,
    page: Arc<DoorbellPage>,
    laid: Option<u64>,
    /// Where it was to be laid last.
    wanted: Option<u64>,
}

impl DoorbellSlot {
    /// Lays the page at guest address `place`, or takes it away. Accesses of the guest trap where
    /// nothing lies; so they do where KVM refuses, because the guest has put the page where its RAM
    /// is.
    pub fn lay(&mut self, place: Option<u64>) {
        if self.wanted == place {
            return;
        }
        self.wanted = place;
        if let Some(old) = self.laid.take() {
            // A slot cannot change its place: it is taken away first.
            self.set(old, 0);
        }
        if let Some(new) = place
            && self.set(new, DoorbellPage::BYTES as u64)
        {
            self.laid = Some(new);
        }
    }

    fn set(&self, place: u64, bytes: u64) -> bool {
        let description = kvm_userspace_memory_region {
            slot: self.slot,
            flags: 0,
            guest_phys_addr: place,
            memory_size: bytes,
            userspace_addr: self.page.host_address(),
        };
        // SAFETY: the page stays mapped for as long as `page`, that is, until the slot has been
        // emptied by `drop`; everybody accesses it as shared memory only.
        match unsafe { self.fd.set_user_memory_region(description) } {
            Ok(()) => true,
            Err(error) => {
                log::warn!("the doorbells cannot be laid at {place:#x}: {error}");
                false
            }
        }
    }
}

impl Drop for DoorbellSlot {
    fn drop(&mut self) {
        self.lay(None);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory that goes away under us.
//!
//! The memory is a file of the guest's. When the guest cuts it short, or the file system has no room
//! for a page, touching that page is SIGBUS, which must not end the device. A handler puts a page of
//! zeros in its place, which no other process sees, and tells the session, which ends.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};
use vm_memory::GuestRegionMmap;
use vmm_sys_util::signal::register_signal_handler;

use super::message::MAX_REGIONS;
use crate::drive::Event;

/// How many regions are watched in the whole process: there is one guest at a time, but for tests.
const SLOTS: usize = 32 * MAX_REGIONS;
/// The page size that a mapping can be changed by. On larger pages the change fails, and SIGBUS
/// does what it does by default.
const PAGE: usize = 4096;

/// A watched mapping. Free when `end` is 0.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    /// The eventfd that is told.
    notifier: AtomicI32,
}

static SLOTS_IN_USE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        notifier: AtomicI32::new(-1),
    }
}; SLOTS];

/// Marks a slot that is being filled in.
const RESERVED: usize = 1;

/// Watches mappings for as long as it lives; the mappings must live longer.
pub struct MemoryWatch {
    slots: Vec<&'static Slot>,
    lost: Event,
}

impl MemoryWatch {
    /// Watches `regions`.
    ///
    /// # Errors
    /// When the host gives no eventfd or signal handler, or there are too many watches.
    pub fn new(regions: &[GuestRegionMmap]) -> io::Result<Self> {
        install_handler()?;
        let mut watch = Self {
            slots: Vec::with_capacity(regions.len()),
            lost: Event::new()?,
        };
        for region in regions {
            let start = region.as_ptr().addr();
            let slot = SLOTS_IN_USE
                .iter()
                .find(|slot| {
                    slot.end
                        .compare_exchange(0, RESERVED, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok()
                })
                .ok_or_else(|| io::Error::other("too many memory regions are mapped"))?;
            watch.slots.push(slot);
            slot.start.store(start, Ordering::Relaxed);
            let notifier = watch.lost.as_fd().as_raw_fd();
            slot.notifier.store(notifier, Ordering::Relaxed);
            slot.end.store(start + region.size(), Ordering::Release);
        }
        Ok(watch)
    }

    /// Becomes readable when memory was lost.
    pub fn notifier(&self) -> BorrowedFd<'_> {
        self.lost.as_fd()
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        for slot in &self.slots {
            // The start stays: no handler ever sees a range from 0, which would hold any address.
            slot.end.store(0, Ordering::Release);
        }
    }
}

fn install_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| register_signal_handler(libc::SIGBUS, on_sigbus).map_err(|e| e.errno()))
        .map_err(io::Error::from_raw_os_error)
}

/// Runs in the thread that touched the memory; does nothing but system calls and atomic loads.
extern "C" fn on_sigbus(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO, and SIGBUS has an
    // address.
    let address = unsafe { (*info).si_addr() }.addr();
    for slot in &SLOTS_IN_USE {
        let end = slot.end.load(Ordering::Acquire);
        if (slot.start.load(Ordering::Relaxed)..end).contains(&address) && replace_page(address) {
            let one = 1_u64.to_ne_bytes();
            let notifier = slot.notifier.load(Ordering::Relaxed);
            // SAFETY: `one` is as long as said. The watch that owns the descriptor lives as long as
            // anybody uses the mapping.
            unsafe { libc::write(notifier, one.as_ptr().cast(), one.len()) };
            return;
        }
    }
    // Not guest memory: the access is repeated with the default action, and ends the process.
    // SAFETY: SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}

/// Puts a page of zeros of our own at `address`, which is inside a watched mapping.
fn replace_page(address: usize) -> bool {
    let page = address & !(PAGE - 1);
    // SAFETY: the page lies in a mapping that a watch vouches for and that is accessed with volatile
    // or atomic accesses only; a mapping of ordinary memory there keeps every such access valid, and
    // goes away with the whole mapping.
    let result = unsafe {
        libc::mmap(
            std::ptr::with_exposed_provenance_mut(page),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    result != libc::MAP_FAILED
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The result page, and the guest's end.

use core::hint::spin_loop;
use core::panic::Location;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::check::{Failure, Outcome};
use crate::layout::{
    Counts, EXIT, EXIT_DONE, EXIT_PANIC, Results, VERDICT_FAIL, VERDICT_PANIC, VERDICT_PASS,
    VERDICT_UNUSED, results,
};
use crate::memory;
use crate::mmio::Mmio;

/// A vCPU's result page.
#[derive(Clone, Copy)]
pub struct Report(u64);

impl Report {
    /// The page of `vcpu`.
    pub fn new(vcpu: u64) -> Self {
        Self(vcpu)
    }

    fn page(self) -> *mut Results {
        core::ptr::with_exposed_provenance_mut(results(self.0) as usize)
    }

    fn atomic(self, offset: usize) -> &'static AtomicU64 {
        let word = self.page().wrapping_byte_add(offset).cast::<u64>();
        // SAFETY: an aligned word of this vCPU's mapped page, which the host reads at any time.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Tells that the scenario gets on.
    pub fn progress(self) {
        self.atomic(core::mem::offset_of!(Results, progress))
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Reaches `phase` and waits until the host has taken note.
    pub fn reach(self, phase: u64) {
        self.atomic(core::mem::offset_of!(Results, phase))
            .store(phase, Ordering::Release);
        while memory::acknowledged() < phase && !memory::told_to_stop() {
            spin_loop();
        }
    }

    fn change(self, change: impl FnOnce(&mut Results)) {
        // SAFETY: this vCPU's own mapped page; any bits are valid. The host only reads it.
        let mut all = unsafe { self.page().read_volatile() };
        change(&mut all);
        // SAFETY: as above.
        unsafe { self.page().write_volatile(all) };
    }

    /// Notes when a measurement began and ended, and how many windows it had.
    pub fn measured(self, start: u64, end: u64, windows: u64) {
        self.change(|all| {
            all.start_ticks = start;
            all.end_ticks = end;
            all.windows = windows;
        });
    }

    /// Notes what was done.
    pub fn counts(self, counts: &Counts) {
        self.change(|all| all.counts = *counts);
    }

    /// Notes that this vCPU has had nothing to do so far.
    pub fn unused(self) {
        self.change(|all| all.verdict = VERDICT_UNUSED);
    }

    /// Notes what this vCPU's part of the scenario gave.
    pub fn verdict(self, outcome: Outcome) {
        self.change(|all| match outcome {
            Ok(()) => all.verdict = VERDICT_PASS,
            Err(failure) => fill(all, &failure),
        });
    }

    /// Ends the guest.
    pub fn end(self) -> ! {
        exit(EXIT_DONE)
    }

    /// Lets this vCPU wait for the end, which vCPU 0 brings.
    pub fn park(self) -> ! {
        loop {
            spin_loop();
        }
    }
}

fn fill(all: &mut Results, failure: &Failure) {
    all.verdict = VERDICT_FAIL;
    all.line = failure.place.line().into();
    all.expected = failure.expected;
    all.seen = failure.seen;
    all.detail = failure.detail;
    all.file_length = text(all.file.as_flattened_mut(), failure.place.file());
    all.message_length = text(all.message.as_flattened_mut(), failure.message);
}

/// Copies as much of `from` as there is room for; its last part if there is not enough.
fn text(to: &mut [u8], from: &str) -> u64 {
    let bytes = from.as_bytes();
    let bytes = &bytes[bytes.len().saturating_sub(to.len())..];
    to[..bytes.len()].copy_from_slice(bytes);
    bytes.len() as u64
}

/// Notes a panic and ends.
pub fn panicked(vcpu: u64, message: &str, place: Option<&Location<'_>>) -> ! {
    Report::new(vcpu).change(|all| {
        all.verdict = VERDICT_PANIC;
        all.message_length = text(all.message.as_flattened_mut(), message);
        if let Some(place) = place {
            all.line = place.line().into();
            all.file_length = text(all.file.as_flattened_mut(), place.file());
        }
    });
    exit(EXIT_PANIC)
}

/// Ends the guest.
pub fn exit(code: u32) -> ! {
    // SAFETY: the exit page is mapped and no memory.
    let page = unsafe { Mmio::new(EXIT, 4) };
    loop {
        page.write32(0, code.into());
        spin_loop();
    }
}

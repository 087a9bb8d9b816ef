// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `crate::sync`, of loom.

pub mod atomic {
    use std::cell::Cell;

    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    thread_local! {
        /// Loom runs all threads of a model on one.
        static FENCES: Cell<bool> = const { Cell::new(true) };
    }

    /// As loom's, unless they were taken out.
    pub fn fence(order: Ordering) {
        if FENCES.get() {
            loom::sync::atomic::fence(order);
        }
    }

    /// Takes out all fences of the device's code, for the rest of a test.
    pub fn without_fences() {
        FENCES.set(false);
    }
}

pub mod thread {
    use std::time::Duration;

    pub use loom::hint::spin_loop;
    pub use loom::thread::yield_now;

    pub fn sleep(_: Duration) {
        yield_now();
    }
}

/// Runs a model in which a thread is interrupted at most three times in one run, which keeps it to
/// seconds.
pub fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

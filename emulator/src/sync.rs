// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the protocols between threads are made of. They name it from here, so that a model checker
//! can give them its own: `tests/loom_doorbells` compiles their very files with loom's.

pub mod atomic {
    //! Atomics and fences.
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
}

pub mod thread {
    //! Waiting.
    pub use std::hint::spin_loop;
    pub use std::thread::{sleep, yield_now};
}

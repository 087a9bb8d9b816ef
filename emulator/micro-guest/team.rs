// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Several vCPUs: vCPU 0 sets the controller up and gives each of the others a queue pair and memory.

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::check::Outcome;
use crate::clock::Patience;
use crate::layout::MAX_VCPUS;
use crate::memory::Arena;
use crate::rings::QueuePair;

/// One vCPU's part of a scenario.
pub struct Task {
    /// Its queue pair.
    pub pair: QueuePair,
    /// Its memory.
    pub arena: Arena,
    /// Largest transfer of the controller in bytes.
    pub max_transfer: u64,
    /// Its part of the namespace: first block and number of blocks.
    pub blocks: (u64, u64),
    /// How long the device may take.
    pub patience: Patience,
}

struct Tasks(UnsafeCell<[Option<Task>; MAX_VCPUS as usize]>);

// SAFETY: vCPU 0 writes all of it before it sets `STAGE`; then each vCPU takes its own element only.
unsafe impl Sync for Tasks {}

static TASKS: Tasks = Tasks(UnsafeCell::new([const { None }; MAX_VCPUS as usize]));
/// Where the team stands.
static STAGE: AtomicU64 = AtomicU64::new(WAITING);
/// vCPUs that have done their tasks.
static DONE: AtomicU64 = AtomicU64::new(0);

const WAITING: u64 = 0;
const WORKING: u64 = 1;
const DISMISSED: u64 = 2;

/// Gives vCPU `n` the n-th task, if it is one. Called once, by vCPU 0.
pub fn hand_out(tasks: impl Iterator<Item = Option<Task>>) {
    // SAFETY: the others look at it only after `STAGE` has changed, and this is done once.
    let all = unsafe { &mut *TASKS.0.get() };
    for (place, task) in all.iter_mut().zip(tasks) {
        *place = task;
    }
    STAGE.store(WORKING, Ordering::Release);
}

/// There is no work, or no more, for those that wait. Called by vCPU 0.
pub fn dismiss() {
    let waiting = (WAITING, DISMISSED);
    // Who works already goes on; there is nobody else who changes it.
    let _ = STAGE.compare_exchange(waiting.0, waiting.1, Ordering::AcqRel, Ordering::Acquire);
}

/// Waits for the task of `vcpu`, if there is to be one.
pub fn wait_for_task(vcpu: u64) -> Option<Task> {
    loop {
        match STAGE.load(Ordering::Acquire) {
            WAITING => spin_loop(),
            WORKING => break,
            _ => return None,
        }
    }
    // SAFETY: vCPU 0 has written it and nobody but this vCPU touches this element any more.
    let place = unsafe { &mut *TASKS.0.get().cast::<Option<Task>>().add(index(vcpu)) };
    place.take()
}

fn index(vcpu: u64) -> usize {
    assert!(vcpu < MAX_VCPUS, "no such vCPU");
    usize::from(vcpu.to_le_bytes()[0])
}

/// A vCPU other than 0 has done its task.
pub fn done() {
    DONE.fetch_add(1, Ordering::AcqRel);
}

/// Waits for all other vCPUs of `vcpus`.
///
/// # Errors
/// They do not get done.
pub fn wait_for_others(vcpus: u64, patience: Patience) -> Outcome {
    patience.wait("the other vCPUs get done", || {
        (DONE.load(Ordering::Acquire) + 1 >= vcpus).then_some(())
    })
}

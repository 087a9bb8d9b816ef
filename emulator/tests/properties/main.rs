// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Properties of the controller that hold whatever a host does, checked on random streams of host
//! actions, and its ring arithmetic against plain models (docs/testing.md).

mod acts;
mod containment;
mod dice;
mod event_index;
mod heap;
mod host;
mod issue;
mod medium;
mod memory;
mod queues;
mod rings;
mod streams;
mod wild;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where doorbells are when they are memory (docs/doorbells.md), and which slot is whose.

use std::sync::Arc;

use crate::dma::{DoorbellPage, ShadowDoorbells};

/// Doorbells that pollers read.
#[derive(Clone)]
pub enum DoorbellMemory {
    /// The host's pages, by Doorbell Buffer Config: of the I/O queues.
    Shadow(Arc<ShadowDoorbells>),
    /// Our page, which a front end lays into the guest: of all queues.
    Page(Arc<DoorbellPage>),
}

impl DoorbellMemory {
    /// What the host last wrote to `slot`, not checked.
    #[inline]
    pub fn doorbell(&self, slot: u32) -> u32 {
        match self {
            Self::Shadow(shadow) => shadow.doorbell(slot),
            Self::Page(page) => page.doorbell(slot),
        }
    }

    /// Writes `slot` in the host's stead.
    #[inline]
    pub fn set_doorbell(&self, slot: u32, value: u32) {
        match self {
            Self::Shadow(shadow) => shadow.set_doorbell(slot, value),
            Self::Page(page) => page.set_doorbell(slot, value),
        }
    }

    /// Tells the host which value was seen, in a way that lets its next doorbell trap (`polling`
    /// false) or not. Nothing can be told with a page: no write to it traps.
    #[inline]
    pub fn announce(&self, slot: u32, seen: u32, polling: bool) {
        if let Self::Shadow(shadow) = self {
            let index = if polling { one_behind(seen) } else { seen };
            shadow.set_event_index(slot, index);
        }
    }

    /// A queue begins: what lies in its slot is not its own.
    pub(super) fn begin(&self, slot: u32) {
        self.set_doorbell(slot, 0);
        self.announce(slot, 0, true);
    }
}

/// Slot of a submission queue's tail (CAP.DSTRD = 0).
pub const fn sq_slot(qid: u16) -> u32 {
    2 * qid as u32
}

/// Slot of a completion queue's head.
pub const fn cq_slot(qid: u16) -> u32 {
    2 * qid as u32 + 1
}

/// The event index that no next doorbell value passes: one behind the value last seen. Hosts
/// compute with 16 bits, so it wraps there.
fn one_behind(seen: u32) -> u32 {
    if seen == 0 { 0xFFFF } else { seen - 1 }
}

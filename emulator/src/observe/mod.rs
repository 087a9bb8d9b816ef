// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counters, lateness, command trace.

use serde::Serialize;

/// Everything that the device counts.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    _queues: Vec<()>,
}

impl Counters {
    /// Totals over all I/O queues and per-queue figures, for people (`Display`) and for JSON.
    pub fn summary(&self) -> Summary {
        unimplemented!()
    }
}

/// See [`Counters::summary`].
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Commands completed on queues without interrupts.
    pub polled_commands: u64,
    /// Commands completed on queues with interrupts.
    pub irq_commands: u64,
    /// Interrupts raised.
    pub interrupts: u64,
    /// Doorbell writes that trapped.
    pub doorbell_traps: u64,
    /// Bytes read by the guest.
    pub bytes_read: u64,
    /// Bytes written by the guest.
    pub bytes_written: u64,
    /// Median lateness of completions, in nanoseconds.
    pub lateness_p50_ns: u64,
    /// 99th percentile of lateness, in nanoseconds.
    pub lateness_p99_ns: u64,
    /// Largest lateness, in nanoseconds.
    pub lateness_max_ns: u64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        unimplemented!()
    }
}

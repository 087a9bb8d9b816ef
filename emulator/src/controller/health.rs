// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SMART / Health information and the error log (NVMe Base 2.0c, 5.16.1.2 and 5.16.1.3). Both
//! outlive resets.

use std::collections::VecDeque;

use zerocopy::FromZeros;

use crate::observe::Counters;
use crate::spec::log::{ErrorLogEntry, SmartLog, WARNING_TEMPERATURE};
use crate::spec::{NvmOpcode, Status, SubmissionQueueEntry};

/// Entries of the error log (ELPE + 1).
pub const ERROR_LOG_ENTRIES: usize = 64;

/// Composite temperature after power-on: 36 degrees Celsius.
pub const TEMPERATURE_KELVIN: u16 = 309;

/// Warning Composite Temperature Threshold (WCTEMP): 77 degrees Celsius.
pub const WARNING_KELVIN: u16 = 350;

/// Critical Composite Temperature Threshold (CCTEMP): 85 degrees Celsius.
pub const CRITICAL_KELVIN: u16 = 358;

const NANOS_PER_MINUTE: u64 = 60_000_000_000;

/// The controller's state of health.
#[derive(Debug)]
pub struct Health {
    errors: VecDeque<ErrorLogEntry>,
    error_count: u64,
    media_errors: u64,
    /// Bytes read by Compare and Verify, which transfer nothing to the host.
    checked_bytes: u64,
    /// Composite temperature in kelvins.
    pub temperature: u16,
    powered_on_at: Option<u64>,
    busy: u64,
    last_busy: Option<u64>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            errors: VecDeque::with_capacity(ERROR_LOG_ENTRIES),
            error_count: 0,
            media_errors: 0,
            checked_bytes: 0,
            temperature: TEMPERATURE_KELVIN,
            powered_on_at: None,
            busy: 0,
            last_busy: None,
        }
    }
}

impl Health {
    /// Tells the time, and whether I/O commands are outstanding from now on.
    pub fn tick(&mut self, now: u64, busy: bool) {
        self.powered_on_at.get_or_insert(now);
        if let Some(since) = self.last_busy {
            self.busy = self.busy.saturating_add(now.saturating_sub(since));
        }
        self.last_busy = busy.then_some(now);
    }

    /// Time during which commands were outstanding.
    pub fn busy(&self) -> u64 {
        self.busy
    }

    /// Takes over what `other` noted since it was new, but for its busy time: it is the caller who
    /// knows how much of that is time that was counted here already.
    pub fn take_over(&mut self, other: &mut Self) {
        let others = std::mem::take(other);
        for mut entry in others.errors.into_iter().rev() {
            self.error_count += 1;
            entry.error_count.set(self.error_count);
            self.errors.truncate(ERROR_LOG_ENTRIES - 1);
            self.errors.push_front(entry);
        }
        self.media_errors += others.media_errors;
        self.checked_bytes = self.checked_bytes.saturating_add(others.checked_bytes);
    }

    /// Sets the time during which commands were outstanding.
    pub fn set_busy(&mut self, busy: u64) {
        self.busy = busy;
    }

    /// Counts bytes that Compare or Verify read.
    pub fn count_checked(&mut self, bytes: u32) {
        self.checked_bytes = self.checked_bytes.saturating_add(bytes.into());
    }

    /// Writes an entry of the error log; the oldest goes when it is full.
    pub fn log_error(&mut self, sqid: u16, sqe: &SubmissionQueueEntry, status: Status) {
        const MEDIA: u8 = 2;
        self.error_count += 1;
        if status.code_type() == MEDIA {
            self.media_errors += 1;
        }
        let mut entry = ErrorLogEntry::default();
        entry.error_count.set(self.error_count);
        entry.sqid.set(sqid);
        entry.cid = sqe.cid;
        entry.status.set(status.0 << 1);
        entry.parameter_error_location.set(0xFFFF);
        if sqid != 0 {
            entry.lba.set(sqe.slba());
        }
        entry.nsid = sqe.nsid;
        self.errors.truncate(ERROR_LOG_ENTRIES - 1);
        self.errors.push_front(entry);
    }

    /// The error log, newest first.
    pub fn errors(&self) -> impl Iterator<Item = &ErrorLogEntry> {
        self.errors.iter()
    }

    /// Whether the temperature is at or beyond a threshold.
    pub fn too_hot_or_cold(&self, over: u16, under: u16) -> bool {
        self.temperature >= over || self.temperature <= under
    }

    /// The SMART log page, from the device's own counters.
    pub fn smart_log(&self, counters: &Counters, now: u64, thresholds: (u16, u16)) -> SmartLog {
        let mut log = SmartLog::new_zeroed();
        let (over, under) = thresholds;
        if self.too_hot_or_cold(over, under) {
            log.critical_warning |= WARNING_TEMPERATURE;
        }
        log.temperature = self.temperature.to_le_bytes();
        log.temperature_sensors[0].set(self.temperature);
        log.available_spare = 100;
        log.available_spare_threshold = 10;
        let sum = |figure: fn(&crate::observe::QueueCounters) -> u64| -> u64 {
            counters.queues().iter().skip(1).map(figure).sum()
        };
        let read = sum(|queue| queue.bytes_read).saturating_add(self.checked_bytes);
        log.data_units_read = data_units(read);
        log.data_units_written = data_units(sum(|queue| queue.bytes_written));
        log.host_read_commands = wide(sum(|queue| {
            [NvmOpcode::READ, NvmOpcode::COMPARE, NvmOpcode::VERIFY]
                .into_iter()
                .map(|opcode| queue.opcodes[usize::from(opcode.0)])
                .sum()
        }));
        log.host_write_commands = wide(sum(|queue| queue.opcodes[usize::from(NvmOpcode::WRITE.0)]));
        log.controller_busy_time = wide(self.busy / NANOS_PER_MINUTE);
        log.power_cycles = wide(1);
        let on = now.saturating_sub(self.powered_on_at.unwrap_or(now));
        log.power_on_hours = wide(on / NANOS_PER_MINUTE / 60);
        log.media_errors = wide(self.media_errors);
        log.error_log_entries = wide(self.error_count);
        log
    }
}

/// Thousands of 512-byte units, rounded up.
fn data_units(bytes: u64) -> [u8; 16] {
    wide(bytes.div_ceil(512 * 1000))
}

fn wide(value: u64) -> [u8; 16] {
    u128::from(value).to_le_bytes()
}

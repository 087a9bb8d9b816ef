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
    /// `busy` when others began to note things too.
    busy_when_shared: u64,
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
            busy_when_shared: 0,
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

    /// From now on others note things too, until they are taken over.
    pub fn share(&mut self) {
        self.busy_when_shared = self.busy;
    }

    /// Takes over what `other` noted since this was shared, and lets it begin anew. Both were busy at
    /// the same time: the longer one counts.
    pub fn take_over(&mut self, other: &mut Self) {
        let others = std::mem::take(other);
        self.busy = self.busy.max(self.busy_when_shared + others.busy);
        for mut entry in others.errors.into_iter().rev() {
            // The other's log may have lost its oldest; they count all the same.
            entry
                .error_count
                .set(self.error_count + entry.error_count.get());
            self.errors.truncate(ERROR_LOG_ENTRIES - 1);
            self.errors.push_front(entry);
        }
        self.error_count += others.error_count;
        self.media_errors += others.media_errors;
        self.checked_bytes = self.checked_bytes.saturating_add(others.checked_bytes);
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
        log.power_cycles = wide(1 + counters.faults.power_cuts);
        log.unsafe_shutdowns = wide(counters.faults.power_cuts);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn log_errors(health: &mut Health, count: usize) {
        for _ in 0..count {
            health.log_error(1, &SubmissionQueueEntry::default(), Status::INVALID_FIELD);
        }
    }

    #[test]
    fn take_over_counts_errors_that_the_others_log_has_lost() {
        let mut health = Health::default();
        log_errors(&mut health, 3);
        health.share();
        let mut other = Health::default();
        log_errors(&mut other, ERROR_LOG_ENTRIES + 10);
        health.take_over(&mut other);
        let all = (3 + ERROR_LOG_ENTRIES + 10) as u64;
        assert_eq!(health.error_count, all);
        let newest = health.errors().next().map(|entry| entry.error_count.get());
        assert_eq!(newest, Some(all));
        assert_eq!(health.errors().count(), ERROR_LOG_ENTRIES);
        assert_eq!(other.error_count, 0);
    }

    #[test]
    fn take_over_does_not_count_the_same_time_twice() {
        let mut health = Health::default();
        health.tick(0, true);
        health.tick(100, true);
        health.share();
        health.tick(150, false);
        for busy in [30, 80] {
            let mut other = Health::default();
            other.tick(100, true);
            other.tick(100 + busy, false);
            health.take_over(&mut other);
        }
        assert_eq!(health.busy, 180);
    }
}

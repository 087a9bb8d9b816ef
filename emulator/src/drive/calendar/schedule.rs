// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The page that the guest and the calendar share: what time it is, whose turn it is, and until when.
//!
//! Only one side runs at a time, and each hands over by a message on a socket, which orders what was
//! written here before. The guest may write anything: whatever comes out of the page is judged by
//! who reads it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{AtomicAccess, Bytes, FileOffset, MmapRegion, VolatileMemory};

use crate::timing::Nanos;

/// Version 2 of the layout.
const VERSION: u32 = 2;
const HEADER_LENGTH: usize = 4096;
const CLIENT_LENGTH: usize = 128;
/// The calendar with its device, and the guest.
const CLIENTS: u16 = 2;
const LENGTH: usize = HEADER_LENGTH + CLIENTS as usize * CLIENT_LENGTH;

/// Who runs, in the field `RUNNING`.
const CALENDAR: u16 = 0;
/// The number that the guest is given.
pub const GUEST: u16 = 1;

/// Offsets in the header.
const FIELD_VERSION: usize = 0;
const FIELD_LENGTH: usize = 4;
const FREE_UNTIL: usize = 8;
const CURRENT_TIME: usize = 16;
const RUNNING: usize = 24;
const MAX_CLIENTS: usize = 26;
/// Offsets in a client.
const CAPABILITIES: usize = 0;
const FLAGS: usize = 4;
const REQUESTED: usize = 8;

/// The client reads and writes times here, and needs no answer to WAIT or RUN.
const CAPABILITY_TIME_SHARE: u32 = 1;
const FLAG_REQUEST: u32 = 1;

/// What stands for "never": the guest's clock is signed.
pub const NEVER: Nanos = i64::MAX as Nanos;

/// The shared page; clones share it.
#[derive(Clone)]
pub struct Schedule {
    file: Arc<File>,
    page: Arc<MmapRegion>,
}

impl Schedule {
    /// A page on which it is time 0 and the guest's turn.
    ///
    /// # Errors
    /// When the host gives no memory.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create("calendar", MemfdFlags::CLOEXEC)?);
        file.set_len(LENGTH as u64)?;
        let offset = FileOffset::new(file.try_clone()?, 0);
        let page = MmapRegion::from_file(offset, LENGTH).map_err(io::Error::other)?;
        let schedule = Self {
            file: Arc::new(file),
            page: Arc::new(page),
        };
        schedule.put(FIELD_VERSION, VERSION);
        schedule.put(FIELD_LENGTH, u32::try_from(LENGTH).unwrap_or(u32::MAX));
        schedule.put(MAX_CLIENTS, CLIENTS);
        schedule.put(client(CALENDAR) + CAPABILITIES, CAPABILITY_TIME_SHARE);
        schedule.put(FREE_UNTIL, NEVER);
        schedule.put(RUNNING, GUEST);
        Ok(schedule)
    }

    /// What the guest maps.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What time it is, by whoever runs.
    pub fn now(&self) -> Nanos {
        self.get(CURRENT_TIME)
    }

    /// The calendar runs, and it is this time.
    pub fn run_calendar(&self, now: Nanos) {
        self.put(RUNNING, CALENDAR);
        self.put(CURRENT_TIME, now);
    }

    /// The guest runs from now on, at this time, and may come to any time before `until` without
    /// asking.
    pub fn run_guest(&self, now: Nanos, until: Nanos) {
        self.put(CURRENT_TIME, now);
        self.put(FREE_UNTIL, until);
        self.put(RUNNING, GUEST);
    }

    /// The guest, which runs, may no longer come to `time` without asking.
    pub fn limit(&self, time: Nanos) {
        if time < self.get::<u64>(FREE_UNTIL) {
            self.put(FREE_UNTIL, time);
        }
    }

    /// When the guest asks to run.
    pub fn requested(&self) -> Option<Nanos> {
        let asked = self.get::<u32>(client(GUEST) + FLAGS) & FLAG_REQUEST != 0;
        let time = self.get::<u64>(client(GUEST) + REQUESTED);
        (asked && time < NEVER).then_some(time)
    }

    /// Notes a request that came by message.
    pub fn request(&self, time: Nanos) {
        self.put(client(GUEST) + REQUESTED, time);
        self.put(client(GUEST) + FLAGS, FLAG_REQUEST);
    }

    fn get<T: AtomicAccess + Default>(&self, offset: usize) -> T {
        let page = self.page.as_volatile_slice();
        // Every offset is a constant within the page.
        page.load(offset, Ordering::Acquire).unwrap_or_default()
    }

    fn put<T: AtomicAccess>(&self, offset: usize, value: T) {
        let page = self.page.as_volatile_slice();
        // As in `get`.
        let _ = page.store(value, offset, Ordering::Release);
    }
}

const fn client(number: u16) -> usize {
    HEADER_LENGTH + number as usize * CLIENT_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_only_takes_time_away() {
        let schedule = Schedule::new().expect("a page");
        schedule.run_guest(5, 100);
        schedule.limit(200);
        assert_eq!(schedule.get::<u64>(FREE_UNTIL), 100);
        schedule.limit(50);
        assert_eq!(schedule.get::<u64>(FREE_UNTIL), 50);
        assert_eq!(schedule.now(), 5);
    }

    #[test]
    fn never_is_no_request() {
        let schedule = Schedule::new().expect("a page");
        assert_eq!(schedule.requested(), None);
        schedule.request(7);
        assert_eq!(schedule.requested(), Some(7));
        schedule.request(NEVER);
        assert_eq!(schedule.requested(), None);
    }
}

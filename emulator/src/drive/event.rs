// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a thread can sleep on: a flag, or several descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// An eventfd used as a flag: readable while it is set.
pub struct Event(OwnedFd);

impl Event {
    /// A flag that is not set.
    ///
    /// # Errors
    /// When the host gives no eventfd.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(
            0,
            EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
        )?))
    }

    /// Sets it.
    pub fn set(&self) {
        // It fails only when the counter is full, and then the flag is set.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Waits until it is set, at most for `patience`. May return early.
    pub fn wait(&self, patience: Option<Duration>) {
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        // An interrupted or failed wait is a short one.
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref());
    }

    /// Clears it.
    pub fn clear(&self) {
        // It fails only when the flag is not set.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until at least one of `fds` is readable or broken, or `patience` is over; which of them are.
///
/// # Errors
/// When the host refuses to wait.
pub fn wait_readable(fds: &[BorrowedFd<'_>], patience: Option<Duration>) -> io::Result<Vec<bool>> {
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    let mut polled: Vec<_> = fds
        .iter()
        .map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    loop {
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

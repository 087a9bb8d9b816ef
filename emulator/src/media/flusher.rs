// SPDX-License-Identifier: Apache-2.0 OR MIT
//! fdatasync on a thread of its own, so that the device never waits for a disk.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::FlushTicket;

/// One flush asked for or ended. `written` is the caller's count of writes that it covers.
pub(super) struct Flush {
    pub(super) ticket: FlushTicket,
    pub(super) written: u64,
}

/// The helper thread and the flushes that it has in hand.
pub(super) struct Flusher {
    /// `None` only while the thread is being ended.
    requests: Option<Sender<Flush>>,
    results: Receiver<(Flush, io::Result<()>)>,
    pending: usize,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn spawn(file: Arc<File>) -> io::Result<Self> {
        let (requests, inbox) = channel();
        let (outbox, results) = channel();
        let thread = std::thread::Builder::new()
            .name("flush".to_owned())
            .spawn(move || run(&file, &inbox, &outbox))?;
        Ok(Self {
            requests: Some(requests),
            results,
            pending: 0,
            thread: Some(thread),
        })
    }

    /// Asks for everything written until now to become stable.
    pub(super) fn start(&mut self, flush: Flush) -> io::Result<()> {
        let sent = self.requests.as_ref().map(|inbox| inbox.send(flush));
        let Some(Ok(())) = sent else {
            return Err(io::Error::other("the flush thread has ended"));
        };
        self.pending += 1;
        Ok(())
    }

    /// A flush that has ended, if any.
    pub(super) fn poll(&mut self) -> Option<(Flush, io::Result<()>)> {
        if self.pending == 0 {
            return None;
        }
        let ended = self.results.try_recv().ok()?;
        self.pending -= 1;
        Some(ended)
    }

    /// Waits for what is in hand and forgets it.
    pub(super) fn forget(&mut self) {
        while self.pending > 0 && self.results.recv().is_ok() {
            self.pending -= 1;
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        // The thread ends when nobody can ask it any more.
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the flush thread panicked");
        }
    }
}

/// Serves all that waits with one fdatasync: it began after each of them was asked for.
fn run(file: &File, inbox: &Receiver<Flush>, outbox: &Sender<(Flush, io::Result<()>)>) {
    while let Ok(first) = inbox.recv() {
        let batch: Vec<Flush> = std::iter::once(first).chain(inbox.try_iter()).collect();
        let result = rustix::fs::fdatasync(file);
        for flush in batch {
            if outbox
                .send((flush, result.map_err(io::Error::from)))
                .is_err()
            {
                return;
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's channel: one JSON record a line, on a FIFO that only the guest writes.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hipri_agent::Record;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

/// A line longer than this is not the agent's: the buffer is given up as noise.
const LINE_LIMIT: usize = 16 << 20;

/// Room for what the guest writes while the host does something else, in bytes: a guest that
/// finds the pipe full waits, and its measurement with it.
const PIPE_SIZE: usize = 1 << 20;

/// What comes out of the channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A record, in order.
    Record(Box<Record>),
    /// A line that is no record.
    Noise(String),
}

/// The reading end.
#[derive(Debug)]
pub struct Channel {
    fifo: File,
    pending: Vec<u8>,
    touched: bool,
    closed: bool,
}

impl Channel {
    /// Makes the FIFO at `path` and opens it for reading.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("making the FIFO {}", path.display()))?;
        // Without O_NONBLOCK, opening would wait for the guest.
        let fifo = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .context("opening the agent's channel")?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&fifo, PIPE_SIZE) {
            log::debug!("the channel keeps its default size: {error}");
        }
        Ok(Self {
            fifo,
            pending: Vec::new(),
            touched: false,
            closed: false,
        })
    }

    /// Whether anything has ever come.
    pub fn has_input(&self) -> bool {
        self.touched
    }

    /// Waits at most `patience` for the guest to write, and returns the lines that are complete.
    ///
    /// # Errors
    /// When reading fails.
    pub fn receive(&mut self, patience: Duration) -> anyhow::Result<Vec<Message>> {
        if self.closed {
            std::thread::sleep(patience);
            return Ok(Vec::new());
        }
        let timeout = Timespec::try_from(patience).context("waiting for the guest")?;
        let mut fds = [PollFd::new(&self.fifo, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the guest"),
        }
        let ready = fds[0].revents();
        // An end of file counts once there was a writer: poll reports a hang-up only then.
        let hung_up = ready.contains(PollFlags::HUP);
        if ready.intersects(PollFlags::IN | PollFlags::HUP) {
            self.read_available(hung_up)?;
        }
        Ok(self.take_lines())
    }

    fn read_available(&mut self, hung_up: bool) -> anyhow::Result<()> {
        let mut block = vec![0; 64 << 10];
        loop {
            match self.fifo.read(&mut block) {
                Ok(0) => {
                    self.closed = hung_up;
                    return Ok(());
                }
                Ok(count) => {
                    self.touched = true;
                    self.pending.extend_from_slice(&block[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading the agent's channel"),
            }
            if self.pending.len() > LINE_LIMIT {
                return Ok(());
            }
        }
    }

    fn take_lines(&mut self) -> Vec<Message> {
        let complete = match self.pending.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => last + 1,
            None if self.closed || self.pending.len() > LINE_LIMIT => self.pending.len(),
            None => 0,
        };
        let rest = self.pending.split_off(complete);
        let lines = std::mem::replace(&mut self.pending, rest);
        lines
            .split(|&byte| byte == b'\n')
            .filter_map(parse)
            .collect()
    }
}

/// A terminal's line discipline may end lines with a carriage return too.
fn parse(line: &[u8]) -> Option<Message> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(match serde_json::from_str(text) {
        Ok(record) => Message::Record(Box::new(record)),
        Err(_) => Message::Noise(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hipri_agent::Event;
    use std::io::Write;

    const NOW: Duration = Duration::from_millis(1);

    fn done() -> Record {
        Record {
            seq: 1,
            t_ns: 2,
            event: Event::Done {
                jobs_run: 1,
                jobs_failed: 0,
            },
        }
    }

    #[test]
    fn receive_record_in_two_pieces_comes_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("channel");
        let mut channel = Channel::create(&path).unwrap();
        let mut guest = OpenOptions::new().write(true).open(&path).unwrap();
        let line = serde_json::to_string(&done()).unwrap() + "\r\nnoise\n";
        let (first, second) = line.split_at(20);

        guest.write_all(first.as_bytes()).unwrap();
        assert_eq!(channel.receive(NOW).unwrap(), []);
        guest.write_all(second.as_bytes()).unwrap();
        let messages = channel.receive(NOW).unwrap();

        assert_eq!(
            messages,
            [
                Message::Record(Box::new(done())),
                Message::Noise("noise".into())
            ]
        );
    }

    #[test]
    fn receive_after_writer_left_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("channel");
        let mut channel = Channel::create(&path).unwrap();
        assert_eq!(channel.receive(NOW).unwrap(), []);
        assert!(!channel.closed, "no writer yet is not an end");

        let mut guest = OpenOptions::new().write(true).open(&path).unwrap();
        guest.write_all(b"cut").unwrap();
        drop(guest);

        assert_eq!(
            channel.receive(NOW).unwrap(),
            [Message::Noise("cut".into())]
        );
        assert!(channel.closed);
    }
}

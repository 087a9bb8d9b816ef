// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the agent reports.

use serde::{Deserialize, Serialize};

use crate::{Bytes, InvalidBytes};

/// One line of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up from 0: a gap is a lost line.
    pub seq: u64,
    /// CLOCK_BOOTTIME in nanoseconds, about the time since the kernel started.
    pub t_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent runs. Always the first record; its time is the boot time.
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the agent.
        protocol: u32,
        /// The agent's package version.
        agent: String,
        /// `uname -r`.
        kernel_release: String,
        /// `uname -v`.
        kernel_version: String,
        /// `uname -m`.
        machine: String,
        /// The kernel's command line.
        cmdline: String,
    },
    /// A file system asked for in the command list was mounted, or was not.
    Mount {
        /// As in the command list.
        source: String,
        /// As in the command list.
        target: String,
        /// Why it failed; `None` is success.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A job is about to be executed.
    JobStart {
        /// Index in the command list.
        job: u32,
        /// Its name.
        name: String,
        /// What is executed.
        argv: Vec<String>,
    },
    /// The device's counters around a job that asked for them.
    Counters {
        /// Index in the command list.
        job: u32,
        /// Before or after the job.
        when: When,
        /// The controller's device node.
        device: String,
        /// The page, or why there is none.
        #[serde(flatten)]
        sample: CounterSample,
    },
    /// A piece of a job's output, cut anywhere.
    Output {
        /// Index in the command list.
        job: u32,
        /// Which of the two streams.
        stream: Stream,
        /// The bytes.
        data: Bytes,
    },
    /// A piece of a file that the job's `collect` names. Pieces of one file follow each other.
    File {
        /// Index in the command list.
        job: u32,
        /// As in the command list.
        path: String,
        /// The bytes.
        data: Bytes,
        /// Whether the file ends here.
        last: bool,
        /// Why it cannot be read (further); `last` is then set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A job ended. Everything it wrote was reported before.
    JobEnd {
        /// Index in the command list.
        job: u32,
        /// How it ended.
        #[serde(flatten)]
        outcome: Outcome,
        /// From just before `execve` to the moment that its end was seen, in nanoseconds.
        duration_ns: u64,
    },
    /// All jobs were dealt with; the guest powers off next.
    Done {
        /// Jobs that were started.
        jobs_run: u32,
        /// Jobs that did not exit with 0, those that were left out not counted.
        jobs_failed: u32,
    },
    /// The agent cannot do what it was asked; the guest powers off next, without `Done`.
    Error {
        /// One sentence.
        message: String,
    },
    /// The agent itself panicked: a fault of ours. The guest powers off next, without `Done`.
    Panic {
        /// Message and place.
        message: String,
    },
}

/// When counters were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Right before the job.
    Before,
    /// Right after the job.
    After,
}

/// A log page C0h as the device gave it, or the reason for its absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CounterSample {
    /// The raw page.
    Page(Page),
    /// One sentence.
    Error(String),
}

/// A long, mostly empty block of bytes: only what is not zero is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Length in bytes, at most [`Page::MAX_LENGTH`].
    pub length: usize,
    /// What is not zero, by offset: hexadecimal digits as of [`Bytes::to_hex`].
    pub pieces: Vec<(usize, String)>,
}

impl Page {
    /// Longest page that either side believes in.
    pub const MAX_LENGTH: usize = 4 << 20;
    /// Bytes that are left out or sent together.
    const PIECE: usize = 64;

    /// Takes the page apart.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut pieces: Vec<(usize, String)> = Vec::new();
        let mut end = None;
        for (index, piece) in bytes.chunks(Self::PIECE).enumerate() {
            if piece.iter().all(|&byte| byte == 0) {
                continue;
            }
            let at = index * Self::PIECE;
            let hex = Bytes(piece.to_vec()).to_hex();
            match pieces.last_mut() {
                Some((_, last)) if end == Some(at) => last.push_str(&hex),
                _ => pieces.push((at, hex)),
            }
            end = Some(at + piece.len());
        }
        Self {
            length: bytes.len(),
            pieces,
        }
    }

    /// Puts it together again.
    ///
    /// # Errors
    /// When a piece is no hexadecimal number or lies outside.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidBytes> {
        if self.length > Self::MAX_LENGTH {
            return Err(InvalidBytes);
        }
        let mut bytes = vec![0; self.length];
        for (at, hex) in &self.pieces {
            let piece = Bytes::from_hex(hex)?;
            at.checked_add(piece.0.len())
                .and_then(|end| bytes.get_mut(*at..end))
                .ok_or(InvalidBytes)?
                .copy_from_slice(&piece.0);
        }
        Ok(bytes)
    }
}

/// A stream of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It exited.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// Signal number.
        signal: i32,
    },
    /// It ran longer than its `timeout_ms` and was killed.
    TimedOut,
    /// It could not be executed.
    NotStarted {
        /// One sentence.
        error: String,
    },
}

impl Outcome {
    /// Whether the job exited with 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(event: Event) -> String {
        let record = Record {
            seq: 7,
            t_ns: 42,
            event,
        };
        let line = serde_json::to_string(&record).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        line
    }

    #[test]
    fn record_flattened_outcome_round_trips() {
        let line = round_trip(Event::JobEnd {
            job: 1,
            outcome: Outcome::Signaled { signal: 9 },
            duration_ns: 5,
        });
        assert_eq!(
            line,
            r#"{"seq":7,"t_ns":42,"event":"job_end","job":1,"outcome":"signaled","signal":9,"duration_ns":5}"#
        );
        round_trip(Event::JobEnd {
            job: 0,
            outcome: Outcome::TimedOut,
            duration_ns: 0,
        });
    }

    #[test]
    fn record_counters_round_trips() {
        let page = Page::from_bytes(&[1, 2, 3]);
        for sample in [CounterSample::Page(page), CounterSample::Error("no".into())] {
            round_trip(Event::Counters {
                job: 0,
                when: When::After,
                device: "/dev/nvme0".into(),
                sample,
            });
        }
    }

    #[test]
    fn page_zeros_are_left_out_and_come_back() {
        let mut bytes = vec![0; 1000];
        bytes[63] = 1;
        bytes[64] = 2;
        bytes[999] = 3;
        let page = Page::from_bytes(&bytes);
        assert_eq!(page.pieces.len(), 2);
        assert_eq!(page.pieces[0].1.len(), 256);
        assert_eq!(page.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn page_piece_outside_is_refused() {
        for (length, at) in [(4, 3), (4, usize::MAX), (usize::MAX, 0)] {
            let pieces = vec![(at, "0000".to_owned())];
            assert_eq!(Page { length, pieces }.to_bytes(), Err(InvalidBytes));
        }
    }

    #[test]
    fn record_newline_in_output_stays_on_one_line() {
        let data = Bytes::from("a\nb\r\n");
        round_trip(Event::Output {
            job: 3,
            stream: Stream::Stderr,
            data,
        });
    }
}

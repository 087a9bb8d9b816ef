// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command trace: what happened to each command, and when, by the device's own clock.
//!
//! A file is a header of 16 bytes and records of [`RECORD_BYTES`], little-endian, in the order in
//! which the device knew all of a command. Whatever nobody knows is 0: when the host has reaped a
//! completion is known where its doorbells trap.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a trace file begins with.
pub const MAGIC: [u8; 8] = *b"HIPRITRC";
/// Version of the layout.
pub const VERSION: u32 = 1;
/// Length of a record.
pub const RECORD_BYTES: usize = size_of::<TraceRecord>();

/// In [`TraceRecord::flags`]: no interrupt told of it.
pub const POLLED: u8 = 1 << 0;

/// Records that are handed to the writer at a time.
const BATCH: usize = 1 << 14;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    record_bytes: U32,
}

/// One command. Times are nanoseconds by the device's clock.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct TraceRecord {
    /// When it was fetched from its submission queue.
    pub fetched: U64,
    /// When the medium began to serve it, by the timing model; 0 for what is not timed.
    pub started: U64,
    /// When it was due, by the timing model; 0 for what is not timed.
    pub due: U64,
    /// When its completion was posted.
    pub completed: U64,
    /// When the host said that it had seen the completion, or 0.
    pub reaped: U64,
    /// First logical block; dwords 10 and 11 of an admin command.
    pub block: U64,
    /// Length of its data.
    pub bytes: U32,
    /// Submission queue.
    pub queue: U16,
    /// Command identifier.
    pub command: U16,
    /// Status field of its completion, without the phase.
    pub status: U16,
    /// Opcode.
    pub opcode: u8,
    /// See [`POLLED`].
    pub flags: u8,
    /// Namespace.
    pub namespace: U32,
}

/// Takes notes of commands on their way.
pub struct Trace {
    /// By submission queue and command identifier.
    in_flight: HashMap<(u16, u16), TraceRecord>,
    /// By completion queue, in the order of their slots.
    unreaped: HashMap<u16, VecDeque<TraceRecord>>,
    batch: Vec<TraceRecord>,
    batches: Sender<Vec<TraceRecord>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Trace {
    /// Writes to `file`, on a thread of its own.
    ///
    /// # Errors
    /// When the host gives no thread, or nothing can be written.
    pub fn begin(mut file: impl Write + Send + 'static) -> io::Result<Self> {
        let header = Header {
            magic: MAGIC,
            version: U32::new(VERSION),
            record_bytes: U32::new(u32::try_from(RECORD_BYTES).unwrap_or(u32::MAX)),
        };
        file.write_all(header.as_bytes())?;
        let (batches, full) = channel::<Vec<TraceRecord>>();
        let writer = std::thread::Builder::new()
            .name("trace".into())
            .spawn(move || {
                for batch in full {
                    file.write_all(batch.as_bytes())?;
                }
                file.flush()
            })?;
        Ok(Self {
            in_flight: HashMap::new(),
            unreaped: HashMap::new(),
            batch: Vec::with_capacity(BATCH),
            batches,
            writer: Some(writer),
        })
    }

    /// A command has been fetched and executed.
    pub fn fetched(&mut self, record: TraceRecord) {
        let key = (record.queue.get(), record.command.get());
        self.in_flight.insert(key, record);
    }

    /// Its completion has been posted to `cqid`; whether the host's doorbell for it will be seen.
    pub fn completed(
        &mut self,
        queue: u16,
        command: u16,
        cqid: u16,
        heard: bool,
        fill: impl FnOnce(&mut TraceRecord),
    ) {
        let Some(mut record) = self.in_flight.remove(&(queue, command)) else {
            return;
        };
        fill(&mut record);
        if heard {
            self.unreaped.entry(cqid).or_default().push_back(record);
        } else {
            self.note(record);
        }
    }

    /// The host has taken the first `count` completions of a queue.
    pub fn reaped(&mut self, cqid: u16, count: u32, now: u64) {
        for _ in 0..count {
            let first = self.unreaped.get_mut(&cqid).and_then(VecDeque::pop_front);
            let Some(mut record) = first else {
                break;
            };
            record.reaped.set(now);
            self.note(record);
        }
    }

    /// The queues are gone: nobody will reap what is there, and nothing in flight completes.
    pub fn reset(&mut self) {
        self.in_flight.clear();
        let mut left: Vec<_> = self.unreaped.drain().collect();
        left.sort_unstable_by_key(|(cqid, _)| *cqid);
        for record in left.into_iter().flat_map(|(_, records)| records) {
            self.note(record);
        }
    }

    fn note(&mut self, record: TraceRecord) {
        self.batch.push(record);
        if self.batch.len() == BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let full = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        // A writer that has failed says so at the end.
        let _ = self.batches.send(full);
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Whatever went wrong with writing since the beginning.
    pub fn end(mut self) -> io::Result<()> {
        self.reset();
        self.hand_over();
        let Self {
            batches, writer, ..
        } = self;
        drop(batches);
        match writer.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(io::Error::other("the trace's writer has ended early")),
        }
    }
}

/// Reads a trace file.
///
/// # Errors
/// When it cannot be read or is none; the message says what is wrong with it.
pub fn read_trace(mut file: impl Read) -> io::Result<Vec<TraceRecord>> {
    let damaged = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    let mut header = Header::new_zeroed();
    if file.read_exact(header.as_mut_bytes()).is_err() || header.magic != MAGIC {
        return damaged("it is no command trace");
    }
    if header.version.get() != VERSION || header.record_bytes.get() as usize != RECORD_BYTES {
        return damaged("it is a command trace of another version");
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    match <[TraceRecord]>::ref_from_bytes(&bytes) {
        Ok(records) => Ok(records.to_vec()),
        Err(_) => damaged("its last record is cut off"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn command(number: u16) -> TraceRecord {
        TraceRecord {
            queue: U16::new(1),
            command: U16::new(number),
            fetched: U64::new(number.into()),
            ..TraceRecord::default()
        }
    }

    fn complete(trace: &mut Trace, number: u16, heard: bool) {
        trace.completed(1, number, 1, heard, |record| {
            record.completed.set(u64::from(number) + 10);
        });
    }

    #[test]
    fn records_come_in_the_order_in_which_all_is_known() {
        let bytes = Shared::default();
        let mut trace = Trace::begin(bytes.clone()).expect("a thread");
        for number in 0..5 {
            trace.fetched(command(number));
        }
        for (number, heard) in [(3, true), (1, true), (2, false), (0, true)] {
            complete(&mut trace, number, heard);
        }
        trace.reaped(1, 2, 100);
        trace.end().expect("written");

        let bytes = bytes.0.lock().expect("no panic");
        let records = read_trace(&bytes[..]).expect("a trace");
        // Command 4 was never completed.
        let order: Vec<_> = records.iter().map(|record| record.command.get()).collect();
        assert_eq!(order, [2, 3, 1, 0]);
        let reaped: Vec<_> = records.iter().map(|record| record.reaped.get()).collect();
        assert_eq!(reaped, [0, 100, 100, 0]);
        assert_eq!(records[1].completed.get(), 13);
    }

    #[test]
    fn read_of_what_is_no_trace_says_so() {
        for (bytes, part) in [
            (b"".to_vec(), "no command trace"),
            (b"something else altogether".to_vec(), "no command trace"),
        ] {
            let error = read_trace(&bytes[..]).expect_err("no trace").to_string();
            assert!(error.contains(part), "{error}");
        }
        let bytes = Shared::default();
        let mut trace = Trace::begin(bytes.clone()).expect("a thread");
        trace.fetched(command(1));
        complete(&mut trace, 1, false);
        trace.end().expect("written");
        let bytes = bytes.0.lock().expect("no panic");
        let error = read_trace(&bytes[..bytes.len() - 1]).expect_err("cut off");
        assert!(error.to_string().contains("cut off"), "{error}");
    }
}

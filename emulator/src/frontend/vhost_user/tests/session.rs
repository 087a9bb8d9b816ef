// SPDX-License-Identifier: Apache-2.0 OR MIT
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::guest::{DriverRing, GuestMemory, Master, memory_table};
use crate::dma::GuestRam;
use crate::drive::PollerGone;
use crate::frontend::vhost_user::PciQueues;
use crate::frontend::vhost_user::connection::Connection;
use crate::frontend::vhost_user::session::{RingOwner, Session, SessionError, Signals};

const BASE: u64 = 0x198_4000;
const SIZE: u64 = 0x10_0000;

/// Says what the session has asked of the poller.
struct Recorder(Sender<&'static str>);

impl Recorder {
    fn note(&self, what: &'static str) -> Result<(), PollerGone> {
        self.0.send(what).map_err(|_| PollerGone)
    }
}

impl RingOwner for Recorder {
    fn attach(&mut self, ram: GuestRam) -> Result<(), PollerGone> {
        assert!(ram.contains(BASE, SIZE));
        self.note("attach")
    }
    fn detach(&mut self) -> Result<(), PollerGone> {
        self.note("detach")
    }
    fn start(&mut self, _queues: PciQueues) -> Result<(), PollerGone> {
        self.note("start")
    }
    fn stop(&mut self) -> Result<Option<[u16; 2]>, PollerGone> {
        self.note("stop")?;
        Ok(Some([7, 9]))
    }
}

/// A session on a thread of its own, with a guest that can say anything to it.
struct Bench {
    master: Master,
    events: Receiver<&'static str>,
    thread: JoinHandle<SessionError>,
}

impl Bench {
    fn new() -> Self {
        let (stream, theirs) = UnixStream::pair().expect("a socket pair");
        let (sender, events) = channel();
        let thread = std::thread::spawn(move || {
            let connection = Connection::new(theirs).expect("socket options");
            let mut session = Session::new(connection, Recorder(sender), Signals::Descriptors);
            let error = serve(&mut session);
            session.end().expect("the recorder does not fail");
            error
        });
        Self {
            master: Master { stream },
            events,
            thread,
        }
    }

    /// Hangs up; returns what ended the session, and what it had asked of the poller.
    fn end(self) -> (SessionError, Vec<&'static str>) {
        drop(self.master);
        let error = self.thread.join().expect("no panic");
        (error, self.events.iter().collect())
    }
}

fn serve<O: RingOwner>(session: &mut Session<O>) -> SessionError {
    loop {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(
            session.as_fd(),
            rustix::event::PollFlags::IN,
        )];
        let _ = rustix::event::poll(&mut fds, None);
        if let Err(error) = session.serve_one() {
            return error;
        }
    }
}

fn rings(memory: &GuestMemory) -> [DriverRing; 2] {
    [0, 1024].map(|offset| DriverRing::new(memory.ram.clone(), memory.base + offset, 8))
}

#[test]
fn set_up_as_uml_does_starts_both_queues_once() {
    let bench = Bench::new();
    let memory = GuestMemory::new(BASE, SIZE);
    let [commands, interrupts] = rings(&memory);

    bench.master.set_up(&memory, [&commands, &interrupts]);
    let (end, events) = bench.end();

    assert!(end.is_farewell(), "{end}");
    assert_eq!(events, ["attach", "start", "stop", "detach"]);
}

#[test]
fn disable_stops_and_enable_goes_on() {
    let bench = Bench::new();
    let memory = GuestMemory::new(BASE, SIZE);
    let [commands, interrupts] = rings(&memory);
    let pair = |index: u32, value: u32| [index.to_ne_bytes(), value.to_ne_bytes()].concat();

    bench.master.set_up(&memory, [&commands, &interrupts]);
    bench.master.ask(18, &pair(1, 0), &[]);
    bench.master.send_with_flags(11, 1, &pair(0, 0), &[]);
    assert_eq!(bench.master.reply(), Some((11, 5, 7 << 32)));
    bench.master.ask(18, &pair(0, 1), &[]);
    bench.master.ask(18, &pair(1, 1), &[]);
    let (end, events) = bench.end();

    assert!(end.is_farewell(), "{end}");
    assert_eq!(
        events,
        ["attach", "start", "stop", "start", "stop", "detach"]
    );
}

#[test]
fn new_memory_table_replaces_the_guest() {
    let bench = Bench::new();
    let memory = GuestMemory::new(BASE, SIZE);
    let [commands, interrupts] = rings(&memory);

    bench.master.set_up(&memory, [&commands, &interrupts]);
    bench
        .master
        .ask(5, &memory_table(&memory), &[memory.file.as_fd()]);
    let (_, events) = bench.end();

    assert_eq!(events[..5], ["attach", "start", "stop", "detach", "attach"]);
}

#[test]
fn memory_beyond_its_file_is_refused() {
    let bench = Bench::new();
    let memory = GuestMemory::new(BASE, SIZE);
    memory.file.set_len(BASE + SIZE - 1).expect("shorter");

    bench
        .master
        .send(5, &memory_table(&memory), &[memory.file.as_fd()]);
    let (end, events) = bench.end();

    assert!(matches!(end, SessionError::Memory(_)), "{end}");
    assert!(events.is_empty());
}

#[test]
fn memory_in_a_device_is_refused() {
    let bench = Bench::new();
    let memory = GuestMemory::new(BASE, SIZE);
    let zero = std::fs::File::open("/dev/zero").expect("always there");

    bench
        .master
        .send(5, &memory_table(&memory), &[zero.as_fd()]);
    let (end, _) = bench.end();

    assert!(matches!(end, SessionError::Memory(_)), "{end}");
}

#[test]
fn queue_address_outside_memory_is_refused() {
    for address in [0, BASE - 1, BASE + SIZE, u64::MAX] {
        let bench = Bench::new();
        let memory = GuestMemory::new(BASE, SIZE);
        bench
            .master
            .ask(5, &memory_table(&memory), &[memory.file.as_fd()]);

        let mut payload = vec![0; 8];
        for _ in 0..4 {
            payload.extend(address.to_ne_bytes());
        }
        bench.master.send(9, &payload, &[]);
        let (end, _) = bench.end();

        assert!(matches!(end, SessionError::NoMemory(_)), "{end}");
    }
}

#[test]
fn in_band_kick_was_not_offered_and_is_refused() {
    let bench = Bench::new();

    bench.master.send(35, &[0; 8], &[]);
    let (end, _) = bench.end();

    assert!(matches!(end, SessionError::NotNegotiated), "{end}");
}

#[test]
fn queue_that_does_not_exist_is_refused() {
    let bench = Bench::new();

    bench
        .master
        .send(8, &[2_u32.to_ne_bytes(), 8_u32.to_ne_bytes()].concat(), &[]);
    let (end, _) = bench.end();

    assert!(matches!(end, SessionError::NoQueue(2)), "{end}");
}

#[test]
fn features_never_offered_are_refused() {
    let bench = Bench::new();

    bench.master.send(2, &(1_u64 << 29).to_ne_bytes(), &[]);
    let (end, _) = bench.end();

    assert!(matches!(end, SessionError::Features(_)), "{end}");
}

#[test]
fn half_a_message_ends_the_session() {
    for length in 1..20 {
        let bench = Bench::new();
        let mut message = Vec::new();
        for word in [2_u32, 1, 8, 0, 0] {
            message.extend(word.to_ne_bytes());
        }

        bench.master.send_raw(&message[..length], &[]);
        let (end, _) = bench.end();

        assert!(!end.is_farewell(), "{length} bytes: {end}");
    }
}

#[test]
fn silence_in_the_middle_of_a_message_ends_the_session() {
    let bench = Bench::new();

    bench.master.send_raw(&[5, 0, 0], &[]);
    let error = bench.thread.join().expect("no panic");

    assert!(matches!(error, SessionError::Connection(_)), "{error}");
}

#[test]
fn more_files_than_any_message_has_end_the_session() {
    let bench = Bench::new();
    let memory = GuestMemory::new(BASE, SIZE);

    bench
        .master
        .send(5, &memory_table(&memory), &[memory.file.as_fd(); 12]);
    let (end, events) = bench.end();

    assert!(matches!(end, SessionError::Connection(_)), "{end}");
    assert!(events.is_empty());
}

#[test]
fn http_is_not_vhost_user() {
    let bench = Bench::new();

    bench
        .master
        .send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[]);
    let (end, _) = bench.end();

    assert!(matches!(end, SessionError::Connection(_)), "{end}");
}

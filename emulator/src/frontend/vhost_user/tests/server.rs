// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Socket, session, queues and poller together, with guests of this process.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::guest::{DriverRing, GuestMemory, Master, Notifications, READ, WRITE, memory_table};
use crate::drive::{Clock, Event, Poller, PollerOptions};
use crate::frontend::vhost_user::{PciQueues, Server, ServerError};
use crate::pci::tests::function;

const BASE: u64 = 0x198_4000;
const OUT: u64 = BASE + 0x4000;
const IN: u64 = BASE + 0x5000;

/// A device on a socket.
struct Bench {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    stop: std::sync::Arc<Event>,
    thread: JoinHandle<Result<(), ServerError>>,
    poller: Poller<PciQueues>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket");
        let options = PollerOptions {
            cpu: None,
            lanes: Vec::new(),
            idle_sleep: Some(Duration::from_millis(1)),
        };
        let poller = Poller::spawn(function(), Clock::new(), options).expect("a thread");
        let server = Server::bind(&socket).expect("a socket");
        let stop = std::sync::Arc::new(Event::new().expect("an eventfd"));
        let (handle, stopped) = (poller.handle().clone(), stop.clone());
        let thread = std::thread::spawn(move || server.serve(&handle, stopped.as_fd(), false));
        Self {
            _folder: folder,
            socket,
            stop,
            thread,
            poller,
        }
    }

    fn connect(&self) -> Master {
        let stream = UnixStream::connect(&self.socket).expect("a server");
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("a socket option");
        Master { stream }
    }

    fn end(self) {
        self.stop.set();
        self.thread
            .join()
            .expect("no panic")
            .expect("an orderly end");
        self.poller.end().expect("no panic");
        assert!(!self.socket.exists());
    }
}

/// A guest that has set everything up.
struct Guest {
    master: Master,
    memory: GuestMemory,
    commands: DriverRing,
    notifications: [Notifications; 2],
}

impl Guest {
    fn new(master: Master) -> Self {
        let memory = GuestMemory::new(BASE, 1 << 20);
        let [commands, interrupts] =
            [0, 1024].map(|offset| DriverRing::new(memory.ram.clone(), BASE + offset, 8));
        let notifications = master.set_up(&memory, [&commands, &interrupts]);
        Self {
            master,
            memory,
            commands,
            notifications,
        }
    }

    /// Reads the class code as a driver does: notifies when asked to, and spins.
    fn read_class(&mut self) -> [u8; 3] {
        let message = [[1, 0, 0, 0], [4, 0, 0, 0], [8, 0, 0, 0], [0; 4]].concat();
        self.memory.ram.write(OUT, &message).expect("in RAM");
        self.commands.add(0, &[(OUT, 16, READ), (IN, 8, WRITE)]);
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        if self.commands.should_notify() {
            self.notifications[0].kick();
        }
        let start = Instant::now();
        while self.commands.used().is_none() {
            assert!(start.elapsed() < Duration::from_secs(10), "no answer");
            std::thread::yield_now();
        }
        let mut class = [0; 4];
        self.memory.ram.read(IN, &mut class).expect("in RAM");
        [class[3], class[2], class[1]]
    }
}

#[test]
fn guests_are_served_one_after_another() {
    let bench = Bench::new();

    for _ in 0..3 {
        let mut guest = Guest::new(bench.connect());
        assert_eq!(guest.read_class(), [1, 8, 2]);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(guest.read_class(), [1, 8, 2]);
    }

    bench.end();
}

#[test]
fn next_guest_is_served_after_nonsense_on_the_socket() {
    let bench = Bench::new();

    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 300], &[5, 0, 0, 0, 1]] {
        bench.connect().send_raw(nonsense, &[]);
    }
    let half = bench.connect();
    half.send_raw(&[5, 0, 0, 0], &[]);
    let mut guest = Guest::new(bench.connect());

    assert_eq!(guest.read_class(), [1, 8, 2]);
    drop(guest);
    bench.end();
}

#[test]
fn next_guest_is_served_after_nonsense_in_the_queue() {
    let bench = Bench::new();

    for _ in 0..3 {
        let mut guest = Guest::new(bench.connect());
        guest.commands.set_available_index(0x4000);
        guest.notifications[0].kick();
        // The server hangs up.
        assert_eq!(guest.master.reply(), None);
    }
    let mut guest = Guest::new(bench.connect());

    assert_eq!(guest.read_class(), [1, 8, 2]);
    drop(guest);
    bench.end();
}

#[test]
fn guest_that_leaves_during_set_up_is_forgotten() {
    let bench = Bench::new();
    let memory = GuestMemory::new(BASE, 1 << 20);

    let master = bench.connect();
    master.ask(5, &memory_table(&memory), &[memory.file.as_fd()]);
    drop(master);
    let mut guest = Guest::new(bench.connect());

    assert_eq!(guest.read_class(), [1, 8, 2]);
    drop(guest);
    bench.end();
}

#[test]
fn next_guest_is_served_after_one_that_cuts_its_memory() {
    let bench = Bench::new();

    for _ in 0..3 {
        let mut guest = Guest::new(bench.connect());
        assert_eq!(guest.read_class(), [1, 8, 2]);
        // Every page of it: whatever the device touches next is not there.
        guest.memory.file.set_len(0).expect("shorter");
        guest.notifications[0].kick();
        assert_eq!(guest.master.reply(), None);
    }
    let mut guest = Guest::new(bench.connect());

    assert_eq!(guest.read_class(), [1, 8, 2]);
    drop(guest);
    bench.end();
}

#[test]
fn stop_is_obeyed_while_a_guest_sends_slowly() {
    let bench = Bench::new();
    let slow = bench.connect();
    slow.send_raw(&[5, 0], &[]);

    let start = Instant::now();
    bench.end();

    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn socket_in_use_is_refused_and_a_stale_one_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");

    let first = Server::bind(&path).expect("a socket");
    assert!(matches!(Server::bind(&path), Err(ServerError::InUse(_))));
    drop(first);
    assert!(!path.exists());

    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    Server::bind(&path).expect("the stale socket is replaced");
}

#[test]
fn file_at_the_sockets_path_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, "precious").expect("a file");

    assert!(matches!(Server::bind(&path), Err(ServerError::NoSocket(_))));
    assert!(path.exists());
}

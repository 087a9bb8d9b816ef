// SPDX-License-Identifier: Apache-2.0 OR MIT
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use super::{Clock, Event, FrontEnd, Poller, PollerOptions};
use crate::dma::GuestRam;
use crate::pci::tests::function;
use crate::pci::{Delivery, MsiMessage, MsiPort, NvmeFunction};
use crate::timing::Nanos;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a guest and its front end share.
struct Link {
    /// How many accesses the guest has made.
    asked: AtomicU64,
    /// How many of them were served.
    served: AtomicU64,
    /// Whether the device wants to be notified.
    notify: AtomicBool,
    notifier: Event,
    /// Makes the front end fail.
    broken: AtomicBool,
}

impl Link {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicU64::new(0),
            served: AtomicU64::new(0),
            notify: AtomicBool::new(true),
            notifier: Event::new().expect("an eventfd"),
            broken: AtomicBool::new(false),
        })
    }

    /// One access by the guest, notified as a driver does it: only when asked for.
    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.notify.load(Ordering::Relaxed) {
            self.notifier.set();
        }
    }

    fn wait_until_served(&self) {
        let start = Instant::now();
        while self.served.load(Ordering::Relaxed) != self.asked.load(Ordering::Relaxed) {
            assert!(start.elapsed() < PATIENCE, "an access was lost");
            std::thread::yield_now();
        }
    }
}

struct Front(Arc<Link>);

impl Front {
    fn waiting(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) != self.0.served.load(Ordering::Relaxed)
    }
}

impl MsiPort for Front {
    fn send(&mut self, _vector: u16, _message: MsiMessage) -> Delivery {
        Delivery::Sent
    }
}

impl FrontEnd for Front {
    type Error = io::Error;

    fn serve(&mut self, _now: Nanos, _function: &mut NvmeFunction) -> io::Result<bool> {
        if self.0.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("nonsense"));
        }
        let waiting = self.waiting();
        if waiting {
            self.0.served.fetch_add(1, Ordering::Relaxed);
        }
        Ok(waiting)
    }
    fn flush(&mut self, _function: &mut NvmeFunction) -> io::Result<()> {
        Ok(())
    }
    fn prepare_sleep(&mut self) -> io::Result<bool> {
        self.0.notify.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Ok(!self.waiting())
    }
    fn resume_polling(&mut self) -> io::Result<()> {
        self.0.notify.store(false, Ordering::Relaxed);
        Ok(())
    }
    fn notifiers(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.notifier.as_fd()]
    }
    fn clear_notifications(&mut self) {
        self.0.notifier.clear();
    }
}

fn poller(idle_sleep: Option<Duration>) -> Poller<Front> {
    let mut function = function();
    function.attach(GuestRam::anonymous(&[(0, 1 << 16)]).expect("memory for a test"));
    let options = PollerOptions {
        cpu: None,
        lanes: Vec::new(),
        idle_sleep,
    };
    Poller::spawn(function, Clock::new(), options).expect("a thread")
}

#[test]
fn end_without_a_guest_returns_at_once() {
    let (_, counters) = poller(None).end().expect("no panic");

    assert_eq!(counters.turns, 0);
}

#[test]
fn awake_poller_serves_without_notifications() {
    let (poller, link) = (poller(None), Link::new());
    poller.handle().start(Front(link.clone())).expect("alive");

    for _ in 0..100 {
        link.ask();
    }
    link.wait_until_served();

    let (_, counters) = poller.end().expect("no panic");
    assert_eq!(counters.sleeps, 0);
    assert!(counters.turns >= 100);
}

#[test]
fn sleeping_poller_never_loses_an_access() {
    let (poller, link) = (poller(Some(Duration::from_micros(20))), Link::new());
    poller.handle().start(Front(link.clone())).expect("alive");

    // Pauses around the idle time, so that accesses come at each point of falling asleep.
    for round in 0..3000_u64 {
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_nanos((round * 37) % 60_000) {
            std::hint::spin_loop();
        }
        link.ask();
        link.wait_until_served();
    }

    let (_, counters) = poller.end().expect("no panic");
    assert!(counters.sleeps > 0, "it never slept");
}

#[test]
fn idle_poller_stops_turning() {
    let (poller, link) = (poller(Some(Duration::from_millis(1))), Link::new());
    poller.handle().start(Front(link.clone())).expect("alive");
    link.ask();
    link.wait_until_served();

    let turns = || {
        let turns = poller.handle().with_function(|_, counters| counters.turns);
        turns.expect("alive")
    };
    let start = Instant::now();
    // Each question wakes it for a millisecond; in between it must stand still.
    while !link.notify.load(Ordering::Relaxed) {
        assert!(start.elapsed() < PATIENCE, "it never slept");
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(5));
    let before = turns();
    assert!(before > 0);
    poller.end().expect("no panic");
}

#[test]
fn broken_front_end_is_reported_and_the_next_is_served() {
    let (poller, link) = (poller(Some(Duration::from_millis(1))), Link::new());
    link.broken.store(true, Ordering::Relaxed);
    poller.handle().start(Front(link)).expect("alive");

    let mut fds = [rustix::event::PollFd::from_borrowed_fd(
        poller.handle().failure_notifier(),
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut fds, None).expect("a failure");
    let failure = poller.handle().take_failure().expect("a failure");
    assert_eq!(failure.to_string(), "nonsense");
    assert!(poller.handle().take_failure().is_none());
    assert!(poller.handle().stop().expect("alive").is_none());

    let link = Link::new();
    poller.handle().start(Front(link.clone())).expect("alive");
    link.ask();
    link.wait_until_served();
    poller.end().expect("no panic");
}

#[test]
fn stop_gives_the_front_end_back() {
    let (poller, link) = (poller(None), Link::new());
    poller.handle().start(Front(link.clone())).expect("alive");

    let front = poller.handle().stop().expect("alive");

    assert!(front.is_some_and(|front| Arc::ptr_eq(&front.0, &link)));
    poller.end().expect("no panic");
}

#[test]
fn question_after_the_end_is_refused() {
    let poller = poller(None);
    let handle = poller.handle().clone();
    poller.end().expect("no panic");

    assert!(handle.with_function(|_, _| ()).is_err());
    assert!(handle.stop().is_err());
}

#[test]
fn panicking_errand_ends_the_poller_and_nobody_hangs() {
    let poller = poller(None);
    let handle = poller.handle().clone();

    let answer: Result<(), _> = handle.with_function(|_, _| panic!("on purpose"));

    assert!(answer.is_err());
    assert!(poller.end().is_err());
}

#[test]
fn on_each_poller_gives_a_result_of_each() {
    let options = PollerOptions {
        cpu: None,
        lanes: vec![None, None],
        idle_sleep: None,
    };
    let poller = Poller::<Front>::spawn(function(), Clock::new(), options).expect("threads");
    let name = || std::thread::current().name().map(str::to_owned);
    let names = poller.handle().on_each_poller(name).expect("alive");
    let names: Vec<String> = names.into_iter().flatten().collect();
    assert_eq!(names, ["poller", "poller 1", "poller 2"]);
    poller.end().expect("no panic");
}

#[test]
fn core_that_does_not_exist_is_refused() {
    let options = PollerOptions {
        cpu: Some(1_000_000),
        lanes: Vec::new(),
        idle_sleep: None,
    };

    assert!(Poller::<Front>::spawn(function(), Clock::new(), options).is_err());
}

#[test]
fn clock_goes_forward() {
    let clock = Clock::new();

    let first = clock.now();
    std::thread::sleep(Duration::from_millis(2));

    assert!(clock.now() >= first + 2_000_000);
}

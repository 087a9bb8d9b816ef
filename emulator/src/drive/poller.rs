// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The poller: a thread that owns the function and never waits while there is something to do. It
//! may lend queues to further ones ([`super::lanes`]).
//!
//! Others reach it through a mailbox that it looks at once a turn; that costs it one load of a
//! cache line that hardly ever changes. After a set idle time it sleeps: it asks the guest to
//! notify, publishes the real event indices, looks once more, and waits for a notification, for
//! mail, or for the next completion to come near.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::lanes::{LaneErrand, Lanes};
use super::turns::{Found, Turn, Turns};
use super::{Clock, Event, FrontEnd};
use crate::pci::NvmeFunction;
use crate::timing::Nanos;

/// How the poller behaves.
#[derive(Clone, Debug, Default)]
pub struct PollerOptions {
    /// The core it stays on.
    pub cpu: Option<usize>,
    /// The further pollers, and the cores that they stay on.
    pub lanes: Vec<Option<usize>>,
    /// After how long without anything to do it sleeps; `None`: never.
    pub idle_sleep: Option<Duration>,
}

/// What pollers count about themselves, all of them together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PollerCounters {
    /// Turns of the loop.
    pub turns: u64,
    /// How often it slept.
    pub sleeps: u64,
    /// How often it was away from its core without having slept: for more than 10 us after a turn
    /// without anything to do, or for more than half a millisecond after another.
    pub clock_gaps: u64,
    /// The longest of these, in nanoseconds.
    pub longest_gap_ns: Nanos,
    /// How often queues were lent to a further poller.
    pub lends: u64,
}

impl PollerCounters {
    /// Adds what another poller has counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.turns += other.turns;
        self.sleeps += other.sleeps;
        self.clock_gaps += other.clock_gaps;
        self.longest_gap_ns = self.longest_gap_ns.max(other.longest_gap_ns);
        self.lends += other.lends;
    }
}

/// The poller's thread has ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the poller has ended")]
pub struct PollerGone;

type Errand = Box<dyn FnOnce(&mut NvmeFunction, &PollerCounters) + Send>;

enum Order<F> {
    Run(Errand),
    Start(F),
    OnEach(LaneErrand),
    Stop(SyncSender<Option<F>>),
    End,
}

/// What both sides see.
struct Shared<F: FrontEnd> {
    mailbox: Mutex<Mailbox<F>>,
    /// Whether the mailbox holds anything.
    mail: AtomicBool,
    /// Wakes the poller.
    wake: Arc<Event>,
    /// Tells others that `Mailbox::failure` has been set.
    failed: Event,
}

struct Mailbox<F: FrontEnd> {
    orders: VecDeque<Order<F>>,
    failure: Option<F::Error>,
    closed: bool,
}

impl<F: FrontEnd> Shared<F> {
    /// The mailbox. A thread that panicked while holding it left it whole: each use is one step.
    fn mailbox(&self) -> MutexGuard<'_, Mailbox<F>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, order: Order<F>) -> Result<(), PollerGone> {
        let mut mailbox = self.mailbox();
        if mailbox.closed {
            return Err(PollerGone);
        }
        mailbox.orders.push_back(order);
        self.mail.store(true, Ordering::Release);
        drop(mailbox);
        self.wake.set();
        Ok(())
    }
}

/// The owner of the poller's thread.
pub struct Poller<F: FrontEnd> {
    handle: PollerHandle<F>,
    thread: JoinHandle<(NvmeFunction, PollerCounters)>,
}

/// Reaches a poller.
pub struct PollerHandle<F: FrontEnd> {
    shared: Arc<Shared<F>>,
}

impl<F: FrontEnd> Clone for PollerHandle<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F: FrontEnd> Poller<F> {
    /// Starts the thread. It sleeps until a front end comes.
    ///
    /// # Errors
    /// When the host gives no thread or eventfd, a core does not exist, or several pollers are
    /// wanted for media that are for one thread only.
    pub fn spawn(
        mut function: NvmeFunction,
        clock: Clock,
        options: PollerOptions,
    ) -> io::Result<Self> {
        let wake = Arc::new(Event::new()?);
        let lanes = Lanes::start(&mut function, &options, &clock, &wake)?;
        let shared = Arc::new(Shared {
            mailbox: Mutex::new(Mailbox {
                orders: VecDeque::new(),
                failure: None,
                closed: false,
            }),
            mail: AtomicBool::new(false),
            wake,
            failed: Event::new()?,
        });
        let (started, start) = sync_channel(1);
        let turning = Loop::new(Arc::clone(&shared), function, lanes, clock, options);
        let thread = std::thread::Builder::new()
            .name("poller".into())
            .spawn(move || turning.run(&started))?;
        // The thread says whether it could be pinned.
        start
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other(PollerGone)))?;
        Ok(Self {
            handle: PollerHandle { shared },
            thread,
        })
    }

    /// For others to reach the poller.
    pub fn handle(&self) -> &PollerHandle<F> {
        &self.handle
    }

    /// Ends the thread and takes the function back.
    ///
    /// # Errors
    /// [`PollerGone`] when it has panicked.
    pub fn end(self) -> Result<(NvmeFunction, PollerCounters), PollerGone> {
        // If the thread is gone already, join tells.
        let _ = self.handle.shared.send(Order::End);
        self.thread.join().map_err(|_| PollerGone)
    }
}

impl<F: FrontEnd> PollerHandle<F> {
    /// Runs `errand` between two turns and returns its result. Keep it short: the guest waits.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub fn with_function<R: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut NvmeFunction, &PollerCounters) -> R + Send + 'static,
    ) -> Result<R, PollerGone> {
        let (sender, receiver) = sync_channel(1);
        self.shared
            .send(Order::Run(Box::new(move |function, counters| {
                // Nobody waits any more: nothing to tell.
                let _ = sender.send(errand(function, counters));
            })))?;
        receiver.recv().map_err(|_| PollerGone)
    }

    /// Runs `errand` once on the thread of every poller, this one first, and returns their results.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub fn on_each_poller<R: Send + 'static>(
        &self,
        errand: impl Fn() -> R + Send + Sync + 'static,
    ) -> Result<Vec<R>, PollerGone> {
        let (sender, results) = channel();
        self.shared.send(Order::OnEach(Arc::new(move || {
            // Nobody waits any more: nothing to tell.
            let _ = sender.send(errand());
        })))?;
        // It ends when the last poller has dropped the errand.
        let results: Vec<R> = results.iter().collect();
        if results.is_empty() {
            return Err(PollerGone);
        }
        Ok(results)
    }

    /// Begins to serve `front`.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub fn start(&self, front: F) -> Result<(), PollerGone> {
        self.shared.mailbox().failure = None;
        self.shared.failed.clear();
        self.shared.send(Order::Start(front))
    }

    /// Stops serving and returns the front end, unless it failed before.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub fn stop(&self) -> Result<Option<F>, PollerGone> {
        let (sender, receiver) = sync_channel(1);
        self.shared.send(Order::Stop(sender))?;
        receiver.recv().map_err(|_| PollerGone)
    }

    /// Becomes readable when the front end has failed.
    pub fn failure_notifier(&self) -> BorrowedFd<'_> {
        self.shared.failed.as_fd()
    }

    /// Why the front end failed, once.
    pub fn take_failure(&self) -> Option<F::Error> {
        self.shared.failed.clear();
        self.shared.mailbox().failure.take()
    }
}

struct Loop<F: FrontEnd> {
    shared: Arc<Shared<F>>,
    function: NvmeFunction,
    lanes: Lanes,
    front: Option<F>,
    turns: Turns,
    options: PollerOptions,
    counters: PollerCounters,
}

/// Closes the mailbox when the thread ends, however it does, so that nobody waits for it.
struct Closing<F: FrontEnd>(Arc<Shared<F>>);

impl<F: FrontEnd> Drop for Closing<F> {
    fn drop(&mut self) {
        let mut mailbox = self.0.mailbox();
        mailbox.closed = true;
        mailbox.orders.clear();
        drop(mailbox);
        self.0.failed.set();
    }
}

impl<F: FrontEnd> Loop<F> {
    fn new(
        shared: Arc<Shared<F>>,
        function: NvmeFunction,
        lanes: Lanes,
        clock: Clock,
        options: PollerOptions,
    ) -> Self {
        Self {
            shared,
            function,
            lanes,
            front: None,
            turns: Turns::new(clock, options.idle_sleep),
            options,
            counters: PollerCounters::default(),
        }
    }

    fn run(mut self, started: &SyncSender<io::Result<()>>) -> (NvmeFunction, PollerCounters) {
        let _closing = Closing(Arc::clone(&self.shared));
        let pinned = self.options.cpu.map_or(Ok(()), pin_thread);
        if pinned.is_ok() {
            // The other side waits for exactly this.
            let _ = started.send(pinned);
            self.run_until_told();
        } else {
            let _ = started.send(pinned);
        }
        (self.function, self.counters)
    }

    fn run_until_told(&mut self) {
        loop {
            if self.shared.mail.load(Ordering::Acquire) {
                self.recall();
                if !self.obey() {
                    break;
                }
            }
            if self.front.is_none() {
                self.wait(None);
            } else if let Err(error) = self.turn() {
                self.fail(error);
            }
        }
    }

    /// Takes back what was lent.
    fn recall(&mut self) {
        self.lanes.recall(&mut self.function, &mut self.counters);
    }

    /// Gives up the front end, and tells why.
    fn fail(&mut self, error: F::Error) {
        self.recall();
        self.front = None;
        self.shared.mailbox().failure = Some(error);
        self.shared.failed.set();
    }

    /// Carries out what others have ordered. Returns false when it is time to end.
    fn obey(&mut self) -> bool {
        loop {
            let order = {
                let mut mailbox = self.shared.mailbox();
                let order = mailbox.orders.pop_front();
                if order.is_none() {
                    self.shared.mail.store(false, Ordering::Release);
                }
                order
            };
            match order {
                None => break,
                Some(Order::Run(errand)) => errand(&mut self.function, &self.counters),
                Some(Order::Start(front)) => {
                    self.front = Some(front);
                    self.begin_session();
                }
                Some(Order::OnEach(errand)) => {
                    errand();
                    self.lanes.run_errand(&errand);
                }
                Some(Order::Stop(sender)) => {
                    // Nobody waits any more: it is dropped.
                    let _ = sender.send(self.front.take());
                }
                Some(Order::End) => return false,
            }
        }
        // Errands may take a while; that is no gap.
        self.turns.skip();
        true
    }

    fn begin_session(&mut self) {
        self.turns.restart();
        if let Some(front) = &self.front {
            self.lanes.connect(|| front.lane_port());
        }
        let result = self.front.as_mut().map(FrontEnd::resume_polling);
        if let Some(Err(error)) = result {
            self.fail(error);
        }
    }

    /// One turn: the guest's accesses, the engine, one signal; then perhaps sleep.
    fn turn(&mut self) -> Result<(), F::Error> {
        let Turn { now, away_since } = self.turns.next(&mut self.counters);
        let Some(front) = &mut self.front else {
            return Ok(());
        };
        if self.lanes.are_out()
            && (front.has_work() || self.lanes.have_called() || self.function.look_for_admin())
        {
            self.lanes.recall(&mut self.function, &mut self.counters);
        }
        // An access that comes only now waits for the next turn.
        let served = !self.lanes.are_out() && front.serve(now, &mut self.function)?;
        if let Some(since) = away_since {
            self.function.was_away(since);
        }
        let due = self.function.step(now, front);
        front.flush(&mut self.function)?;
        if !self.lanes.are_out() {
            self.lanes.lend(&mut self.function);
        }
        let idle = self.function.is_idle();
        let busy = served || (!idle && self.function.wants_retry());
        let found = Found {
            due,
            nothing: !busy && self.function.is_quiet(),
            idle,
            busy,
        };
        if self.turns.rest(found) {
            self.sleep()?;
        }
        Ok(())
    }

    /// Sleeps until the guest notifies, mail comes or a completion is near; not at all when work has
    /// come in the meantime.
    fn sleep(&mut self) -> Result<(), F::Error> {
        let Some(front) = &mut self.front else {
            return Ok(());
        };
        let quiet = front.prepare_sleep()? && self.function.prepare_sleep();
        if !quiet {
            return front.resume_polling();
        }
        self.wait(self.turns.patience());
        self.counters.sleeps += 1;
        self.function.resume_polling();
        self.turns.skip();
        match &mut self.front {
            Some(front) => {
                front.clear_notifications();
                front.resume_polling()
            }
            None => Ok(()),
        }
    }

    /// Waits for mail or a notification, at most for `patience`.
    fn wait(&mut self, patience: Option<Duration>) {
        let mut fds = vec![PollFd::from_borrowed_fd(
            self.shared.wake.as_fd(),
            PollFlags::IN,
        )];
        if let Some(front) = &self.front {
            let notifiers = front.notifiers();
            fds.extend(
                notifiers
                    .into_iter()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
        }
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        // An interrupted or failed wait is a short one: the loop looks at everything again.
        let _ = poll(&mut fds, timeout.as_ref());
        self.shared.wake.clear();
    }
}

/// Keeps the calling thread on one core.
///
/// # Errors
/// When the core does not exist or this process may not run there.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

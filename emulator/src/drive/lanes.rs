// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Further pollers: threads that serve the I/O queues that the first one lends them.
//!
//! The first poller owns the function. As long as nothing concerns more than single I/O queues, the
//! lanes are out: each serves its queues alone, and touches nothing that another thread writes. When
//! the guest traps, an admin command arrives, somebody has an errand, or a lane calls, the first
//! poller takes every lane back, which is a matter of one turn of each, does what is to be done with
//! everything in one hand, and lends again.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::turns::{Found, Turn, Turns};
use super::{Clock, Event, PollerCounters, PollerOptions, pin_thread};
use crate::engine::LaneShare;
use crate::pci::{FunctionLane, MsiPort, NvmeFunction};

/// The first poller has the lane.
const HOME: u32 = 0;
/// The lane's thread has it.
const OUT: u32 = 1;
/// The lane's thread is asked to give it back.
const RECALLED: u32 = 2;
/// The thread is to end.
const END: u32 = 3;
/// The thread has ended.
const GONE: u32 = 4;

/// So long a thread looks for a lane before it sleeps: it was taken back for a moment.
const LINGER: Duration = Duration::from_micros(50);

/// Something that every poller does once.
pub type LaneErrand = Arc<dyn Fn() + Send + Sync>;

/// What goes from hand to hand.
struct Work {
    lane: FunctionLane,
    /// Takes its interrupts to the guest.
    port: Option<Box<dyn MsiPort + Send>>,
    counters: PollerCounters,
}

/// Where it changes hands.
struct Desk {
    state: AtomicU32,
    work: Mutex<Option<Box<Work>>>,
    errand: Mutex<Option<(LaneErrand, SyncSender<()>)>>,
    wake: Event,
}

impl Desk {
    /// The place. A thread that panicked while holding it left it whole: each use is one step.
    fn work(&self) -> MutexGuard<'_, Option<Box<Work>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn errand(&self) -> MutexGuard<'_, Option<(LaneErrand, SyncSender<()>)>> {
        self.errand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane's way to say that it needs the first poller.
struct Call {
    called: AtomicBool,
    wake: Arc<Event>,
}

/// The further pollers, in the first one's hand.
pub struct Lanes {
    threads: Vec<LaneThread>,
    call: Arc<Call>,
    out: bool,
}

struct LaneThread {
    share: LaneShare,
    desk: Arc<Desk>,
    /// While it is home.
    work: Option<Box<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Lanes {
    /// Starts as many threads as `options` wants, with lanes of `function`. `wake` wakes the first
    /// poller.
    ///
    /// # Errors
    /// When the host gives no thread or eventfd, a core does not exist, or the function's media are
    /// for one thread only ([`io::ErrorKind::Unsupported`]).
    pub fn start(
        function: &mut NvmeFunction,
        options: &PollerOptions,
        clock: &Clock,
        wake: &Arc<Event>,
    ) -> io::Result<Self> {
        let of = u16::try_from(options.lanes.len() + 1)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let call = Arc::new(Call {
            called: AtomicBool::new(false),
            wake: Arc::clone(wake),
        });
        let mut lanes = Self {
            threads: Vec::new(),
            call,
            out: false,
        };
        for (number, &cpu) in (1..).zip(&options.lanes) {
            let lane = function.lane().ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a namespace's medium is for one poller only",
                )
            })?;
            let desk = Arc::new(Desk {
                state: AtomicU32::new(HOME),
                work: Mutex::new(None),
                errand: Mutex::new(None),
                wake: Event::new()?,
            });
            let serving = Serving {
                desk: Arc::clone(&desk),
                call: Arc::clone(&lanes.call),
                turns: Turns::new(clock.clone(), options.idle_sleep),
            };
            let (started, start) = sync_channel(1);
            let thread = std::thread::Builder::new()
                .name(format!("poller {number}"))
                .spawn(move || serving.run(cpu, &started))?;
            lanes.threads.push(LaneThread {
                share: LaneShare { number, of },
                desk,
                work: Some(Box::new(Work {
                    lane,
                    port: None,
                    counters: PollerCounters::default(),
                })),
                thread: Some(thread),
            });
            start
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("a poller has ended")))?;
        }
        Ok(lanes)
    }

    /// Whether a lane is out.
    #[inline]
    pub fn are_out(&self) -> bool {
        self.out
    }

    /// Whether a lane needs the first poller.
    #[inline]
    pub fn have_called(&self) -> bool {
        self.call.called.load(Ordering::Acquire)
    }

    /// Gives the lanes a front end's ports.
    pub fn connect(&mut self, port: impl Fn() -> Option<Box<dyn MsiPort + Send>>) {
        for thread in &mut self.threads {
            if let Some(work) = &mut thread.work {
                work.port = port();
            }
        }
    }

    /// Lends every lane its queues, as far as it can have any now.
    ///
    /// # Panics
    /// As [`Lanes::recall`].
    pub fn lend(&mut self, function: &mut NvmeFunction) {
        for thread in &mut self.threads {
            if !function.can_lend(thread.share)
                || thread.work.as_ref().is_none_or(|work| work.port.is_none())
            {
                continue;
            }
            thread.check_alive();
            let Some(mut work) = thread.work.take() else {
                continue;
            };
            function.lend(&mut work.lane, thread.share);
            work.counters.lends += 1;
            *thread.desk.work() = Some(work);
            thread.desk.state.store(OUT, Ordering::Release);
            thread.desk.wake.set();
            self.out = true;
        }
    }

    /// Takes every lane back that is out.
    ///
    /// # Panics
    /// When a lane's thread has panicked: its queues are lost, and nothing can be right any more.
    pub fn recall(&mut self, function: &mut NvmeFunction, counters: &mut PollerCounters) {
        if !std::mem::take(&mut self.out) {
            return;
        }
        let out = |thread: &&mut LaneThread| thread.work.is_none();
        for thread in self.threads.iter_mut().filter(out) {
            thread.desk.state.store(RECALLED, Ordering::Release);
            thread.desk.wake.set();
        }
        for thread in self.threads.iter_mut().filter(out) {
            let mut work = thread.wait_for_work();
            function.take_back(&mut work.lane);
            counters.add(&std::mem::take(&mut work.counters));
            thread.work = Some(work);
        }
        // Whatever they called for has been taken over.
        self.call.called.store(false, Ordering::Relaxed);
    }

    /// Has every thread run an errand, and waits until all have. The lanes must be home.
    pub fn run_errand(&self, errand: &LaneErrand) {
        for thread in &self.threads {
            let (done, wait) = sync_channel(1);
            *thread.desk.errand() = Some((Arc::clone(errand), done));
            thread.desk.wake.set();
            // A thread that is gone drops the sender.
            let _ = wait.recv();
        }
    }
}

impl LaneThread {
    fn check_alive(&self) {
        let gone = self.desk.state.load(Ordering::Acquire) == GONE;
        assert!(!gone, "the thread of poller {} is gone", self.share.number);
    }

    fn wait_for_work(&self) -> Box<Work> {
        loop {
            self.check_alive();
            if self.desk.state.load(Ordering::Acquire) == HOME
                && let Some(work) = self.desk.work().take()
            {
                return work;
            }
            // It may be waiting for the core that this thread has.
            std::thread::yield_now();
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.desk.state.store(END, Ordering::Release);
            thread.desk.wake.set();
            if let Some(thread) = thread.thread.take() {
                // It has said what it had to when it panicked.
                let _ = thread.join();
            }
        }
    }
}

/// The thread of a lane.
struct Serving {
    desk: Arc<Desk>,
    call: Arc<Call>,
    turns: Turns,
}

/// Says that the thread is gone, however it ends.
struct Leaving(Arc<Desk>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.state.store(GONE, Ordering::Release);
        *self.0.errand() = None;
    }
}

impl Serving {
    fn run(mut self, cpu: Option<usize>, started: &SyncSender<io::Result<()>>) {
        let _leaving = Leaving(Arc::clone(&self.desk));
        let pinned = cpu.map_or(Ok(()), pin_thread);
        let failed = pinned.is_err();
        // The other side waits for exactly this.
        let _ = started.send(pinned);
        if failed {
            return;
        }
        while self.wait_until_out() {
            let Some(mut work) = self.desk.work().take() else {
                continue;
            };
            self.serve(&mut work);
            *self.desk.work() = Some(work);
            // Not when it is to end.
            let _ = self.desk.state.compare_exchange(
                RECALLED,
                HOME,
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
    }

    /// Waits for a lane. False when it is time to end.
    fn wait_until_out(&self) -> bool {
        let begun = Instant::now();
        loop {
            match self.desk.state.load(Ordering::Acquire) {
                OUT | RECALLED => return true,
                END => return false,
                _ => {}
            }
            let errand = self.desk.errand().take();
            if let Some((errand, done)) = errand {
                errand();
                // Nobody waits any more: nothing to tell.
                let _ = done.send(());
            } else if begun.elapsed() < LINGER {
                std::hint::spin_loop();
            } else {
                self.desk.wake.wait(None);
                self.desk.wake.clear();
            }
        }
    }

    /// Serves the lane until it is recalled.
    fn serve(&mut self, work: &mut Work) {
        let Work {
            lane,
            port: Some(port),
            counters,
        } = work
        else {
            return;
        };
        self.turns.restart();
        while self.desk.state.load(Ordering::Acquire) == OUT {
            let Turn { now, away_since } = self.turns.next(counters);
            if let Some(since) = away_since {
                lane.was_away(since);
            }
            let due = lane.step(now, port.as_mut());
            if lane.calls() {
                self.call();
            }
            let busy = lane.wants_retry();
            let found = Found {
                due,
                nothing: !busy && lane.is_quiet(),
                idle: lane.is_idle(),
                busy,
            };
            if self.turns.rest(found) {
                self.sleep(lane, counters);
            }
        }
    }

    /// Tells the first poller, once until it answers.
    fn call(&self) {
        if !self.call.called.swap(true, Ordering::AcqRel) {
            self.call.wake.set();
        }
    }

    fn sleep(&mut self, lane: &mut FunctionLane, counters: &mut PollerCounters) {
        if !lane.prepare_sleep() {
            return;
        }
        // What the guest rings from here on traps, and then the lane is recalled. The flag stays set
        // from a recall that came before, so none is missed.
        if self.desk.state.load(Ordering::Acquire) == OUT {
            self.desk.wake.wait(self.turns.patience());
            counters.sleeps += 1;
        }
        self.desk.wake.clear();
        self.turns.skip();
        if self.desk.state.load(Ordering::Acquire) == OUT {
            lane.resume_polling();
        }
    }
}

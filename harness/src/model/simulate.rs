// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processors that drive queue pairs of one device, as fio does: each fills its queue, submits what
//! it has when it is half a queue or when the queue is full, and then reaps at least one and at most
//! half a queue of completions.
//!
//! Discrete events in virtual time. The device is the emulator's own timing model. A processor does
//! one thing at a time; interrupts come in between and make what it does last longer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use emulator::timing::{Model, Nanos, Profile, Request, Work};
use hdrhistogram::Histogram;

use super::Costs;
use super::lives::{Lives, Moments};
use crate::sweep::{self, IoPath};

/// A submission of more iocbs than this is plugged: its requests are allocated together, and go to
/// the device with one doorbell (AIO_PLUG_THRESHOLD).
const PLUG_THRESHOLD: u32 = 2;

/// Accesses to take a reference to the file.
const TO_TAKE_FILE: u64 = 1;

/// Accesses to allocate a request, or as many of a submission as are allocated together.
const TO_ALLOCATE: u64 = 1;

/// Requests that are allocated together at most (AIO_SUBMIT_BATCH); one or two are allocated alone.
const ALLOCATED_TOGETHER: u32 = 8;

/// Accesses to pin a page of a buffer: the page table and the page's reference count.
const TO_PIN: u64 = 2;

/// Accesses to copy an iocb.
const TO_COPY: u64 = 1;

/// How often fio looks at the clock for an I/O: twice whether the job is over, and when it begins.
/// Counted in virtual time, as the difference that a dearer `clock_read` makes.
const CLOCK_READS: u64 = 3;

/// I/Os of a job that are counted, unless somebody says: enough for three digits.
pub const DEFAULT_IOS: u64 = 100_000;

/// Bytes of a page of the application's memory.
const PAGE: u32 = 4096;

/// Share of the I/Os that are let pass before anything is counted.
const WARM_UP: u64 = 10;

/// What the software does for an I/O. The three paths of the seed are three of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Software {
    /// References and requests are taken once for a submission, not for each of its iocbs.
    pub batched: bool,
    /// Completions are polled for; else an interrupt tells of them.
    pub polled: bool,
    /// The kernel reads iocbs where they are.
    pub user_iocbs: bool,
    /// Buffers stay pinned.
    pub fixed_buffers: bool,
}

impl Software {
    /// The software of a path of the seed; none for others.
    pub fn of(path: IoPath) -> Option<Self> {
        let new = path == IoPath::AioPollAll;
        match path {
            IoPath::Mainline | IoPath::AioPoll | IoPath::AioPollAll => Some(Self {
                batched: path != IoPath::Mainline,
                polled: new,
                user_iocbs: new,
                fixed_buffers: new,
            }),
            IoPath::IoUring => None,
        }
    }
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The device.
    pub profile: Profile,
    /// The processors; all alike.
    pub costs: Costs,
    /// What runs on them.
    pub software: Software,
    /// I/Os in flight of each job, 1 or more.
    pub depth: u32,
    /// Most I/Os that are submitted or reaped at once, 1 to `depth`.
    pub batch: u32,
    /// Bytes of an I/O.
    pub block_size: u32,
    /// Reads or writes.
    pub work: Work,
    /// Processors, each with a job and a queue pair of its own.
    pub jobs: u16,
    /// Seed of the device's draws.
    pub seed: u64,
    /// I/Os of each job that are counted.
    pub ios: u64,
}

/// Where the time of the processors went, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// In io_submit() and what leads to it.
    pub submission: Nanos,
    /// In io_getevents() with something to reap, in interrupts, and waking up.
    pub completion: Nanos,
    /// Idle, or polling in vain.
    pub waiting: Nanos,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// I/Os a second of all jobs.
    pub iops: f64,
    /// From the end of the submission to the return of io_getevents(), as fio's clat.
    pub latency: Histogram<u64>,
    /// Time of the processors while it was counted.
    pub spent: Spent,
    /// Times of the I/Os.
    pub lives: Lives,
    /// I/Os counted.
    pub ios: u64,
    /// From the first I/O counted to the last.
    pub elapsed: Nanos,
}

impl Outcome {
    /// Median completion latency in microseconds.
    pub fn median_us(&self) -> f64 {
        self.latency_us(0.5)
    }

    /// A quantile (0 to 1) of the completion latency in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Runs a scenario.
pub fn simulate(scenario: &Scenario) -> Outcome {
    let mut device = Model::new(scenario.profile.clone(), scenario.seed);
    let mut jobs: Vec<_> = (1..=scenario.jobs)
        .map(|queue| Job::new(scenario, queue))
        .collect();
    match jobs.as_mut_slice() {
        [job] => while job.step(&mut device) {},
        _ => interleave(&mut jobs, &mut device),
    }
    gather(&jobs)
}

/// The device sees commands in the order of their times.
fn interleave(jobs: &mut [Job<'_>], device: &mut Model) {
    let mut next: BinaryHeap<_> = (0..jobs.len()).map(|job| Reverse((0, job))).collect();
    while let Some(Reverse((_, which))) = next.pop() {
        if let Some(job) = jobs.get_mut(which)
            && job.step(device)
        {
            next.push(Reverse((job.now, which)));
        }
    }
}

fn gather(jobs: &[Job<'_>]) -> Outcome {
    let mut outcome = Outcome {
        iops: 0.0,
        latency: new_histogram(),
        spent: Spent::default(),
        lives: Lives::default(),
        ios: 0,
        elapsed: 0,
    };
    for job in jobs {
        let elapsed = job.now.saturating_sub(job.counted_since);
        outcome.iops += rate(job.counted, elapsed);
        outcome.elapsed = outcome.elapsed.max(elapsed);
        outcome.ios += job.counted;
        outcome.spent.submission += job.spent.submission;
        outcome.spent.completion += job.spent.completion;
        outcome.spent.waiting += job.spent.waiting;
        outcome.lives.add(&job.lives);
        // It grows as needed: nothing can be lost.
        let _ = outcome.latency.add(&job.latency);
    }
    outcome
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times are far below 2^53"
)]
fn rate(ios: u64, elapsed: Nanos) -> f64 {
    ios as f64 * 1e9 / elapsed.max(1) as f64
}

/// With three digits, and as long as it needs to be.
fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are allowed"))
}

/// A command that the device has, or that was in its completion queue. The first to be due is the
/// first in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Command {
    due: Nanos,
    /// The number of its submission.
    submission: u64,
    /// When fio began with it.
    begun: Nanos,
    /// When the doorbell was rung for it.
    rung: Nanos,
    /// When it was seen in the completion queue.
    seen: Nanos,
}

/// What a job does next.
#[derive(Clone, Copy)]
enum Next {
    /// Begin io_submit().
    Submit,
    /// Ring the doorbell for `ready` iocbs; `left` more of the same io_submit() are to follow.
    Ring { ready: u32, left: u32 },
    /// io_getevents().
    Reap,
}

/// Whose time it is.
#[derive(Clone, Copy)]
enum On {
    Submission,
    Completion,
}

struct Job<'a> {
    scenario: &'a Scenario,
    queue: u16,
    now: Nanos,
    next: Next,
    sequence: u64,
    outstanding: u32,
    /// I/Os that fio believes it has yet to submit. It submits when they are a batch; what it submits
    /// because the queue is full does not count, so that a reap of less than a batch moves all later
    /// submissions.
    queued: u32,
    in_flight: BinaryHeap<Reverse<Command>>,
    /// Completed, and not yet given to the application.
    ring: VecDeque<Command>,
    /// When submissions ended; as many as can be in flight have a place.
    submitted: Vec<Nanos>,
    submission: u64,
    /// When fio began with those I/Os of the submission that the device has not heard of.
    begun: VecDeque<Nanos>,
    /// What the next submission takes longer.
    cold: Nanos,
    spent: Spent,
    lives: Lives,
    /// I/Os that are still to pass before any is counted.
    warming: u64,
    counted: u64,
    counted_since: Nanos,
    latency: Histogram<u64>,
}

impl<'a> Job<'a> {
    fn new(scenario: &'a Scenario, queue: u16) -> Self {
        let places = scenario.depth as usize + 1;
        Self {
            scenario,
            queue,
            now: 0,
            next: Next::Submit,
            sequence: 0,
            outstanding: 0,
            queued: 0,
            in_flight: BinaryHeap::with_capacity(places),
            ring: VecDeque::with_capacity(places),
            submitted: vec![0; places],
            submission: 0,
            begun: VecDeque::with_capacity(places),
            cold: 0,
            spent: Spent::default(),
            lives: Lives::default(),
            warming: scenario.ios / WARM_UP + u64::from(scenario.depth),
            counted: 0,
            counted_since: 0,
            latency: new_histogram(),
        }
    }

    /// Goes on to the next moment at which the device is told something, or a reap ends. Whether
    /// there is more to do.
    fn step(&mut self, device: &mut Model) -> bool {
        match self.next {
            Next::Submit => self.begin_submission(),
            Next::Ring { ready, left } => {
                self.ring_doorbell(ready, device);
                self.prepare(left);
            }
            Next::Reap => {
                self.reap();
                self.next = Next::Submit;
            }
        }
        self.counted < self.scenario.ios
    }

    fn begin_submission(&mut self) {
        let Scenario {
            costs,
            software,
            depth,
            batch,
            ..
        } = self.scenario;
        let count = (depth - self.outstanding).min(batch - self.queued);
        self.queued += count;
        if self.queued == *batch {
            self.queued = 0;
        }
        for _ in 0..count {
            self.work(CLOCK_READS * costs.clock_read, On::Submission);
            self.begun.push_back(self.now);
        }
        let mut cost = costs.system_call;
        if software.batched {
            cost += TO_TAKE_FILE * costs.access;
        }
        if software.batched && count > PLUG_THRESHOLD {
            cost += TO_ALLOCATE * allocations(count) * costs.access;
        }
        cost += std::mem::take(&mut self.cold);
        self.work(cost, On::Submission);
        self.prepare(count);
    }

    /// What comes before the next doorbell of a submission, or after its last.
    fn prepare(&mut self, left: u32) {
        if left == 0 {
            self.work(self.scenario.costs.clock_read, On::Submission);
            *self.end_of(self.submission) = self.now;
            self.submission += 1;
            let full = self.outstanding == self.scenario.depth;
            self.next = if full { Next::Reap } else { Next::Submit };
            return;
        }
        let plugged = left > PLUG_THRESHOLD;
        let ready = if plugged { left } else { 1 };
        let cost = self.scenario.submission_of_one(plugged);
        for _ in 0..ready {
            self.work(cost, On::Submission);
        }
        self.next = Next::Ring {
            ready,
            left: left - ready,
        };
    }

    fn ring_doorbell(&mut self, count: u32, device: &mut Model) {
        for _ in 0..count {
            let request = Request {
                nsid: 1,
                queue: self.queue,
                queue_creation: 0,
                sequence: self.sequence,
                work: self.scenario.work,
                bytes: self.scenario.block_size,
            };
            self.sequence += 1;
            self.in_flight.push(Reverse(Command {
                due: device.admit(self.now, &request),
                submission: self.submission,
                begun: self.begun.pop_front().unwrap_or(self.now),
                rung: self.now,
                seen: 0,
            }));
        }
        self.outstanding += count;
    }

    fn reap(&mut self) {
        let costs = &self.scenario.costs;
        self.work(costs.system_call, On::Completion);
        if self.scenario.software.polled {
            self.poll();
        } else if self.ring.is_empty() {
            self.sleep();
        }
        self.work(costs.clock_read, On::Completion);
        for _ in 0..self.scenario.batch {
            let Some(command) = self.ring.pop_front() else {
                break;
            };
            self.outstanding -= 1;
            self.count(&command);
        }
    }

    /// Turns of the poller until there is something to reap, but one at least: it looks whether more
    /// has come. Those in vain are waiting.
    fn poll(&mut self) {
        let turn = self.scenario.costs.completion.max(1);
        if self.ring.is_empty()
            && let Some(Reverse(first)) = self.in_flight.peek()
        {
            let vain = first.due.saturating_sub(self.now + 1) / turn * turn;
            self.now += vain;
            self.spent.waiting += vain;
        }
        loop {
            self.now += turn;
            self.spent.completion += turn;
            let found = self.collect(self.now);
            self.now += found;
            self.spent.completion += found;
            if !self.ring.is_empty() {
                break;
            }
        }
    }

    /// Idle until an interrupt comes, and awake again.
    fn sleep(&mut self) {
        let Some(Reverse(first)) = self.in_flight.peek() else {
            return;
        };
        let idle = first.due.saturating_sub(self.now);
        let (wake_up, warm_up) = self.scenario.costs.after_idle(idle);
        self.now += idle + wake_up;
        self.spent.waiting += idle;
        self.spent.completion += wake_up;
        self.cold += warm_up;
        // Whatever the processor wakes for is handled at once.
        self.work(0, On::Completion);
    }

    /// Does something for so long, with interrupts in between.
    fn work(&mut self, cost: Nanos, on: On) {
        let mut left = cost;
        if !self.scenario.software.polled {
            while let Some(Reverse(first)) = self.in_flight.peek()
                && first.due <= self.now + left
            {
                let before = first.due.saturating_sub(self.now);
                left -= before;
                self.now += before + self.scenario.costs.completion;
                let found = self.collect(self.now);
                self.now += found;
                self.spent.completion += self.scenario.costs.completion + found;
            }
        }
        self.now += left;
        *match on {
            On::Submission => &mut self.spent.submission,
            On::Completion => &mut self.spent.completion,
        } += cost;
    }

    /// Takes what is in the completion queue at `now`; what that costs.
    fn collect(&mut self, now: Nanos) -> Nanos {
        let mut cost = 0;
        while let Some(Reverse(first)) = self.in_flight.peek()
            && first.due <= now
        {
            cost += self.scenario.costs.io;
            self.ring.push_back(Command {
                seen: now,
                ..*first
            });
            self.in_flight.pop();
        }
        cost
    }

    /// When a submission ended. Those that can be in flight have places of their own.
    fn end_of(&mut self, submission: u64) -> &mut Nanos {
        let places = self.submitted.len() as u64;
        let place = usize::try_from(submission % places).unwrap_or(0);
        &mut self.submitted[place]
    }

    fn count(&mut self, command: &Command) {
        if self.warming > 0 {
            self.warming -= 1;
            if self.warming == 0 {
                self.counted_since = self.now;
                self.spent = Spent::default();
            }
            return;
        }
        self.counted += 1;
        let end = *self.end_of(command.submission);
        // Auto-resizing: whatever the time is, there is room.
        self.latency += self.now.saturating_sub(end);
        self.lives.count(&Moments {
            begun: command.begun,
            rung: command.rung,
            submitted: end,
            due: command.due,
            seen: command.seen,
            over: self.now,
        });
    }
}

/// How often the kernel allocates for a submission of `count`.
fn allocations(count: u32) -> u64 {
    let (full, rest) = (count / ALLOCATED_TOGETHER, count % ALLOCATED_TOGETHER);
    u64::from(full + if rest > 2 { 1 } else { rest })
}

impl Scenario {
    /// The workload of the seed, 4 KiB random reads of one job, half a queue at a time; nothing for a
    /// path that the model does not know.
    pub fn of_seed(profile: &Profile, costs: &Costs, path: IoPath, depth: u32) -> Option<Self> {
        Some(Self {
            profile: profile.clone(),
            costs: *costs,
            software: Software::of(path)?,
            depth,
            batch: sweep::batch(depth),
            block_size: PAGE,
            work: Work::Read,
            jobs: 1,
            seed: 1,
            ios: DEFAULT_IOS,
        })
    }

    /// What one iocb takes on its way to the device, alone or with those that it is plugged with.
    fn submission_of_one(&self, plugged: bool) -> Nanos {
        let Self {
            costs, software, ..
        } = self;
        let mut cost = costs.io;
        if !software.user_iocbs {
            cost += TO_COPY * costs.access;
        }
        if !software.fixed_buffers {
            cost += TO_PIN * costs.access * u64::from(self.block_size.div_ceil(PAGE));
        }
        if !software.batched {
            cost += TO_TAKE_FILE * costs.access;
        }
        if !software.batched || !plugged {
            cost += TO_ALLOCATE * costs.access;
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use emulator::timing::Service;

    use super::*;

    const COSTS: Costs = Costs {
        system_call: 200,
        clock_read: 20,
        access: 100,
        io: 300,
        completion: 100,
        wake_up: 2000,
        warm_up: 1000,
        idle: 1000,
    };

    fn scenario(path: IoPath, depth: u32) -> Scenario {
        Scenario {
            profile: Profile::uniform("test", 16, 0, &Service::uniform(6000, 0)),
            costs: COSTS,
            software: Software::of(path).unwrap(),
            depth,
            batch: sweep::batch(depth),
            block_size: 4096,
            work: Work::Read,
            jobs: 1,
            seed: 1,
            ios: 10_000,
        }
    }

    fn close(got: f64, wanted: f64) -> bool {
        (got / wanted - 1.0).abs() < 0.01
    }

    /// Depth 1 can be added up by hand: everything happens one after another.
    #[test]
    fn polled_at_depth_one_is_the_sum_of_its_parts() {
        let outcome = simulate(&scenario(IoPath::AioPollAll, 1));
        // Two system calls, five clock reads, file and request, down and up. The second system call
        // happens while the device works; the poller's last turn ends within one after it.
        let own = 2 * 200 + 5 * 20 + 2 * 100 + 2 * 300;
        let device = (6000 - 200_u64).div_ceil(100) * 100;
        let period = outcome.elapsed as f64 / outcome.ios as f64;
        assert!(close(period, (own + device) as f64), "{period}");
    }

    #[test]
    fn interrupts_at_depth_one_cost_a_wake_up() {
        let outcome = simulate(&scenario(IoPath::Mainline, 1));
        let idle = 6000 - 200;
        let (wake_up, warm_up) = COSTS.after_idle(idle);
        // The copied iocb, the pinned page, file and request; one interrupt.
        let own = 2 * 200 + 5 * 20 + (1 + 2 + 2) * 100 + 2 * 300 + 100;
        let period = outcome.elapsed as f64 / outcome.ios as f64;
        let wanted = (own + 6000 - 200 + wake_up + warm_up) as f64;
        // The second system call happens while the device works.
        assert!(close(period, wanted), "{period} {wanted}");
    }

    #[test]
    fn deep_queues_are_bound_by_the_processor_and_all_of_its_time_is_told() {
        let outcome = simulate(&scenario(IoPath::AioPollAll, 64));
        let Spent {
            submission,
            completion,
            waiting,
        } = outcome.spent;
        assert_eq!(waiting, 0);
        let told = submission + completion + waiting;
        assert!(close(told as f64, outcome.elapsed as f64), "{told}");
        // Down and up, clock reads, and the batch's own share: two system calls, two clock reads, file
        // and four allocations, one look.
        let share = 2.0 * 200.0 + 2.0 * 20.0 + 500.0 + 100.0;
        let own = 2.0 * 300.0 + 3.0 * 20.0 + share / 32.0;
        assert!(close(1e9 / outcome.iops, own), "{}", outcome.iops);
    }

    /// The more of the series, the faster, and a slow device is as fast as it is.
    #[test]
    fn paths_stand_in_the_order_of_what_they_save() {
        for depth in [1, 4, 64] {
            let iops = |path| simulate(&scenario(path, depth)).iops;
            let [mainline, poll, all] = IoPath::SEED.map(iops);
            // Whoever submits sooner may meet interrupts in a worse moment.
            assert!(
                mainline < 1.02 * poll && poll < all,
                "{mainline} {poll} {all}"
            );
        }
        let slow = Scenario {
            profile: Profile::uniform("slow", 2, 0, &Service::uniform(100_000, 0)),
            ..scenario(IoPath::AioPollAll, 16)
        };
        assert!(close(simulate(&slow).iops, 20_000.0));
    }

    #[test]
    fn jobs_share_the_device() {
        let of = |jobs| {
            simulate(&Scenario {
                jobs,
                profile: Profile::uniform("wide", 64, 0, &Service::uniform(6000, 0)),
                ..scenario(IoPath::AioPollAll, 16)
            })
        };
        let (one, two, eight) = (of(1), of(2), of(8));
        assert!(close(two.iops, 2.0 * one.iops), "{} {}", two.iops, one.iops);
        // 64 units of 6 us.
        assert!(close(eight.iops, 64.0 / 6e-6), "{}", eight.iops);
        assert_eq!(eight.ios, 8 * of(1).ios);
    }

    /// At depth 1 one part comes after another, and each can be told by hand.
    #[test]
    fn lives_at_depth_one_are_the_sum_of_known_parts() {
        let outcome = simulate(&scenario(IoPath::AioPollAll, 1));
        let each = |time: Nanos| time / outcome.ios;
        let Lives {
            total,
            submission,
            overlap,
            device,
            completion,
            taking,
        } = outcome.lives;
        // System call, file and request, down, and a look at the clock when it has returned.
        assert_eq!(each(submission), 200 + 200 + 300 + 20);
        // The device has had it since before that look.
        assert_eq!((each(overlap), each(device)), (20, 6000));
        assert!(each(completion) <= COSTS.completion, "{completion}");
        // Up, and a look at the clock.
        assert_eq!(each(taking), 300 + 20);
        // Until fio begins with the next it looks at the clock three times.
        assert_eq!(each(total) + 3 * 20, each(outcome.elapsed));
    }

    #[test]
    fn lives_add_up_whatever_the_path_and_the_depth() {
        for path in IoPath::SEED {
            for depth in [1, 2, 4, 5, 32, 128] {
                let jittery = Scenario {
                    profile: Profile::uniform("any", 8, 300, &Service::log_normal(5000, 0.5)),
                    ..scenario(path, depth)
                };
                let outcome = simulate(&jittery);
                let lives = outcome.lives;
                let parts = lives.submission + lives.device + lives.completion + lives.taking;
                assert_eq!(parts, lives.total + lives.overlap, "{path} {depth}");
                // Little's law: the queue holds so many on average, and never more than its depth.
                let mean = lives.total as f64 / outcome.ios as f64;
                let full = f64::from(depth) * 1e9 / outcome.iops;
                assert!(
                    mean <= full * 1.001 && mean > full * 0.8,
                    "{path} {depth}: {mean} {full}"
                );
            }
        }
    }

    #[test]
    fn simulate_twice_is_the_same() {
        let jittery = Scenario {
            profile: Profile::uniform("any", 4, 300, &Service::log_normal(5000, 0.5)),
            jobs: 3,
            ..scenario(IoPath::Mainline, 8)
        };
        let (first, second) = (simulate(&jittery), simulate(&jittery));
        assert_eq!(first.elapsed, second.elapsed);
        assert_eq!(first.spent, second.spent);
        assert_eq!(first.latency, second.latency);
        assert_eq!(first.lives, second.lives);
    }
}

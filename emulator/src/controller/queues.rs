// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The queue table: ring indices, what is free, who completes where (NVMe Base 2.0c, 3.3.3).

use std::sync::Arc;

use super::doorbells::{DoorbellMemory, cq_slot, sq_slot};
use crate::dma::{
    CompletionRing, DoorbellPage, GuestRam, OutOfRange, ShadowDoorbells, SubmissionRing,
};
use crate::spec::{CompletionQueueEntry, Status, SubmissionQueueEntry};

/// A doorbell value that is not possible on its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDoorbellValue;

/// Looks at a tail that stands still after which its event index may follow.
const SETTLED: u32 = 64;

/// A submission queue: the device's end of it.
pub struct SubmissionQueue {
    ring: SubmissionRing,
    size: u32,
    head: u32,
    tail: u32,
    cqid: u16,
    creation: u32,
    sequence: u64,
    /// Tail on which the published event index rests.
    pub(crate) announced: u32,
    /// Looks in a row at which the tail had not moved.
    still: u32,
    /// The last impossible value in memory: an error is reported once, not at each poll.
    pub(crate) rejected: Option<u32>,
}

impl SubmissionQueue {
    /// Commands that wait to be fetched.
    pub fn pending(&self) -> u32 {
        distance(self.head, self.tail, self.size)
    }

    /// Copies the next command out and moves the head. The caller has checked that one is pending.
    pub fn fetch(&mut self) -> SubmissionQueueEntry {
        let sqe = self.ring.fetch(self.head);
        self.head = next(self.head, self.size);
        self.sequence += 1;
        sqe
    }

    /// Takes a new tail from a doorbell.
    ///
    /// # Errors
    /// When it is not an index of this queue; the tail then stays.
    pub fn set_tail(&mut self, tail: u32) -> Result<(), InvalidDoorbellValue> {
        if tail >= self.size {
            return Err(InvalidDoorbellValue);
        }
        self.tail = tail;
        self.still = 0;
        Ok(())
    }

    /// Counts a look at a tail that has not moved. True when it has stood still for so long that the
    /// host has certainly looked at the event index since: a few microseconds.
    pub(crate) fn settles(&mut self) -> bool {
        self.still += 1;
        self.still >= SETTLED
    }

    /// Where a pending command with identifier `cid` stands, if there is one.
    pub fn find(&self, cid: u16) -> Option<u32> {
        let mut index = self.head;
        while index != self.tail {
            if self.ring.fetch(index).cid == cid {
                return Some(index);
            }
            index = next(index, self.size);
        }
        None
    }

    /// Entries of the queue.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Index of the next command to fetch.
    pub fn head(&self) -> u32 {
        self.head
    }

    /// The last tail that the host gave.
    pub fn tail(&self) -> u32 {
        self.tail
    }

    /// The completion queue of its commands.
    pub fn cqid(&self) -> u16 {
        self.cqid
    }

    /// How often a queue with this identifier was created before.
    pub fn creation(&self) -> u32 {
        self.creation
    }

    /// Commands fetched since creation.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// A completion queue: the device's end of it.
pub struct CompletionQueue {
    ring: CompletionRing,
    size: u32,
    head: u32,
    tail: u32,
    phase: bool,
    reserved: u32,
    attached: u32,
    vector: u16,
    interrupts: bool,
    /// Completions posted since the interrupt code last looked.
    pub(crate) unsignalled: u32,
    /// Head on which the published event index rests.
    pub(crate) announced: u32,
    /// The last impossible value in memory.
    pub(crate) rejected: Option<u32>,
}

impl CompletionQueue {
    /// Slots that are neither filled nor promised to a command. One slot always stays empty.
    pub fn free(&self) -> u32 {
        (self.size - 1).saturating_sub(self.used() + self.reserved)
    }

    /// Entries posted that the host has not yet taken, as far as is known.
    pub fn used(&self) -> u32 {
        distance(self.head, self.tail, self.size)
    }

    /// Promises a slot to a command that is about to be executed. There must be a free one.
    pub fn reserve(&mut self) {
        debug_assert!(self.free() > 0);
        self.reserved += 1;
    }

    /// Gives a promised slot back unused.
    pub fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Fills a promised slot.
    #[inline]
    pub fn post(&mut self, entry: CompletionQueueEntry, status: Status) {
        self.post_with_phase(entry, status, self.phase);
    }

    /// Fills a promised slot with an entry that looks like an old one.
    pub fn post_stale(&mut self, entry: CompletionQueueEntry, status: Status) {
        self.post_with_phase(entry, status, !self.phase);
    }

    #[inline]
    fn post_with_phase(&mut self, mut entry: CompletionQueueEntry, status: Status, phase: bool) {
        self.release();
        let phase = u16::from(phase);
        entry.status_and_phase.set(status.0 << 1 | phase);
        self.ring.post(self.tail, entry);
        self.tail = next(self.tail, self.size);
        if self.tail == 0 {
            self.phase = !self.phase;
        }
    }

    /// Takes a new head from a doorbell.
    ///
    /// # Errors
    /// When it lies outside the queue or beyond what was posted; the head then stays.
    pub fn set_head(&mut self, head: u32) -> Result<(), InvalidDoorbellValue> {
        if head >= self.size || distance(self.head, head, self.size) > self.used() {
            return Err(InvalidDoorbellValue);
        }
        self.head = head;
        Ok(())
    }

    /// Entries of the queue.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The last head that the host gave.
    pub fn head(&self) -> u32 {
        self.head
    }

    /// Interrupt vector; meaningful when interrupts are enabled.
    pub fn vector(&self) -> u16 {
        self.vector
    }

    /// Whether interrupts are enabled (IEN): a queue without is polled.
    pub fn interrupts(&self) -> bool {
        self.interrupts
    }
}

/// What a Create I/O Completion Queue command asks for, checked.
#[derive(Clone, Copy, Debug)]
pub struct CompletionQueueRequest {
    /// Identifier.
    pub qid: u16,
    /// Guest address.
    pub base: u64,
    /// Entries.
    pub entries: u32,
    /// Interrupt vector.
    pub vector: u16,
    /// Interrupts Enabled.
    pub interrupts: bool,
}

/// What a Create I/O Submission Queue command asks for, checked.
#[derive(Clone, Copy, Debug)]
pub struct SubmissionQueueRequest {
    /// Identifier.
    pub qid: u16,
    /// Guest address.
    pub base: u64,
    /// Entries.
    pub entries: u32,
    /// Completion queue of its commands.
    pub cqid: u16,
}

/// All queues, the admin pair (identifier 0) included.
pub struct QueueTable {
    submission: Vec<Option<SubmissionQueue>>,
    completion: Vec<Option<CompletionQueue>>,
    /// Identifiers of the I/O submission queues that exist, in order.
    active: Vec<u16>,
    creations: Vec<u32>,
    doorbells: Option<DoorbellMemory>,
    /// Slots of doorbells whose queues another table has for the time being.
    elsewhere: Vec<bool>,
}

impl QueueTable {
    /// An empty table for identifiers 0 to `queue_pairs`, whose doorbells are in `page`, if there is
    /// one.
    pub fn new(queue_pairs: u16, page: Option<Arc<DoorbellPage>>) -> Self {
        let slots = usize::from(queue_pairs) + 1;
        Self {
            submission: (0..slots).map(|_| None).collect(),
            completion: (0..slots).map(|_| None).collect(),
            active: Vec::with_capacity(slots),
            creations: vec![0; slots],
            doorbells: page.map(DoorbellMemory::Page),
            elsewhere: vec![false; 2 * slots],
        }
    }

    /// An empty table to lend queues to: no slot is its own.
    pub fn another(&self) -> Self {
        let slots = self.identifiers();
        Self {
            submission: (0..slots).map(|_| None).collect(),
            completion: (0..slots).map(|_| None).collect(),
            active: Vec::with_capacity(slots),
            creations: vec![0; slots],
            doorbells: None,
            elsewhere: vec![true; 2 * slots],
        }
    }

    /// Whether there is an I/O completion queue that `wanted` picks.
    pub fn has_cq(&self, wanted: impl Fn(u16) -> bool) -> bool {
        let mut queues = (0u16..).zip(&self.completion).skip(1);
        queues.any(|(cqid, cq)| cq.is_some() && wanted(cqid))
    }

    /// Lends the I/O completion queues that `wanted` picks to `other`, with the submission queues
    /// that complete to them.
    pub fn lend(&mut self, other: &mut Self, wanted: impl Fn(u16) -> bool) {
        other.doorbells.clone_from(&self.doorbells);
        let queues = (0u16..).zip(self.submission.iter_mut().zip(&mut other.submission));
        for (qid, (mine, theirs)) in queues.skip(1) {
            if mine.as_ref().is_some_and(|sq| wanted(sq.cqid)) {
                *theirs = mine.take();
                other.active.push(qid);
                self.active.retain(|active| *active != qid);
                self.elsewhere[sq_slot(qid) as usize] = true;
            }
        }
        let queues = (0u16..).zip(self.completion.iter_mut().zip(&mut other.completion));
        for (qid, (mine, theirs)) in queues.skip(1) {
            if wanted(qid) && mine.is_some() {
                *theirs = mine.take();
                self.elsewhere[cq_slot(qid) as usize] = true;
            }
        }
    }

    /// Takes back everything that was lent to `other`.
    pub fn take_back(&mut self, other: &mut Self) {
        other.doorbells = None;
        let queues = (0u16..).zip(self.submission.iter_mut().zip(&mut other.submission));
        for (qid, (mine, theirs)) in queues {
            if theirs.is_some() {
                *mine = theirs.take();
                self.active.push(qid);
                self.elsewhere[sq_slot(qid) as usize] = false;
            }
        }
        self.active.sort_unstable();
        other.active.clear();
        let queues = (0u16..).zip(self.completion.iter_mut().zip(&mut other.completion));
        for (qid, (mine, theirs)) in queues {
            if theirs.is_some() {
                *mine = theirs.take();
                self.elsewhere[cq_slot(qid) as usize] = false;
            }
        }
    }

    /// Drops every queue and the shadow doorbells, and clears the page of doorbells. Creation counts
    /// go on.
    pub fn clear(&mut self) {
        self.submission.iter_mut().for_each(|slot| *slot = None);
        self.completion.iter_mut().for_each(|slot| *slot = None);
        self.active.clear();
        match &self.doorbells {
            Some(DoorbellMemory::Page(page)) => page.clear(),
            _ => self.doorbells = None,
        }
    }

    /// Starts all creation counts anew: another guest, the same draws.
    pub fn forget_creations(&mut self) {
        self.creations.fill(0);
    }

    /// Identifiers of the I/O submission queues that exist.
    pub fn active(&self) -> &[u16] {
        &self.active
    }

    /// Number of queue identifiers, the admin queue included.
    pub fn identifiers(&self) -> usize {
        self.submission.len()
    }

    /// Whether any I/O queue exists.
    pub fn has_io_queues(&self) -> bool {
        self.completion.iter().skip(1).any(Option::is_some)
    }

    /// A submission queue.
    pub fn sq(&self, qid: u16) -> Option<&SubmissionQueue> {
        self.submission.get(usize::from(qid))?.as_ref()
    }

    /// A submission queue.
    pub fn sq_mut(&mut self, qid: u16) -> Option<&mut SubmissionQueue> {
        self.submission.get_mut(usize::from(qid))?.as_mut()
    }

    /// A completion queue.
    pub fn cq(&self, qid: u16) -> Option<&CompletionQueue> {
        self.completion.get(usize::from(qid))?.as_ref()
    }

    /// A completion queue.
    pub fn cq_mut(&mut self, qid: u16) -> Option<&mut CompletionQueue> {
        self.completion.get_mut(usize::from(qid))?.as_mut()
    }

    /// A submission queue and the completion queue of its commands.
    pub fn pair_mut(&mut self, qid: u16) -> Option<(&mut SubmissionQueue, &mut CompletionQueue)> {
        let sq = self.submission.get_mut(usize::from(qid))?.as_mut()?;
        let cq = self.completion.get_mut(usize::from(sq.cqid))?.as_mut()?;
        Some((sq, cq))
    }

    /// The doorbells in memory: always with a page, else once the host has set them up.
    pub fn doorbells(&self) -> Option<&DoorbellMemory> {
        self.doorbells.as_ref()
    }

    /// The page of doorbells, if they are in one.
    pub fn page(&self) -> Option<&Arc<DoorbellPage>> {
        match &self.doorbells {
            Some(DoorbellMemory::Page(page)) => Some(page),
            _ => None,
        }
    }

    /// Takes back what the host wrote to the slot of a queue that does not exist. Returns whether
    /// there was anything.
    pub fn take_stray(&self, slot: u32) -> bool {
        let Some(page) = self.page() else {
            return false;
        };
        if self.elsewhere.get(slot as usize) == Some(&true) {
            return false;
        }
        let stray = page.doorbell(slot) != 0;
        if stray {
            page.set_doorbell(slot, 0);
        }
        stray
    }

    /// The doorbells in memory, and the two queues of a submission queue.
    pub fn doorbells_and_pair_mut(
        &mut self,
        qid: u16,
    ) -> Option<(
        Option<&DoorbellMemory>,
        &mut SubmissionQueue,
        &mut CompletionQueue,
    )> {
        let sq = self.submission.get_mut(usize::from(qid))?.as_mut()?;
        let cq = self.completion.get_mut(usize::from(sq.cqid))?.as_mut()?;
        Some((self.doorbells.as_ref(), sq, cq))
    }

    /// The doorbells in memory, and a completion queue.
    pub fn doorbells_and_cq_mut(
        &mut self,
        qid: u16,
    ) -> Option<(Option<&DoorbellMemory>, &mut CompletionQueue)> {
        let cq = self.completion.get_mut(usize::from(qid))?.as_mut()?;
        Some((self.doorbells.as_ref(), cq))
    }

    /// Takes the host's shadow doorbells. What trapped doorbells have said so far is written into
    /// them, so that one place holds the truth from now on.
    pub fn set_shadow(&mut self, shadow: ShadowDoorbells) {
        let shadow = DoorbellMemory::Shadow(Arc::new(shadow));
        for (qid, sq) in (0u16..).zip(&mut self.submission) {
            if let Some(sq) = sq {
                shadow.set_doorbell(sq_slot(qid), sq.tail);
                shadow.announce(sq_slot(qid), sq.tail, true);
                sq.announced = sq.tail;
            }
        }
        for (qid, cq) in (0u16..).zip(&mut self.completion) {
            if let Some(cq) = cq {
                shadow.set_doorbell(cq_slot(qid), cq.head);
                shadow.announce(cq_slot(qid), cq.head, true);
                cq.announced = cq.head;
            }
        }
        self.doorbells = Some(shadow);
    }

    /// Makes a completion queue. The caller has checked identifier and size.
    ///
    /// # Errors
    /// [`OutOfRange`] when its memory is not guest RAM.
    pub fn create_cq(
        &mut self,
        ram: &GuestRam,
        request: &CompletionQueueRequest,
    ) -> Result<(), OutOfRange> {
        let ring = CompletionRing::new(ram, request.base, request.entries)?;
        let Some(slot) = self.completion.get_mut(usize::from(request.qid)) else {
            return Ok(());
        };
        *slot = Some(CompletionQueue {
            ring,
            size: request.entries,
            head: 0,
            tail: 0,
            phase: true,
            reserved: 0,
            attached: 0,
            vector: request.vector,
            interrupts: request.interrupts,
            unsignalled: 0,
            announced: 0,
            rejected: None,
        });
        if let Some(doorbells) = &self.doorbells {
            doorbells.begin(cq_slot(request.qid));
        }
        Ok(())
    }

    /// Makes a submission queue. The caller has checked identifier, size and completion queue.
    ///
    /// # Errors
    /// [`OutOfRange`] when its memory is not guest RAM.
    pub fn create_sq(
        &mut self,
        ram: &GuestRam,
        request: &SubmissionQueueRequest,
    ) -> Result<(), OutOfRange> {
        let ring = SubmissionRing::new(ram, request.base, request.entries)?;
        let index = usize::from(request.qid);
        let (Some(slot), Some(creations)) = (
            self.submission.get_mut(index),
            self.creations.get_mut(index),
        ) else {
            return Ok(());
        };
        *slot = Some(SubmissionQueue {
            ring,
            size: request.entries,
            head: 0,
            tail: 0,
            cqid: request.cqid,
            creation: *creations,
            sequence: 0,
            announced: 0,
            still: 0,
            rejected: None,
        });
        *creations = creations.wrapping_add(1);
        if let Some(cq) = self.cq_mut(request.cqid) {
            cq.attached += 1;
        }
        if request.qid != 0 {
            self.active.push(request.qid);
            self.active.sort_unstable();
        }
        if let Some(doorbells) = &self.doorbells {
            doorbells.begin(sq_slot(request.qid));
        }
        Ok(())
    }

    /// Removes a submission queue whose commands have all completed.
    pub fn remove_sq(&mut self, qid: u16) {
        let Some(slot) = self.submission.get_mut(usize::from(qid)) else {
            return;
        };
        if let Some(sq) = slot.take()
            && let Some(cq) = self.cq_mut(sq.cqid)
        {
            cq.attached = cq.attached.saturating_sub(1);
        }
        self.active.retain(|active| *active != qid);
        self.take_stray(sq_slot(qid));
    }

    /// Removes a completion queue.
    ///
    /// # Errors
    /// Invalid Queue Identifier when there is none, Invalid Queue Deletion while submission queues
    /// complete to it.
    pub fn remove_cq(&mut self, qid: u16) -> Result<(), Status> {
        let slot = self.completion.get_mut(usize::from(qid));
        let slot = slot.ok_or(Status::INVALID_QUEUE_IDENTIFIER)?;
        match slot {
            None => Err(Status::INVALID_QUEUE_IDENTIFIER),
            Some(cq) if cq.attached > 0 => Err(Status::INVALID_QUEUE_DELETION),
            Some(_) => {
                *slot = None;
                self.take_stray(cq_slot(qid));
                Ok(())
            }
        }
    }

    /// Completion queue entries of all queues: no more commands than that can be under way.
    pub fn completion_slots(&self) -> usize {
        let queues = self.completion.iter().flatten();
        queues.map(|cq| cq.size as usize).sum()
    }
}

fn next(index: u32, size: u32) -> u32 {
    if index + 1 == size { 0 } else { index + 1 }
}

/// How far `to` is ahead of `from` in a ring.
fn distance(from: u32, to: u32, size: u32) -> u32 {
    if to >= from {
        to - from
    } else {
        to + size - from
    }
}

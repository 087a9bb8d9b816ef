// SPDX-License-Identifier: Apache-2.0 OR MIT
//! I/O commands of the NVM command set (NVM Command Set 1.0c, 3.2). Data moves when a command is
//! executed; when its completion is posted is the engine's business.

mod damage;

use vm_memory::{Bytes, VolatileSlice};

use super::namespace::{Namespace, media_status};
use crate::dma::{GuestRam, SegmentList};
use crate::media::MediaError;
use crate::spec::{
    DatasetRange, FUSE_NORMAL, NSID_BROADCAST, NvmOpcode, PSDT_PRP, Status, SubmissionQueueEntry,
};
use zerocopy::{FromZeros, IntoBytes};

/// Compare and Verify go through the medium in pieces of this many bytes.
const PIECE: usize = 64 << 10;

/// Dataset Management: the Deallocate attribute (AD, dword 11 bit 2).
const DSM_DEALLOCATE: u32 = 1 << 2;

/// Write Zeroes: Deallocate (DEAC, dword 12 bit 25).
const WRITE_ZEROES_DEALLOCATE: u32 = 1 << 25;

/// What a command cost the medium, for the timing model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoClass {
    /// Data came from the medium.
    Read,
    /// Data went to the medium.
    Write,
    /// Anything else.
    Other,
}

/// What must be flushed before a command may complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushScope {
    /// Nothing.
    Nothing,
    /// One namespace.
    Namespace(u32),
    /// All namespaces.
    All,
}

/// How an I/O command ended.
#[derive(Clone, Copy, Debug)]
pub struct IoOutcome {
    /// Its status, unless the flush that it asks for fails.
    pub status: Status,
    /// What it cost.
    pub class: IoClass,
    /// Data that it moved, in bytes.
    pub bytes: u32,
    /// What must be stable first.
    pub flush: FlushScope,
}

impl IoOutcome {
    const fn done(class: IoClass, bytes: u32) -> Self {
        Self {
            status: Status::SUCCESS,
            class,
            bytes,
            flush: FlushScope::Nothing,
        }
    }

    pub(super) const fn failed(status: Status) -> Self {
        Self {
            status,
            class: IoClass::Other,
            bytes: 0,
            flush: FlushScope::Nothing,
        }
    }
}

/// What an I/O command is executed against.
#[derive(Clone, Copy)]
pub struct IoContext<'a> {
    /// Guest memory.
    pub ram: &'a GuestRam,
    /// Memory page size in bytes.
    pub page_size: usize,
    /// Largest transfer in bytes.
    pub max_transfer: u32,
    /// The volatile write cache is off: what is written must be stable at completion.
    pub write_through: bool,
}

/// The namespaces, and the buffers that commands on them reuse.
pub struct IoUnit {
    namespaces: Vec<Namespace>,
    segments: SegmentList,
    piece: Vec<u8>,
    other_piece: Vec<u8>,
}

impl IoUnit {
    /// NSID 1 is the first of `namespaces`.
    pub fn new(namespaces: Vec<Namespace>, max_transfer: u32) -> Self {
        Self {
            namespaces,
            segments: SegmentList::with_capacity(max_transfer as usize),
            piece: vec![0; PIECE],
            other_piece: vec![0; PIECE],
        }
    }

    /// The same namespaces with buffers of their own, for another thread; `None` when a medium is
    /// for one thread only.
    pub fn another(&self, max_transfer: u32) -> Option<Self> {
        let namespaces = self.namespaces.iter().map(Namespace::another);
        Some(Self::new(namespaces.collect::<Option<_>>()?, max_transfer))
    }

    /// All namespaces; the first has NSID 1.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// All namespaces; the first has NSID 1.
    pub fn namespaces_mut(&mut self) -> &mut [Namespace] {
        &mut self.namespaces
    }

    /// The namespace `nsid`.
    pub fn namespace(&self, nsid: u32) -> Option<&Namespace> {
        self.namespaces.get(index_of(nsid)?)
    }

    /// The namespace `nsid`.
    pub fn namespace_mut(&mut self, nsid: u32) -> Option<&mut Namespace> {
        self.namespaces.get_mut(index_of(nsid)?)
    }

    /// Executes an I/O command.
    pub fn execute(&mut self, cx: &IoContext<'_>, sqe: &SubmissionQueueEntry) -> IoOutcome {
        if sqe.flags != 0
            && let Err(status) = check_flags(sqe)
        {
            return IoOutcome::failed(status);
        }
        let result = match NvmOpcode(sqe.opcode) {
            NvmOpcode::READ => self.read(cx, sqe),
            NvmOpcode::WRITE => self.write(cx, sqe),
            NvmOpcode::FLUSH => self.flush(sqe),
            NvmOpcode::COMPARE => return self.compare(cx, sqe),
            NvmOpcode::VERIFY => self.verify(cx, sqe),
            NvmOpcode::WRITE_ZEROES => self.write_zeroes(cx, sqe),
            NvmOpcode::DATASET_MANAGEMENT => self.dataset_management(cx, sqe),
            _ => Err(Status::INVALID_OPCODE),
        };
        result.unwrap_or_else(IoOutcome::failed)
    }

    /// `sqe` will be executed next: fetches what a read of it will copy. Only a hint, so nothing is
    /// judged here.
    #[inline]
    pub fn prefetch(&self, sqe: &SubmissionQueueEntry) {
        if NvmOpcode(sqe.opcode) != NvmOpcode::READ {
            return;
        }
        if let Some(namespace) = self.namespace(sqe.nsid.get()) {
            let shift = namespace.block_size().shift();
            let offset = sqe.slba().wrapping_shl(u32::from(shift));
            let length = sqe.block_count() << shift;
            namespace.media.prefetch(offset, length as usize);
        }
    }

    fn read(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
    ) -> Result<IoOutcome, Status> {
        let (namespace, segments) = self.parts(sqe.nsid.get())?;
        let (offset, length) = transfer_range(namespace, cx, sqe)?;
        if let Some(slice) = single_page(cx, sqe, length) {
            let read = namespace.media.read(offset, &slice);
            read.map_err(|error| media_status(&error))?;
        } else {
            segments.resolve_prp(
                cx.ram,
                sqe.prp1.get(),
                sqe.prp2.get(),
                length as usize,
                cx.page_size,
            )?;
            for (at, slice) in segments.slices(cx.ram) {
                let read = namespace.media.read(offset + at as u64, &slice);
                read.map_err(|error| media_status(&error))?;
            }
        }
        let mut outcome = IoOutcome::done(IoClass::Read, length);
        if sqe.fua() {
            outcome.flush = FlushScope::Namespace(sqe.nsid.get());
        }
        Ok(outcome)
    }

    fn write(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
    ) -> Result<IoOutcome, Status> {
        let (namespace, segments) = self.parts(sqe.nsid.get())?;
        let (offset, length) = transfer_range(namespace, cx, sqe)?;
        if let Some(slice) = single_page(cx, sqe, length) {
            let written = namespace.media.write(offset, &slice);
            written.map_err(|error| media_status(&error))?;
        } else {
            segments.resolve_prp(
                cx.ram,
                sqe.prp1.get(),
                sqe.prp2.get(),
                length as usize,
                cx.page_size,
            )?;
            for (at, slice) in segments.slices(cx.ram) {
                let written = namespace.media.write(offset + at as u64, &slice);
                written.map_err(|error| media_status(&error))?;
            }
        }
        let mut outcome = IoOutcome::done(IoClass::Write, length);
        outcome.flush = after_write(cx, sqe, sqe.fua());
        Ok(outcome)
    }

    fn flush(&self, sqe: &SubmissionQueueEntry) -> Result<IoOutcome, Status> {
        let nsid = sqe.nsid.get();
        let mut outcome = IoOutcome::done(IoClass::Other, 0);
        outcome.flush = if nsid == NSID_BROADCAST {
            FlushScope::All
        } else {
            self.namespace(nsid).ok_or(Status::INVALID_NAMESPACE)?;
            FlushScope::Namespace(nsid)
        };
        Ok(outcome)
    }

    /// Compare: a difference is a status, not a failure to execute.
    fn compare(&mut self, cx: &IoContext<'_>, sqe: &SubmissionQueueEntry) -> IoOutcome {
        match self.is_equal(cx, sqe) {
            Err(status) => IoOutcome::failed(status),
            Ok((equal, length)) => {
                let mut outcome = IoOutcome::done(IoClass::Read, length);
                if !equal {
                    outcome.status = Status::COMPARE_FAILURE;
                }
                outcome
            }
        }
    }

    fn is_equal(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
    ) -> Result<(bool, u32), Status> {
        let index = index_of(sqe.nsid.get()).ok_or(Status::INVALID_NAMESPACE)?;
        let namespace = self.namespaces.get_mut(index);
        let namespace = namespace.ok_or(Status::INVALID_NAMESPACE)?;
        let (offset, length) = transfer_range(namespace, cx, sqe)?;
        self.segments.resolve_prp(
            cx.ram,
            sqe.prp1.get(),
            sqe.prp2.get(),
            length as usize,
            cx.page_size,
        )?;
        for (at, slice) in self.segments.slices(cx.ram) {
            let mut done = 0;
            while done < slice.len() {
                let size = PIECE.min(slice.len() - done);
                let (stored, given) = (&mut self.piece[..size], &mut self.other_piece[..size]);
                read_to_host(namespace, offset + (at + done) as u64, stored)?;
                let copied = slice.read_slice(given, done);
                copied.map_err(|_| Status::DATA_TRANSFER_ERROR)?;
                if stored != given {
                    return Ok((false, length));
                }
                done += size;
            }
        }
        Ok((true, length))
    }

    /// Verify: reads without transferring. VSL limits it as MDTS limits a read.
    fn verify(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
    ) -> Result<IoOutcome, Status> {
        let index = index_of(sqe.nsid.get()).ok_or(Status::INVALID_NAMESPACE)?;
        let namespace = self.namespaces.get_mut(index);
        let namespace = namespace.ok_or(Status::INVALID_NAMESPACE)?;
        let (offset, length) = transfer_range(namespace, cx, sqe)?;
        let mut done = 0;
        while done < length as usize {
            let size = PIECE.min(length as usize - done);
            read_to_host(namespace, offset + done as u64, &mut self.piece[..size])?;
            done += size;
        }
        Ok(IoOutcome::done(IoClass::Read, length))
    }

    fn write_zeroes(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
    ) -> Result<IoOutcome, Status> {
        let (namespace, _) = self.parts(sqe.nsid.get())?;
        let (offset, length) = namespace.range(sqe.slba(), sqe.block_count().into())?;
        let deallocate = sqe.cdw12.get() & WRITE_ZEROES_DEALLOCATE != 0;
        let zeroed = namespace.media.write_zeroes(offset, length, deallocate);
        zeroed.map_err(|error| media_status(&error))?;
        let mut outcome = IoOutcome::done(IoClass::Other, 0);
        outcome.flush = after_write(cx, sqe, sqe.fua());
        Ok(outcome)
    }

    /// Dataset Management. Every range is checked before the first is acted upon; all attributes
    /// but Deallocate are hints. Ranges that repeat blocks, so that they add up to more than the
    /// namespace, are refused: one command never costs more than the whole namespace does once.
    fn dataset_management(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
    ) -> Result<IoOutcome, Status> {
        let mut ranges = [DatasetRange::new_zeroed(); 256];
        let count = sqe.cdw10.get().to_le_bytes()[0];
        let ranges = &mut ranges[..=usize::from(count)];
        let (namespace, segments) = self.parts(sqe.nsid.get())?;
        segments.resolve_prp(
            cx.ram,
            sqe.prp1.get(),
            sqe.prp2.get(),
            size_of_val(ranges),
            cx.page_size,
        )?;
        segments.read_from_guest(cx.ram, ranges.as_mut_bytes());
        let mut total = 0;
        for range in ranges.iter() {
            namespace.range(range.slba.get(), range.blocks.get().into())?;
            total += u64::from(range.blocks.get());
        }
        if total > namespace.blocks() {
            return Err(Status::INVALID_FIELD);
        }
        let mut outcome = IoOutcome::done(IoClass::Other, 0);
        if sqe.cdw11.get() & DSM_DEALLOCATE == 0 {
            return Ok(outcome);
        }
        for range in ranges.iter() {
            let (offset, length) = namespace.range(range.slba.get(), range.blocks.get().into())?;
            if length > 0 {
                let zeroed = namespace.media.write_zeroes(offset, length, true);
                zeroed.map_err(|error| media_status(&error))?;
            }
        }
        outcome.flush = after_write(cx, sqe, false);
        Ok(outcome)
    }

    fn parts(&mut self, nsid: u32) -> Result<(&mut Namespace, &mut SegmentList), Status> {
        let index = index_of(nsid).ok_or(Status::INVALID_NAMESPACE)?;
        match self.namespaces.get_mut(index) {
            Some(namespace) => Ok((namespace, &mut self.segments)),
            None => Err(Status::INVALID_NAMESPACE),
        }
    }
}

/// Position of a namespace in the list. NSID 0 is never valid, the broadcast NSID is beyond any.
fn index_of(nsid: u32) -> Option<usize> {
    usize::try_from(nsid.checked_sub(1)?).ok()
}

/// FUSE and PSDT. Fused operations are not offered, so a half never has its other half; SGLs are
/// not offered either.
pub fn check_flags(sqe: &SubmissionQueueEntry) -> Result<(), Status> {
    match sqe.fuse() {
        FUSE_NORMAL => {}
        0b01 | 0b10 => return Err(Status::ABORTED_MISSING_FUSED),
        _ => return Err(Status::INVALID_FIELD),
    }
    if sqe.psdt() == PSDT_PRP {
        Ok(())
    } else {
        Err(Status::INVALID_FIELD)
    }
}

/// Offset and length in bytes of a command that transfers logical blocks, within MDTS.
#[inline]
fn transfer_range(
    namespace: &Namespace,
    cx: &IoContext<'_>,
    sqe: &SubmissionQueueEntry,
) -> Result<(u64, u32), Status> {
    let blocks = sqe.block_count();
    let (offset, length) = namespace.range(sqe.slba(), blocks.into())?;
    match u32::try_from(length) {
        Ok(length) if length <= cx.max_transfer => Ok((offset, length)),
        _ => Err(Status::INVALID_FIELD),
    }
}

/// The fast path: the whole transfer lies in the page of a well-formed PRP1. Anything else, errors
/// included, is for the walk.
#[inline]
fn single_page<'a>(
    cx: &IoContext<'a>,
    sqe: &SubmissionQueueEntry,
    length: u32,
) -> Option<VolatileSlice<'a>> {
    let prp1 = sqe.prp1.get();
    let offset = usize::try_from(prp1).ok()? & (cx.page_size - 1);
    if prp1 == 0 || prp1 & 3 != 0 || offset + length as usize > cx.page_size {
        return None;
    }
    cx.ram.slice(prp1, length as usize).ok()
}

fn after_write(cx: &IoContext<'_>, sqe: &SubmissionQueueEntry, fua: bool) -> FlushScope {
    if fua || cx.write_through {
        FlushScope::Namespace(sqe.nsid.get())
    } else {
        FlushScope::Nothing
    }
}

fn read_to_host(namespace: &mut Namespace, offset: u64, into: &mut [u8]) -> Result<(), Status> {
    let slice = VolatileSlice::from(into);
    let read: Result<(), MediaError> = namespace.media.read(offset, &slice);
    read.map_err(|error| media_status(&error))
}

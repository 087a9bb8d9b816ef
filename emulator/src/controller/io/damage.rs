// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads and writes whose data a fault rule damages. Everything else about them is as it should be:
//! what is refused, what it costs, what is flushed.

use vm_memory::{Bytes, VolatileSlice};

use super::{
    IoClass, IoContext, IoOutcome, IoUnit, after_write, check_flags, media_status, transfer_range,
};
use crate::fault::{Corruption, Damage};
use crate::spec::{Status, SubmissionQueueEntry};

impl IoUnit {
    /// Executes a Write (torn) or a Read (corrupt); without damage any command.
    pub fn execute_damaged(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
        damage: Damage,
    ) -> IoOutcome {
        let result = check_flags(sqe).and_then(|()| match damage {
            Damage::None => Ok(self.execute(cx, sqe)),
            Damage::Torn { blocks } => self.write_torn(cx, sqe, blocks),
            Damage::Corrupt(corruption) => self.read_corrupt(cx, sqe, corruption),
        });
        result.unwrap_or_else(IoOutcome::failed)
    }

    /// Only the first `blocks` logical blocks are written.
    fn write_torn(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
        blocks: u32,
    ) -> Result<IoOutcome, Status> {
        let (offset, length) = self.resolve(cx, sqe)?;
        let (namespace, segments) = self.parts(sqe.nsid.get())?;
        let mut left = (u64::from(blocks) << namespace.block_size().shift()).min(length.into());
        for (at, slice) in segments.slices(cx.ram) {
            let size = usize::try_from(left).map_or(slice.len(), |left| left.min(slice.len()));
            if size == 0 {
                break;
            }
            let kept = slice.subslice(0, size);
            let kept = kept.map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            let written = namespace.media.write(offset + at as u64, &kept);
            written.map_err(|error| media_status(&error))?;
            left -= size as u64;
        }
        let mut outcome = IoOutcome::done(IoClass::Write, length);
        outcome.flush = after_write(cx, sqe, sqe.fua());
        Ok(outcome)
    }

    /// The bytes are changed in the host's buffer, after they came from the medium.
    fn read_corrupt(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
        corruption: Corruption,
    ) -> Result<IoOutcome, Status> {
        let (offset, length) = self.resolve(cx, sqe)?;
        let (namespace, segments) = self.parts(sqe.nsid.get())?;
        let mut places = corruption.places(length).peekable();
        for (at, slice) in segments.slices(cx.ram) {
            let read = namespace.media.read(offset + at as u64, &slice);
            read.map_err(|error| media_status(&error))?;
            while let Some(&(place, mask)) = places.peek()
                && let inside = (place as usize).wrapping_sub(at)
                && inside < slice.len()
            {
                flip(&slice, inside, mask)?;
                places.next();
            }
        }
        let mut outcome = IoOutcome::done(IoClass::Read, length);
        if sqe.fua() {
            outcome.flush = super::FlushScope::Namespace(sqe.nsid.get());
        }
        Ok(outcome)
    }

    /// Checks the range, and walks the PRPs of all of it, once.
    fn resolve(
        &mut self,
        cx: &IoContext<'_>,
        sqe: &SubmissionQueueEntry,
    ) -> Result<(u64, u32), Status> {
        let (namespace, segments) = self.parts(sqe.nsid.get())?;
        let (offset, length) = transfer_range(namespace, cx, sqe)?;
        segments.resolve_prp(
            cx.ram,
            sqe.prp1.get(),
            sqe.prp2.get(),
            length as usize,
            cx.page_size,
        )?;
        Ok((offset, length))
    }
}

fn flip(slice: &VolatileSlice<'_>, at: usize, mask: u8) -> Result<(), Status> {
    let byte: u8 = slice
        .read_obj(at)
        .map_err(|_| Status::DATA_TRANSFER_ERROR)?;
    let flipped = slice.write_obj(byte ^ mask, at);
    flipped.map_err(|_| Status::DATA_TRANSFER_ERROR)
}

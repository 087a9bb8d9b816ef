// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The only room that touches guest memory: guest RAM, PRP walks, SQE fetch, CQE post, doorbells in
//! memory. What the host maps or reads for the media is here too, because it shares the reason
//! for `unsafe`: memory that somebody else may be writing.
//!
//! Guest data is hostile: an entry is copied out once and then judged, and no access leaves guest
//! RAM. Addresses are guest physical addresses in bytes.

mod doorbell_page;
mod host;
mod ram;
mod ring;
mod segments;
mod shadow;
mod slots;

#[cfg(test)]
mod tests;

pub use doorbell_page::DoorbellPage;
pub use host::{AnonymousMemory, fill_zero, prefetch, read_at, write_at};
pub use ram::{GuestRam, OutOfRange};
pub use ring::{CompletionRing, SubmissionRing};
pub use segments::{Segment, SegmentList};
pub use shadow::ShadowDoorbells;

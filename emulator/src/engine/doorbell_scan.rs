// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A page of doorbells tells nobody that it was written. The hot path looks at the tails of the
//! queues that exist, and at heads when it needs room; everything else that a host may write there
//! is found here, a cache line at a time.

use super::Engine;
use crate::controller::{cq_slot, sq_slot};
use crate::dma::DoorbellPage;
use crate::timing::Nanos;

/// A cache line is looked at this often: the whole page in a quarter of a millisecond.
const LINE_EVERY: Nanos = 4_000;
/// Lines looked at in one step at most, however long the last one was.
const LINES_AT_ONCE: u64 = 8;

/// Where the scan of the page stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoorbellScan {
    line: u32,
    /// When the next line is looked at.
    at: Nanos,
}

impl Engine {
    /// Looks at the next part of the page when it is time. What is wrong there is reported.
    #[inline]
    pub(super) fn scan_doorbells(&mut self, now: Nanos) {
        if now >= self.doorbell_scan.at && self.controller.queues.page().is_some() {
            self.scan_lines(now);
        }
    }

    fn scan_lines(&mut self, now: Nanos) {
        let scan = &mut self.doorbell_scan;
        let lines = ((now - scan.at) / LINE_EVERY + 1).min(LINES_AT_ONCE);
        scan.at = now + LINE_EVERY;
        for _ in 0..lines {
            let line = self.doorbell_scan.line;
            self.doorbell_scan.line = (line + 1) % DoorbellPage::LINES;
            self.scan_line(line);
        }
    }

    fn scan_line(&mut self, line: u32) {
        let first = line * DoorbellPage::LINE_SLOTS;
        let beyond = first as usize >= 2 * self.controller.queues.identifiers();
        let page = self.controller.queues.page();
        // Queues that cannot exist are most of the page, and nobody writes there.
        if beyond && page.is_none_or(|page| page.line_is_clear(line)) {
            return;
        }
        for queue in first / 2..(first + DoorbellPage::LINE_SLOTS) / 2 {
            let Ok(qid) = u16::try_from(queue) else {
                return;
            };
            if self.controller.queues.sq(qid).is_some() {
                self.poll_tail(qid);
            } else {
                self.controller.report_stray(sq_slot(qid));
            }
            if self.controller.queues.cq(qid).is_some() {
                self.poll_head(qid);
            } else {
                self.controller.report_stray(cq_slot(qid));
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host must be able to end, or to survive.

use core::arch::asm;

use crate::check::{Outcome, equal_in};
use crate::layout::NOBODY;
use crate::mmio::{Mmio, WIDTHS};
use crate::report::Report;

/// Loops without exits and without end.
pub fn spin(report: Report) -> ! {
    report.progress();
    loop {
        // SAFETY: does nothing.
        unsafe { asm!("", options(nomem, nostack, preserves_flags)) };
    }
}

/// Raises an exception that nobody handles.
pub fn triple_fault(report: Report) -> ! {
    report.progress();
    // SAFETY: that there is no way to go on is the purpose.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) };
}

/// Accesses an address where there is nothing: writes vanish, reads give ones.
pub fn nobody(report: Report) -> Outcome {
    // SAFETY: mapped by the host, and nothing is there.
    let nothing = unsafe { Mmio::new(NOBODY, 4096) };
    for width in WIDTHS {
        for offset in [0, 8, 1024, 4096 - width] {
            nothing.write(offset, width, 0x1234_5678_9ABC_DEF0);
            let seen = nothing.read(offset, width);
            let ones = u64::MAX >> (64 - 8 * width);
            equal_in(
                "a read where there is nothing (detail: width)",
                ones,
                seen,
                width,
            )?;
            report.progress();
        }
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The debug kernel as User-Mode Linux: that it boots, that it finds what it is there for, and that
//! `kernel-is-clean` tells.

use std::process::Output;

use crate::Test;
use crate::bench::{Place, assert_code, hipri, output};

pub const TESTS: &[Test] = &[
    ("debug_kernel_is_clean_after_polled_io", clean),
    ("debug_kernel_finds_a_use_after_free", use_after_free),
    ("debug_kernel_lets_allocations_fail", failslab),
];

/// On the kernel that is there anyway.
pub const PLAIN_TESTS: &[Test] = &[("kernel_is_clean_fails_after_a_complaint", complaint)];

/// Runs a shell line on one of our kernels.
fn run(kernel: &str, line: &str) -> Output {
    let place = Place::new();
    let run = output(hipri(&place).args(["launch", "--kernel", kernel, "--", "sh", "-c", line]));
    place.assert_clean();
    run
}

fn text(run: &Output) -> String {
    String::from_utf8_lossy(&run.stdout).into_owned()
}

fn complaint() {
    let run = run(
        "patched",
        "/usr/lib/hipri/kernel-is-clean && echo clean before
         echo 'BUG: KASAN: invented in nobody+0x1/0x2' >/dev/kmsg
         dmesg -c >/dev/null
         /usr/lib/hipri/kernel-is-clean",
    );
    assert_code(&run, 1);
    assert!(text(&run).starts_with("clean before\n"), "{run:?}");
    assert!(text(&run).contains("invented in nobody"), "{run:?}");
}

/// kmemleak scans, lockdep watches.
fn clean() {
    let run = run(
        "debug",
        "fio --name=x --filename=/dev/nvme0n1 --ioengine=external:/usr/lib/fio/hipri.so --hipri \
             --useriocb --fixedbufs --direct=1 --rw=randrw --iodepth=32 --number_ios=2000 --thread \
             --minimal >/dev/null || exit 3
         [ -w /sys/kernel/debug/kmemleak ] || exit 4
         /usr/lib/hipri/kernel-is-clean",
    );
    assert_code(&run, 0);
}

fn use_after_free() {
    let run = run(
        "debug",
        "echo READ_AFTER_FREE >/sys/kernel/debug/provoke-crash/DIRECT
         /usr/lib/hipri/kernel-is-clean",
    );
    assert_code(&run, 1);
    assert!(
        text(&run).contains("BUG: KASAN: slab-use-after-free in lkdtm_READ_AFTER_FREE"),
        "{run:?}"
    );
}

/// One allocation of one task fails, and the kernel has nothing to complain about.
fn failslab() {
    let run = run(
        "debug",
        "cd /sys/kernel/debug/failslab
         echo Y >task-filter; echo N >ignore-gfp-wait; echo 100 >probability; echo 1 >times
         sh -c 'echo 1 >/proc/self/make-it-fail; exec cat /proc/version' 2>&1
         cat times
         exec /usr/lib/hipri/kernel-is-clean",
    );
    assert_code(&run, 0);
    assert!(text(&run).ends_with("0\n"), "{run:?}");
}

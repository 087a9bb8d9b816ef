// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For tests only: what a guest needs on a KVM that interprets supervisor code.
//!
//! There a kernel runs a thousand times slower, and without the instructions that the interpreter
//! does not know. Nobody measures anything on such a host; but a kernel that was built for it
//! (`guest build --arch x86_64 --flavour interpreted`) shows that the machine boots Linux.

use std::time::Duration;

use super::contract::Pace;

/// Set to 1, it lets `--accel kvm` be taken on such a host.
const VARIABLE: &str = "HIPRI_TEST_INTERPRETED_KVM";

/// How long things take there.
pub const PACE: Pace = Pace {
    boot: Duration::from_secs(300),
    fio_grace: Duration::from_secs(300),
};

/// More words for the kernel: it neither measures the speed of what is not executed, nor uses what
/// it finds by other ways than CPUID, nor gives up on a device that waits for a slow processor.
pub const KERNEL_WORDS: [&str; 7] = [
    "tsc=reliable",
    "lpj=1000000",
    "noxsave",
    "mitigations=off",
    "nvme_core.admin_timeout=600",
    "nvme_core.io_timeout=600",
    "clearcpuid=smap,smep,umip,fsgsbase,xsave,rdpid,popcnt,movbe,bmi1,bmi2,erms,fsrm,cx16,avx,avx2,\
     pclmulqdq,aes,sse4_1,sse4_2,ssse3,invpcid,pcid,clflushopt,clwb,rdrand,rdseed,rdtscp",
];

/// Whether it was asked for.
pub fn is_allowed() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

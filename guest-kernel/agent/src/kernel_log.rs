// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the agent adds to the kernel's log. All of it is for readers: a kernel without these files
//! runs jobs all the same.

use std::fs;

use hipri_agent::job_mark;

/// Lets marks through that follow each other fast.
pub fn open_for_marks() {
    let _ = fs::write("/proc/sys/kernel/printk_devkmsg", "on");
}

/// Notes that a job begins, as loud as a notice.
pub fn mark(job: u32, name: &str) {
    let _ = fs::write("/dev/kmsg", format!("<5>{} {name}\n", job_mark(job)));
}

/// Lets the kernel show the stack of every task.
pub fn show_all_tasks() {
    let _ = fs::write("/proc/sysrq-trigger", "t");
}

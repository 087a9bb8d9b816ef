// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end of the guest.

use std::fs;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use rustix::system::{RebootCommand, reboot};

/// How long processes may take to end by themselves.
const GRACE: Duration = Duration::from_millis(500);

/// Ends all processes, writes everything back, unmounts, powers off. Does not return.
pub fn off() -> ! {
    signal_all(Signal::TERM);
    reap_until(Instant::now() + GRACE);
    signal_all(Signal::KILL);
    reap_until(Instant::now() + GRACE);
    unmount_all();
    rustix::fs::sync();
    let error = reboot(RebootCommand::PowerOff);
    eprintln!("hipri-agent: cannot power off: {error:?}");
    // A process 1 that ends is a kernel panic; one that waits is a hang that the harness names.
    loop {
        std::thread::park();
    }
}

/// `kill(-1)`, which is what process group 1 comes to: everybody but process 1.
fn signal_all(signal: Signal) {
    let _ = kill_process_group(Pid::INIT, signal);
}

/// Reaps children until none is left or the time is over.
fn reap_until(deadline: Instant) {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => return,
        }
    }
}

/// Unmounts in reverse order of mounting. What is busy stays; `sync` follows anyway.
fn unmount_all() {
    let Ok(table) = fs::read_to_string("/proc/self/mounts") else {
        return;
    };
    for line in table.lines().rev() {
        let Some(target) = line.split(' ').nth(1) else {
            continue;
        };
        if !matches!(target, "/" | "/proc" | "/dev") {
            let _ = unmount(unescape(target), UnmountFlags::empty());
        }
    }
}

/// Undoes the octal escapes of the kernel's mount table.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    #[test]
    fn unescape_space_and_backslash_restored() {
        assert_eq!(super::unescape(r"/mnt/a\040b\134c"), r"/mnt/a b\c");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU under way, and what its end means.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::machine::contract::{End, Files, Running};
use crate::machine::outcome::tail;
use crate::machine::process::{GuestProcess, describe};

/// Lines of QEMU's own words that are shown.
const SHOWN_LINES: usize = 4;

/// What the trace says when a processor gives up (QEMU, `target/i386/tcg`).
const TRIPLE_FAULT: &str = "Triple fault";

/// With these words QEMU stops a guest of KVM and waits, in place of ending.
const STOPPED: [&str; 2] = ["KVM internal error", "KVM: entry failed"];

/// QEMU: guest and device are one process.
#[derive(Debug)]
pub struct QemuProcess {
    process: GuestProcess,
    /// QEMU's own words.
    words: PathBuf,
    trace: PathBuf,
}

/// Where QEMU notes its processors' resets.
pub fn trace(files: &Files) -> PathBuf {
    files.scratch.join("qemu.trace")
}

impl QemuProcess {
    /// A QEMU that was started with `files`.
    pub fn new(process: GuestProcess, files: &Files) -> Self {
        Self {
            process,
            words: files.device_log.clone(),
            trace: trace(files),
        }
    }
}

impl Running for QemuProcess {
    fn ended(&mut self) -> anyhow::Result<Option<End>> {
        let words = || read(&self.words);
        Ok(match self.process.ended()? {
            Some(status) => Some(end(status, &words(), &read(&self.trace))),
            None => stopped(&words()),
        })
    }

    fn stop(self: Box<Self>) -> anyhow::Result<()> {
        // Dropped: killed.
        Ok(())
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// What QEMU's end means. It exits with 0 for whatever the guest did to itself.
fn end(status: ExitStatus, words: &str, trace: &str) -> End {
    if status.success() {
        return if trace.lines().any(|line| line.trim() == TRIPLE_FAULT) {
            End::TripleFault
        } else {
            End::Guest("it switched itself off or reset itself".into())
        };
    }
    let said = tail(words, SHOWN_LINES);
    let how = match status.signal() {
        Some(signal) => format!("QEMU was ended by signal {signal}"),
        None => format!("QEMU ended with {}", describe(status)),
    };
    End::Machine(if said.is_empty() {
        how
    } else {
        format!("{how}: {}", said.trim())
    })
}

fn stopped(words: &str) -> Option<End> {
    let line = words
        .lines()
        .find(|line| STOPPED.iter().any(|text| line.contains(text)))?;
    Some(End::Machine(line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESET: &str = "CPU Reset (CPU 0)\nEAX=00000000 EBX=00000000\n";

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn end_of_a_guest_that_switched_itself_off_is_the_guests() {
        assert!(matches!(end(exited(0), "", RESET), End::Guest(_)));
    }

    #[test]
    fn end_after_a_triple_fault_is_told_by_the_trace() {
        let trace = format!("{RESET}Triple fault\n{RESET}");
        assert_eq!(end(exited(0), "", &trace), End::TripleFault);
    }

    #[test]
    fn end_with_words_is_the_machines() {
        let words = "qemu-system-x86_64: cannot set up guest memory\n";
        let End::Machine(how) = end(exited(1), words, "") else {
            panic!("not the machine's");
        };
        assert!(how.contains("exit code 1"), "{how}");
        assert!(how.ends_with("cannot set up guest memory"), "{how}");
    }

    #[test]
    fn end_by_a_signal_is_the_machines() {
        let End::Machine(how) = end(ExitStatus::from_raw(9), "", RESET) else {
            panic!("not the machine's");
        };
        assert_eq!(how, "QEMU was ended by signal 9");
    }

    #[test]
    fn stopped_guest_of_kvm_is_noticed() {
        let words = "KVM internal error. Suberror: 1\nextra data[0]: 0x0\n";
        assert!(matches!(stopped(words), Some(End::Machine(_))));
        assert_eq!(stopped("warning: something\n"), None);
    }
}

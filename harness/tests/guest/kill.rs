// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A kill at any moment leaves nothing behind, and the next run works.

use std::cell::Cell;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::Test;
use crate::bench::{Place, Running, assert_code, hipri, kill, output, wait_until};

pub const TESTS: &[Test] = &[
    ("kill_guest_is_told_and_leaves_nothing", guest),
    ("kill_emulator_is_told_and_leaves_nothing", emulator),
    ("kill_hipri_leaves_nothing", harness),
    (
        "kill_hipri_at_any_moment_leaves_no_process",
        any_moment_of_hipri,
    ),
    (
        "kill_guest_at_any_moment_leaves_nothing",
        any_moment_of_guest,
    ),
    (
        "kill_emulator_at_any_moment_leaves_nothing",
        any_moment_of_emulator,
    ),
    ("interrupt_leaves_nothing", interrupt),
    ("terminate_leaves_nothing", terminate),
    ("guest_panic_has_its_own_exit_code", panic),
    ("guest_hang_has_its_own_exit_code", hang),
    ("timeout_has_its_own_exit_code", timeout),
    ("boot_failure_has_its_own_exit_code", boot_failure),
    ("command_exit_code_comes_back", exit_code),
];

fn next_run_works(place: &Place) {
    let again = output(hipri(place).args(["launch", "--profile", "floor", "--", "true"]));
    assert_code(&again, 0);
    place.assert_clean();
}

fn guest() {
    let place = Place::new();
    let run = Running::sleeping_guest(&place);
    let pid = place.process("virtio_uml.device=").expect("the guest");
    kill(pid, Signal::KILL);
    assert_eq!(run.wait(), Some(3));
    place.assert_clean();
    next_run_works(&place);
}

fn emulator() {
    let place = Place::new();
    let run = Running::sleeping_guest(&place);
    let pid = place.process("serve vhost-user").expect("the emulator");
    kill(pid, Signal::KILL);
    assert_eq!(run.wait(), Some(3));
    place.assert_clean();
    next_run_works(&place);
}

fn harness() {
    let place = Place::new();
    let run = Running::sleeping_guest(&place);
    run.signal(Signal::KILL);
    assert_eq!(run.wait(), None);
    place.assert_clean();
    next_run_works(&place);
}

/// Moments after the start: the device is being made, the kernel boots, the command runs.
const MOMENTS: [u64; 9] = [0, 3, 10, 20, 40, 80, 160, 320, 640];

fn starting(place: &Place) -> Running {
    let mut command = hipri(place);
    command
        .args(["launch", "--profile", "floor", "--", "sleep 600"])
        .stderr(Stdio::null());
    Running(command.spawn().expect("hipri starts"))
}

/// Whatever is half done, the next run tidies up what the killed one could not.
fn any_moment_of_hipri() {
    let place = Place::new();
    for milliseconds in MOMENTS {
        let run = starting(&place);
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.signal(Signal::KILL);
        assert_eq!(run.wait(), None);
        wait_until(Duration::from_secs(5), || place.processes().is_empty());
        assert_eq!(place.processes(), [0; 0], "after {milliseconds} ms");
    }
    next_run_works(&place);
}

fn any_moment_of_guest() {
    any_moment_of("virtio_uml.device=");
}

fn any_moment_of_emulator() {
    any_moment_of("serve vhost-user");
}

/// Kills the child whose command line contains `text` some time after it was first seen.
fn any_moment_of(text: &str) {
    let place = Place::new();
    for milliseconds in MOMENTS {
        let run = starting(&place);
        // Looked for once: a guest executes itself anew at its start, and has no command line meanwhile.
        let child = Cell::new(None);
        wait_until(Duration::from_secs(10), || {
            child.set(place.process(text));
            child.get().is_some()
        });
        std::thread::sleep(Duration::from_millis(milliseconds));
        kill(child.get().expect("the child"), Signal::KILL);
        let code = run.wait();
        assert!(
            matches!(code, Some(3 | 5)),
            "after {milliseconds} ms: {code:?}"
        );
        place.assert_clean();
    }
    next_run_works(&place);
}

fn interrupt() {
    let place = Place::new();
    let run = Running::sleeping_guest(&place);
    run.signal(Signal::INT);
    assert_eq!(run.wait(), Some(130));
    place.assert_clean();
}

fn terminate() {
    let place = Place::new();
    let run = Running::sleeping_guest(&place);
    run.signal(Signal::TERM);
    assert_eq!(run.wait(), Some(130));
    place.assert_clean();
}

/// A way to panic that needs nothing of the kernel's configuration.
const OUT_OF_MEMORY: &str = "echo 2 > /proc/sys/vm/panic_on_oom && exec tail /dev/zero";

fn panic() {
    let place = Place::new();
    let run = output(hipri(&place).args(["launch", "--mem", "128M", "--", OUT_OF_MEMORY]));
    assert_code(&run, 6);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("panicked"), "{said}");
    assert!(
        said.lines().count() > 5,
        "the last lines come with it: {said}"
    );
    place.assert_clean();
}

/// A guest that is stopped says nothing any more; it is given up when its job is long overdue.
fn hang() {
    let place = Place::new();
    let mut command = hipri(&place);
    command
        .args(["sweep", "--profile", "floor", "--paths", "mainline"])
        .stderr(Stdio::null());
    let run = Running(command.spawn().expect("hipri starts"));
    wait_until(Duration::from_secs(10), || {
        place.process("virtio_uml.device=").is_some()
    });
    std::thread::sleep(Duration::from_secs(2));
    let guest = place.process("virtio_uml.device=").expect("the guest");
    kill(guest, Signal::STOP);
    assert_eq!(run.wait(), Some(7));
    place.assert_clean();
}

fn timeout() {
    let place = Place::new();
    let run = output(hipri(&place).args(["launch", "--timeout", "2", "--", "sleep 600"]));
    assert_code(&run, 124);
    place.assert_clean();
}

fn boot_failure() {
    let place = Place::new();
    let run = output(hipri(&place).args(["launch", "--append", "init=/nonsense", "--", "true"]));
    assert_code(&run, 5);
    place.assert_clean();
}

fn exit_code() {
    let place = Place::new();
    for (command, code) in [("exit 7", 7), ("exit 200", 127), ("kill -9 $$", 127)] {
        let run = output(hipri(&place).args(["launch", "--", command]));
        assert_code(&run, code);
    }
    place.assert_clean();
}

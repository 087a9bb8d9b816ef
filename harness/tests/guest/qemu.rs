// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guests under QEMU with QEMU's own nvme: several processors, and the same commands.

use rustix::process::Signal;
use serde_json::Value;

use crate::Test;
use crate::bench::{Place, Running, assert_code, hipri_on, kill, output};

pub const TESTS: &[Test] = &[
    (
        "qemu_command_has_two_processors_and_its_code_comes_back",
        command,
    ),
    ("qemu_sweep_rows_have_figures_and_no_counters", sweep),
    ("qemu_suite_runs_what_is_not_about_our_device", suite),
    ("qemu_file_media_survive_a_restart", restart),
    ("qemu_guest_panic_has_its_own_exit_code", panic),
    ("qemu_triple_fault_is_told_apart", triple_fault),
    ("qemu_killed_is_told_and_leaves_nothing", killed),
    ("qemu_interrupt_leaves_nothing", interrupt),
    ("qemu_kill_of_hipri_leaves_nothing", harness),
    ("qemu_memory_that_is_too_little_is_refused", memory),
];

fn qemu(place: &Place) -> std::process::Command {
    hipri_on("qemu", place)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Output, errors, exit code and arguments with spaces, in one boot.
fn command() {
    let place = Place::new();
    let script = "nproc; printf '<%s>' \"$@\"; echo complaint >&2; exit 7";
    let run = output(qemu(&place).args(["launch", "--", "sh", "-c", script, "sh", "a  b", "c"]));
    assert_code(&run, 7);
    assert_eq!(text(&run.stdout), "2\n<a  b><c>");
    assert!(text(&run.stderr).contains("complaint"), "{run:?}");
    place.assert_clean();
}

/// One cell by interrupt and one polled, on the same kernel.
fn sweep() {
    let place = Place::new();
    let run = output(qemu(&place).args([
        "sweep",
        "--depths",
        "4",
        "--paths",
        "aio-poll,aio-poll-all",
        "--json",
        "--out",
        "kept",
    ]));
    assert_code(&run, 0);
    let document: Value = serde_json::from_slice(&run.stdout).expect("one document on stdout");
    assert_eq!(document["accel"], "qemu");
    assert_eq!(document["device"], "qemu-nvme");
    assert_eq!(document["profile"], Value::Null);
    let rows = document["rows"].as_array().expect("rows");
    let paths: Vec<_> = rows.iter().map(|row| &row["path"]).collect();
    assert_eq!(paths, ["aio-poll", "aio-poll-all"]);
    for row in rows {
        assert!(row["iops"].as_f64().is_some_and(|iops| iops > 0.0), "{row}");
        assert!(row.get("polled_commands").is_none(), "{row}");
        assert!(row.get("lateness_p50_ns").is_none(), "{row}");
    }
    // No timing here: a polled queue has no vector, and the other completes by nothing else.
    let taken = |row: &Value| row["guest_interrupts"].as_u64().expect("interrupts");
    let ios = rows[1]["ios"].as_u64().expect("I/Os");
    assert!(taken(&rows[0]) > 0, "{document}");
    assert!(taken(&rows[1]) * 100 <= ios, "{document}");
    let kept = place.work.path().join("kept");
    let report = std::fs::read_to_string(kept.join("report.md")).expect("a report");
    assert!(
        report.contains("QEMU's own nvme, no speed model") && report.contains("QEMU emulator"),
        "{report}"
    );
    assert!(kept.join("patched-console.log").is_file());
    place.assert_clean();
}

fn suite() {
    let place = Place::new();
    let file = place.work.path().join("mine.toml");
    let checks = r#"
        description = "one that runs and two that cannot"
        [[check]]
        name = "runs"
        kernel = "patched"
        run = "test -b /dev/nvme0n1 && nproc"
        expect.output = ["2"]
        [[check]]
        name = "counts"
        kernel = "patched"
        run = "true"
        expect.counters = { polled-besides = 0 }
        [[check]]
        name = "ours"
        kernel = "patched"
        hipri-device = true
        run = "true"
    "#;
    std::fs::write(&file, checks).expect("a suite");
    let run = output(qemu(&place).arg("suite").arg(&file));
    assert_code(&run, 0);
    let ktap = text(&run.stdout);
    for line in [
        "1..3",
        "ok 1 mine.counts.patched # SKIP needs the device's counters; QEMU's own nvme has none",
        "ok 2 mine.ours.patched # SKIP is about hipri's device; this is QEMU's own nvme",
        "ok 3 mine.runs.patched",
    ] {
        assert!(ktap.lines().any(|found| found == line), "{line} in {ktap}");
    }
    assert!(text(&run.stderr).contains("1 passed, 0 failed, 2 skipped"));
}

fn restart() {
    let place = Place::new();
    let disk = place.work.path().join("disk, with a comma");
    let file = std::fs::File::create(&disk).expect("a file");
    file.set_len(64 << 20).expect("its size");
    let device = place.work.path().join("device.toml");
    let namespace =
        format!("[[namespace]]\nmedia = \"file\"\npath = {disk:?}\nsize = \"64MiB\"\nlba = 4096\n");
    let text = format!("[controller]\nvolatile_write_cache = false\n{namespace}");
    std::fs::write(&device, text).expect("a device file");
    let write = "test $(cat /sys/block/nvme0n1/queue/logical_block_size) = 4096 &&
        test $(cat /sys/block/nvme0n1/size) = 131072 &&
        echo kept | dd of=/dev/nvme0n1 bs=4096 count=1 conv=sync,fsync";
    let run = output(
        qemu(&place)
            .args(["launch", "--device"])
            .arg(&device)
            .args(["--", write]),
    );
    assert_code(&run, 0);
    let data = std::fs::read(&disk).expect("the disk");
    assert!(data.starts_with(b"kept\n"));
    place.assert_clean();
}

fn panic() {
    let place = Place::new();
    let panic = "echo 2 > /proc/sys/vm/panic_on_oom && exec tail /dev/zero";
    let run = output(qemu(&place).args(["launch", "--", panic]));
    assert_code(&run, 6);
    let said = text(&run.stderr);
    assert!(said.contains("panicked: Out of memory"), "{said}");
    assert!(
        said.lines().count() > 5,
        "the last lines come with it: {said}"
    );
    place.assert_clean();
}

/// The kernel restarts the machine by a triple fault, when it is told to.
fn triple_fault() {
    let place = Place::new();
    let words = ["launch", "--append", "reboot=t", "--", "busybox reboot -f"];
    let run = output(qemu(&place).args(words));
    assert_code(&run, 6);
    let said = text(&run.stderr);
    assert!(said.contains("triple fault"), "{said}");
    place.assert_clean();
}

fn killed() {
    let place = Place::new();
    let said = place.work.path().join("stderr");
    let mut command = qemu(&place);
    command.stderr(std::fs::File::create(&said).expect("a file"));
    let run = Running::sleeping_guest_of(command);
    let pid = place.process("qemu-system-x86_64").expect("QEMU");
    kill(pid, Signal::KILL);
    assert_eq!(run.wait(), Some(3));
    let said = std::fs::read_to_string(said).expect("its words");
    assert!(said.contains("QEMU was ended by signal 9"), "{said}");
    place.assert_clean();
}

fn interrupt() {
    let place = Place::new();
    let mut command = qemu(&place);
    command.stderr(std::process::Stdio::null());
    let run = Running::sleeping_guest_of(command);
    run.signal(Signal::INT);
    assert_eq!(run.wait(), Some(130));
    place.assert_clean();
}

/// The next run removes what the killed one could not.
fn harness() {
    let place = Place::new();
    let mut command = qemu(&place);
    command.stderr(std::process::Stdio::null());
    let run = Running::sleeping_guest_of(command);
    run.signal(Signal::KILL);
    assert_eq!(run.wait(), None);
    let gone = || place.processes().is_empty();
    crate::bench::wait_until(std::time::Duration::from_secs(5), gone);
    assert_eq!(place.processes(), [0; 0]);
    let again = output(qemu(&place).args(["launch", "--cpus", "1", "--", "nproc"]));
    assert_code(&again, 0);
    assert_eq!(text(&again.stdout), "1\n");
    place.assert_clean();
}

fn memory() {
    let place = Place::new();
    let run = output(qemu(&place).args(["launch", "--mem", "128M", "--", "true"]));
    assert_code(&run, 2);
    let said = text(&run.stderr);
    assert!(said.contains("--mem 128M is too little"), "{said}");
    place.assert_clean();
}

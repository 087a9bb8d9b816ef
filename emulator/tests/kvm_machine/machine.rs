// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tests.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::kernel::Code;

/// Name and test.
pub const TESTS: &[(&str, fn())] = &[
    (
        "bzimage_starts_in_64_bit_mode",
        bzimage_starts_in_64_bit_mode,
    ),
    ("bzimage_finds_its_ram_disk", bzimage_finds_its_ram_disk),
    (
        "pvh_kernel_starts_in_32_bit_mode",
        pvh_kernel_starts_in_32_bit_mode,
    ),
    (
        "pci_ports_show_the_controller",
        pci_ports_show_the_controller,
    ),
    (
        "several_pollers_start_and_end",
        several_pollers_start_and_end,
    ),
    (
        "channel_is_the_second_serial_port",
        channel_is_the_second_serial_port,
    ),
    ("reset_ends_the_machine", reset_ends_the_machine),
    (
        "triple_fault_has_its_own_exit_code",
        triple_fault_has_its_own_exit_code,
    ),
    (
        "guest_that_spins_is_stopped_by_sigterm",
        guest_that_spins_is_stopped_by_sigterm,
    ),
    ("exits_are_reported_by_reason", exits_are_reported_by_reason),
    ("kernel_that_is_none_is_named", kernel_that_is_none_is_named),
    ("memory_too_small_is_told", memory_too_small_is_told),
    (
        "command_line_too_long_is_told",
        command_line_too_long_is_told,
    ),
    ("too_many_processors_are_told", too_many_processors_are_told),
];

const LIMIT: Duration = Duration::from_secs(60);

/// A machine's folder and command line.
struct Bench {
    folder: TempDir,
    arguments: Vec<String>,
}

impl Bench {
    fn new(kernel: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kernel"), kernel).unwrap();
        fs::write(folder.path().join("console"), "").unwrap();
        fs::write(folder.path().join("channel"), "").unwrap();
        let device = "[[namespace]]\nmedia = \"ram\"\nsize = \"16MiB\"\n";
        fs::write(folder.path().join("device.toml"), device).unwrap();
        Self {
            folder,
            arguments: Vec::new(),
        }
    }

    fn argument(mut self, words: &[&str]) -> Self {
        self.arguments
            .extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nvme-emulator"));
        command.args(["vmm", "--memory", "32MiB", "--profile", "floor"]);
        for (option, file) in [
            ("--kernel", "kernel"),
            ("--console", "console"),
            ("--channel", "channel"),
            ("--device", "device.toml"),
        ] {
            command.arg(option).arg(self.path(file));
        }
        command.args(&self.arguments);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self) -> Run {
        Run::of(self, &self.command().output().unwrap())
    }
}

struct Run {
    code: Option<i32>,
    report: Value,
    console: String,
    channel: String,
    errors: String,
}

impl Run {
    fn of(bench: &Bench, output: &Output) -> Self {
        let read = |name| fs::read_to_string(bench.path(name)).unwrap();
        Self {
            code: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            console: read("console"),
            channel: read("channel"),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn assert_ended(&self, ending: &str, code: i32) {
        assert_eq!(self.report["ending"], ending, "{}", self.errors);
        assert_eq!(self.code, Some(code), "{}", self.errors);
    }
}

fn bzimage_starts_in_64_bit_mode() {
    // cmp dword [rsi + 202h], "HdrS"; je over; ud2
    let check = [
        0x81, 0xBE, 0x02, 0x02, 0, 0, b'H', b'd', b'r', b'S', 0x74, 0x02, 0x0F, 0x0B,
    ];
    let code = Code::new().raw(&check).print("hello\n").power_off();
    let run = Bench::new(&code.bzimage()).run();
    run.assert_ended("power-off", 0);
    assert_eq!(run.console, "hello\n");
}

fn bzimage_finds_its_ram_disk() {
    // mov eax, [rsi + 218h] (where the RAM disk is); mov eax, [rax + 8]
    let code = Code::new()
        .raw(&[0x8B, 0x86, 0x18, 0x02, 0, 0, 0x8B, 0x40, 0x08])
        .expect_eax(u32::from_le_bytes(*b"disk"))
        .print("found")
        .power_off();
    let bench = Bench::new(&code.bzimage());
    // The second archive begins at a multiple of 4.
    fs::write(bench.path("one"), "first").unwrap();
    fs::write(bench.path("two"), "disk").unwrap();
    let (one, two) = (bench.path("one"), bench.path("two"));
    let run = bench.argument(&["--initrd", &one, "--initrd", &two]).run();
    run.assert_ended("power-off", 0);
    assert_eq!(run.console, "found");
}

fn pvh_kernel_starts_in_32_bit_mode() {
    // cmp dword [ebx], the magic number of start information; je over; ud2
    let check = [0x81, 0x3B, 0x78, 0xC5, 0x6E, 0x33, 0x74, 0x02, 0x0F, 0x0B];
    let code = Code::new().raw(&check).print("pvh").power_off();
    let run = Bench::new(&code.pvh()).run();
    run.assert_ended("power-off", 0);
    assert_eq!(run.console, "pvh");
}

fn pci_ports_show_the_controller() {
    let code = Code::new()
        .pci_config(1, 8)
        .expect_eax(0x0108_0201)
        .pci_config(2, 0)
        .expect_eax(0xFFFF_FFFF)
        .print("seen")
        .power_off();
    let run = Bench::new(&code.bzimage()).run();
    run.assert_ended("power-off", 0);
    assert_eq!(run.console, "seen");
}

/// Each has its own filter of system calls; one that may not do what it must would end the process.
fn several_pollers_start_and_end() {
    let code = Code::new()
        .pci_config(1, 8)
        .expect_eax(0x0108_0201)
        .print("seen")
        .power_off();
    let bench = Bench::new(&code.bzimage()).argument(&["--pollers", "3", "--idle-sleep", "100us"]);
    let device = "[controller]\nvolatile_write_cache = false\n\n\
                  [[namespace]]\nmedia = \"ram\"\nsize = \"16MiB\"\n";
    fs::write(bench.path("device.toml"), device).unwrap();
    let run = bench.run();
    run.assert_ended("power-off", 0);
    assert_eq!(run.console, "seen");
}

fn channel_is_the_second_serial_port() {
    let code = Code::new()
        .print_channel("{\"record\":1}\n")
        .print("log")
        .power_off();
    let run = Bench::new(&code.bzimage()).run();
    run.assert_ended("power-off", 0);
    assert_eq!(run.channel, "{\"record\":1}\n");
    assert_eq!(run.console, "log");
}

fn reset_ends_the_machine() {
    let run = Bench::new(&Code::new().reset().bzimage()).run();
    run.assert_ended("reset", 0);
}

fn triple_fault_has_its_own_exit_code() {
    let run = Bench::new(&Code::new().print("last words").fault().bzimage()).run();
    run.assert_ended("triple-fault", 6);
    assert_eq!(run.console, "last words");
}

fn guest_that_spins_is_stopped_by_sigterm() {
    let bench = Bench::new(&Code::new().print("spinning").spin().bzimage());
    let child = bench
        .command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while fs::read_to_string(bench.path("console")).unwrap() != "spinning" {
        assert!(begun.elapsed() < LIMIT, "the guest has not begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let run = Run::of(&bench, &child.wait_with_output().unwrap());
    run.assert_ended("stopped", 0);
}

fn exits_are_reported_by_reason() {
    let code = Code::new().print("12345").pci_config(1, 0).power_off();
    let run = Bench::new(&code.bzimage()).run();
    run.assert_ended("power-off", 0);
    let reasons = &run.report["device"]["exits"]["reasons"];
    // Five characters and the power-off; an address and a register.
    assert_eq!(reasons["port_io"], 6, "{reasons}");
    assert_eq!(reasons["config"], 2, "{reasons}");
}

fn kernel_that_is_none_is_named() {
    let bench = Bench::new(b"no kernel");
    let run = bench.run();
    assert_eq!(run.code, Some(2));
    assert!(run.errors.contains(&bench.path("kernel")), "{}", run.errors);
    assert!(run.errors.contains("vmlinux or bzImage"), "{}", run.errors);
}

fn memory_too_small_is_told() {
    let bench = Bench::new(&Code::new().power_off().bzimage());
    fs::write(bench.path("disk"), vec![0; 40 << 20]).unwrap();
    let disk = bench.path("disk");
    let run = bench.argument(&["--initrd", &disk]).run();
    assert_eq!(run.code, Some(2));
    assert!(
        run.errors.contains("the guest has 32 MiB"),
        "{}",
        run.errors
    );
}

fn command_line_too_long_is_told() {
    let long = "x".repeat(2048);
    let bench = Bench::new(&Code::new().power_off().bzimage()).argument(&["--append", &long]);
    let run = bench.run();
    assert_eq!(run.code, Some(2));
    assert!(run.errors.contains("2048 bytes"), "{}", run.errors);
}

fn too_many_processors_are_told() {
    let bench = Bench::new(&Code::new().power_off().bzimage()).argument(&["--cpus", "17"]);
    let run = bench.run();
    assert_eq!(run.code, Some(2));
    assert!(run.errors.contains("17 processors"), "{}", run.errors);
}

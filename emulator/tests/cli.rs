// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line as its users meet it: messages, exit codes, start and end.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn emulator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvme-emulator"));
    command.env_remove("RUST_LOG");
    for name in [
        "HIPRI_CONFIGS",
        "HIPRI_PROFILE",
        "HIPRI_DEVICE",
        "HIPRI_SEED",
        "HIPRI_FAULTS",
    ] {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = emulator().args(args).output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn serve(socket: &Path) -> Command {
    let mut command = emulator();
    command.args(["serve", "vhost-user", "--profile", "floor", "--socket"]);
    command.arg(socket);
    command
}

/// What comes of serving with these words, which are refused.
fn serve_vhost_user(words: &[&str]) -> (Option<i32>, String) {
    let (_folder, socket) = folder();
    let socket = socket.to_str().expect("a plain path");
    run(&[&["serve", "vhost-user", "--socket", socket], words].concat())
}

/// A folder, and a path in it for a socket.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    (folder, socket)
}

fn device(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("device.toml");
    std::fs::write(&path, text).expect("a file");
    path
}

/// Refused with one line on stderr that contains each of `words`.
#[track_caller]
fn assert_refused(output: (Option<i32>, String), code: i32, words: &[&str]) {
    let (status, text) = output;
    assert_eq!(status, Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in: {text}");
    }
}

fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("a child");
    panic!("it did not end");
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < PATIENCE, "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("our child");
}

#[test]
fn no_arguments_is_a_usage_error() {
    assert_eq!(run(&[]).0, Some(2));
    assert_eq!(run(&["serve", "vhost-user"]).0, Some(2));
}

#[test]
fn help_succeeds() {
    assert_eq!(run(&["--help"]).0, Some(0));
    assert_eq!(run(&["serve", "vhost-user", "--help"]).0, Some(0));
}

#[test]
fn unknown_device_key_names_file_and_key() {
    let (folder, socket) = folder();
    let device = device(&folder, "[controller]\nqueue_pears = 4\n");

    let output = serve(&socket).arg("--device").arg(&device).output();

    let Output { status, stderr, .. } = output.expect("it runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_refused((status.code(), text), 2, &["device.toml", "queue_pears"]);
}

#[test]
fn namespace_file_of_wrong_size_is_refused_with_both_numbers() {
    let (folder, socket) = folder();
    std::fs::write(folder.path().join("disk"), [0; 8192]).expect("a file");
    let device = device(
        &folder,
        "[[namespace]]\nmedia = \"file\"\npath = \"disk\"\nsize = \"1MiB\"\n",
    );

    let output = serve(&socket).arg("--device").arg(&device).output();

    let Output { status, stderr, .. } = output.expect("it runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_refused((status.code(), text), 2, &["disk", "8192", "1048576"]);
}

#[test]
fn unknown_profile_is_refused() {
    let output = serve_vhost_user(&["--profile", "no-such"]);
    assert_refused(output, 2, &["no-such"]);
}

#[test]
fn profile_below_the_floor_is_refused() {
    let output = serve_vhost_user(&["--profile", "low-latency", "--floor", "5us"]);
    assert_refused(output, 2, &["low-latency", "read.time", "5000 ns"]);
}

#[test]
fn mapped_doorbells_are_refused() {
    let output = serve_vhost_user(&["--doorbells", "mapped"]);
    assert_refused(output, 2, &["mapped", "shadow"]);
}

#[test]
fn options_without_effect_in_virtual_time_are_refused() {
    let (_folder, socket) = folder();
    let time = socket.with_extension("time");
    for words in [
        ["--doorbells", "shadow"],
        ["--control", "/no/socket"],
        ["--idle-sleep", "1ms"],
        ["--floor", "100ns"],
    ] {
        let mut command = serve(&socket);
        let output = command
            .arg("--virtual-time")
            .arg(&time)
            .args(words)
            .output();
        let output = output.expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_refused((output.status.code(), text), 2, &[words[0], "virtual time"]);
    }
}

#[test]
fn fault_rules_that_are_wrong_are_refused_with_file_key_and_value() {
    let (folder, socket) = folder();
    let rules = folder.path().join("rules.toml");
    std::fs::write(&rules, "[[rule]]\nact = \"delay\"\nnanoseconds = 0\n").expect("a file");
    let words = ["rules.toml", "rule 1", "nanoseconds", "0 is not between 1"];
    let output = serve(&socket).arg("--faults").arg(&rules).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_refused((output.status.code(), text), 2, &words);
    let rules = rules.to_str().expect("text");
    let vmm = ["vmm", "--kernel", "/dev/null", "--faults", rules];
    assert_refused(run(&vmm), 2, &words);
    // The file is judged before the device is asked.
    assert_refused(run(&["control", "/no/socket", "faults", rules]), 2, &words);
    let missing = ["vmm", "--kernel", "/dev/null", "--faults", "/no/rules.toml"];
    assert_refused(run(&missing), 2, &["/no/rules.toml", "cannot be read"]);
}

#[test]
fn pollers_that_cannot_share_are_refused() {
    let (folder, socket) = folder();
    let disk = folder.path().join("disk");
    std::fs::File::create(&disk)
        .and_then(|file| file.set_len(1 << 20))
        .expect("a file");
    let text = format!("[[namespace]]\nmedia = \"file\"\npath = {disk:?}\nsize = \"1MiB\"\n");
    let device = device(&folder, &text);
    let output = emulator()
        .args(["vmm", "--kernel", "/dev/null", "--pollers", "2", "--device"])
        .arg(&device)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = [
        "device.toml",
        "namespace 1",
        "media = \"file\"",
        "--pollers 1",
    ];
    assert_refused((output.status.code(), text), 2, &words);

    let vhost_user = ["serve", "vhost-user", "--pollers", "2", "--socket"];
    let output = emulator().args(vhost_user).arg(&socket).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_refused((output.status.code(), text), 2, &["--pollers 2", "vmm"]);
    assert_refused(
        run(&["vmm", "--kernel", "/dev/null", "--cpu", "0,1"]),
        2,
        &["--cpu names 2 cores for 1 pollers"],
    );
}

#[test]
fn socket_in_a_folder_that_is_missing_is_infrastructure() {
    let output = serve(Path::new("/no/such/folder/socket")).output();

    let Output { status, stderr, .. } = output.expect("it runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_refused((status.code(), text), 3, &["/no/such/folder/socket"]);
}

#[test]
fn core_that_does_not_exist_is_infrastructure() {
    let (_folder, socket) = folder();

    let output = serve(&socket).args(["--cpu", "999"]).output();

    let Output { status, stderr, .. } = output.expect("it runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_refused((status.code(), text), 3, &["core 999"]);
}

#[test]
fn signals_end_it_with_counters_and_without_socket() {
    for number in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let (_folder, socket) = folder();
        let mut child = serve(&socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        wait_for(&socket);

        signal(&child, number);

        assert_eq!(wait(&mut child), Some(0));
        let mut text = String::new();
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_to_string(&mut text).expect("text");
        assert!(text.contains("profile: floor"), "{text}");
        assert!(text.contains("poller: "), "{text}");
        assert!(!socket.exists());
    }
}

#[test]
fn ready_fd_that_is_closed_is_a_usage_error() {
    let (_folder, socket) = folder();

    let output = serve(&socket).args(["--ready-fd", "77"]).output();

    let Output { status, stderr, .. } = output.expect("it runs");
    assert_eq!(status.code(), Some(2));
    assert!(String::from_utf8_lossy(&stderr).contains("--ready-fd 77"));
    assert!(!socket.exists());
}

#[test]
fn ready_fd_gets_a_byte_when_a_guest_can_connect() {
    let (_folder, socket) = folder();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // Standard output is the descriptor that a child certainly inherits.
    let mut child = serve(&socket)
        .args(["--ready-fd", "1"])
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");

    let mut byte = [0];
    reader.read_exact(&mut byte).expect("a byte");

    assert_eq!(byte, *b"\n");
    std::os::unix::net::UnixStream::connect(&socket).expect("it listens");
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(wait(&mut child), Some(0));
}

#[test]
fn control_asks_a_running_device() {
    let (folder, socket) = folder();
    let control = folder.path().join("control");
    let mut child = serve(&socket)
        .arg("--control")
        .arg(&control)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    wait_for(&socket);
    wait_for(&control);
    let ask = |args: &[&str]| {
        let output = emulator().arg("control").arg(&control).args(args).output();
        let Output { status, stdout, .. } = output.expect("it runs");
        (status.code(), String::from_utf8_lossy(&stdout).into_owned())
    };

    assert_eq!(ask(&["ping"]).0, Some(0));
    assert!(ask(&["counters"]).1.contains("polled_commands"));
    assert_eq!(ask(&["profile", "low-latency"]).0, Some(0));
    assert_eq!(ask(&["profile", "no-such"]).0, Some(2));
    let changed = ask(&["profile", "--set", "read.time=7us", "--set", "units = 8"]);
    assert_eq!(changed.0, Some(0));
    assert!(changed.1.contains("read.time = 7us"), "{}", changed.1);
    assert_eq!(ask(&["profile"]).0, Some(2));
    assert_eq!(ask(&["profile", "--set", "units"]).0, Some(2));
    let rules = folder.path().join("rules.toml");
    std::fs::write(&rules, "[[rule]]\nact = \"drop\"\n").expect("a file");
    let loaded = ask(&["faults", rules.to_str().expect("text")]);
    assert_eq!(loaded.0, Some(0));
    assert!(loaded.1.contains("\"loaded\":1"), "{}", loaded.1);
    assert!(ask(&["faults"]).1.contains("\"hits\":0"));
    assert!(ask(&["faults", "--clear"]).1.contains("\"loaded\":0"));

    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(wait(&mut child), Some(0));
    assert!(!control.exists());
    assert_eq!(ask(&["ping"]).0, Some(3));
}

#[test]
fn parent_that_dies_takes_it_along() {
    let (_folder, socket) = folder();
    // A shell that starts it and waits; its death must be the device's.
    let script = format!(
        "'{}' serve vhost-user --profile floor --die-with-parent --socket '{}' & wait",
        env!("CARGO_BIN_EXE_nvme-emulator"),
        socket.display()
    );
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    wait_for(&socket);

    shell.kill().expect("our child");
    shell.wait().expect("our child");

    let start = Instant::now();
    while socket.exists() {
        assert!(start.elapsed() < PATIENCE, "it outlived its parent");
        std::thread::sleep(Duration::from_millis(5));
    }
}

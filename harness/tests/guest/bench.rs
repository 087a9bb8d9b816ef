// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starting `hipri` and looking at what it leaves behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the checkout")
}

/// `hipri` in the checkout, its run directories in `place`; guests run as User-Mode Linux.
pub fn hipri(place: &Place) -> Command {
    hipri_on("uml", place)
}

/// The same with guests that run in another way.
pub fn hipri_on(accel: &str, place: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hipri"));
    command
        .current_dir(place.work.path())
        .env("HIPRI_ROOT", root())
        .env("HIPRI_TMPDIR", place.shared.path())
        .env("HIPRI_ACCEL", accel)
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("hipri starts")
}

/// Its exit code, with what it said when that is another one.
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout: {}\nstderr: {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Why there is no guest to boot with these kernels for `arch`, if there is none.
pub fn missing_guest(arch: &str, flavours: &[&str]) -> Option<String> {
    let words = flavours.iter().flat_map(|flavour| ["--flavour", flavour]);
    let words: Vec<&str> = ["--arch", arch].into_iter().chain(words).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_hipri"))
        .args(["guest", "status"])
        .args(&words)
        .current_dir(root())
        .env("HIPRI_ROOT", root())
        .output()
        .expect("hipri starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let missing = !output.status.success() || text.contains(" missing ");
    missing.then(|| {
        let words = words.join(" ");
        format!("the guest is not built: cargo run --release -- guest build {words}")
    })
}

/// Why QEMU cannot be run, if it cannot.
pub fn missing_qemu() -> Option<String> {
    let run = Command::new("qemu-system-x86_64").arg("--version").output();
    match run {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "qemu-system-x86_64 does not run: {}",
            output.status
        )),
        Err(error) => Some(format!("there is no qemu-system-x86_64 ({error})")),
    }
}

/// Directories of one test: a working directory, and one on a tmpfs for the run directories, so
/// that another run on this host is not mistaken for a leftover.
pub struct Place {
    /// The working directory.
    pub work: tempfile::TempDir,
    /// On a tmpfs.
    pub shared: tempfile::TempDir,
}

impl Place {
    /// Empty ones.
    pub fn new() -> Self {
        Self {
            work: tempfile::tempdir().expect("a temporary directory"),
            shared: tempfile::tempdir_in("/dev/shm").expect("a directory in /dev/shm"),
        }
    }

    /// Processes that belong to a run in this place: their command line names it, or they are
    /// children of one that does. A zombie is gone.
    pub fn processes(&self) -> Vec<i32> {
        let name = self.shared.path().as_os_str().as_encoded_bytes();
        let all = numbers_in_proc();
        all.into_iter()
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.windows(name.len()).any(|part| part == name) && !is_zombie(*pid)
            })
            .collect()
    }

    /// The process whose command line contains `text`.
    pub fn process(&self, text: &str) -> Option<i32> {
        self.processes().into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line)
                .replace('\0', " ")
                .contains(text)
        })
    }

    /// Waits until nothing of a run is left: no process, no socket, no lock.
    pub fn assert_clean(&self) {
        let clean = || self.processes().is_empty() && self.files().is_empty();
        wait_until(Duration::from_secs(5), clean);
        assert_eq!(self.processes(), [0; 0], "processes are left");
        assert_eq!(self.files(), Vec::<PathBuf>::new(), "files are left");
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.shared.path()).expect("the test's own directory");
        entries.flatten().map(|entry| entry.path()).collect()
    }
}

/// A `hipri` in the background; killed when dropped.
pub struct Running(pub Child);

impl Running {
    /// Boots a guest that only sleeps, and waits until its command runs.
    pub fn sleeping_guest(place: &Place) -> Self {
        let mut command = hipri(place);
        command.stderr(Stdio::null());
        Self::sleeping_guest_of(command)
    }

    /// The same with a `hipri` that has no arguments yet.
    pub fn sleeping_guest_of(mut command: Command) -> Self {
        command
            .args(["launch", "--", "echo up; sleep 600"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("hipri starts");
        let mut line = [0_u8; 3];
        let stdout = child.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(stdout, &mut line).expect("the guest's first words");
        assert_eq!(&line, b"up\n");
        Self(child)
    }

    /// Sends a signal to `hipri` itself.
    pub fn signal(&self, signal: Signal) {
        kill(self.0.id().cast_signed(), signal);
    }

    /// Its exit code, once it ends by itself; `None` when a signal ended it.
    pub fn wait(mut self) -> Option<i32> {
        self.0.wait().expect("hipri's end").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal.
pub fn kill(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process id");
    kill_process(pid, signal).expect("the process exists");
}

/// Waits until `done`, at most `limit`.
pub fn wait_until(limit: Duration, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() && begun.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn numbers_in_proc() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn is_zombie(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|text| text.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')))
}

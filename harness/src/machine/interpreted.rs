// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For tests only: what a guest needs on a KVM that interprets supervisor code.
//!
//! There a kernel runs a thousand times slower, and without the instructions that the interpreter
//! does not know. Nobody measures anything on such a host; but a kernel that was built for it
//! (`--kernel interpreted`) shows that the machine boots Linux and does polled I/O. It reads its
//! root from a disk, a second namespace of the device, because unpacking an archive takes minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use hipri_agent::COMMAND_LIST_FILE;

use super::Spec;
use super::contract::Pace;
use crate::guest;

/// Set to 1, it lets `--accel kvm` be taken on such a host.
const VARIABLE: &str = "HIPRI_TEST_INTERPRETED_KVM";

/// How long things take there.
pub const PACE: Pace = Pace {
    boot: Duration::from_secs(300),
    fio_grace: Duration::from_secs(300),
};

/// Bytes of the root's disk: the image takes about half of it. The rest is a hole.
const DISK_SIZE: u64 = 256 << 20;

/// Where the root is, for the kernel. The user's device has one namespace.
pub const ROOT_WORDS: [&str; 4] = ["root=/dev/nvme0n2", "rootfstype=ext4", "ro", "init=/init"];

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

/// Makes the root's disk in `scratch`, with the command list in it, and a device's configuration
/// that has it as the last namespace.
///
/// # Errors
/// When they cannot be written.
pub fn make_device(spec: &Spec<'_>, scratch: &Path) -> anyhow::Result<PathBuf> {
    let run = scratch.join("root");
    let list = run.join(guest::RUN_DIR.trim_start_matches('/'));
    fs::create_dir_all(&list).context("making the root's disk")?;
    let commands = serde_json::to_vec(&spec.commands).context("writing the guest's commands")?;
    fs::write(list.join(COMMAND_LIST_FILE), commands).context("making the root's disk")?;
    let copied = Command::new("cp")
        .args(["-a", "--"])
        .arg(spec.root.join("."))
        .arg(&run)
        .status()
        .context("copying the image")?;
    ensure!(copied.success(), "copying the image failed");
    let disk = scratch.join("root.ext4");
    let made = Command::new("/sbin/mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"])
        .arg(&run)
        .arg(&disk)
        .arg(format!("{}k", DISK_SIZE >> 10))
        .stdin(Stdio::null())
        .status()
        .context("starting mke2fs")?;
    ensure!(made.success(), "making the root's file system failed");
    fs::remove_dir_all(&run).context("removing the root's copy")?;
    let device = fs::read_to_string(&spec.device.device)
        .with_context(|| format!("reading {}", spec.device.device.display()))?;
    let path = scratch.join("device.toml");
    let namespace = format!(
        "\n[[namespace]]\nmedia = \"file\"\npath = \"{}\"\nsize = {DISK_SIZE}\nsparse = true\n",
        disk.display()
    );
    fs::write(&path, device + &namespace).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

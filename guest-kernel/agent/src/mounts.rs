// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file systems every guest has, and those that the command list asks for.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context;
use hipri_agent::{Event, MountEntry};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

/// File system type, target, options. In the order of mounting; the root stays read-only.
const BASE: [(&str, &str, &str); 12] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("devpts", "/dev/pts", "mode=0620,ptmxmode=0666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("configfs", "/sys/kernel/config", ""),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=0755"),
    ("tmpfs", "/var", "mode=0755"),
    ("tmpfs", "/mnt", "mode=0755"),
    ("tmpfs", "/root", "mode=0700"),
    ("tmpfs", "/srv", "mode=0755"),
];

/// As [`BASE`], where the kernel has it and so has made the mount point.
const DEBUGFS: (&str, &str, &str) = ("debugfs", "/sys/kernel/debug", "");

/// Links that programs expect in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Mounts [`BASE`] and [`DEBUGFS`] and makes [`LINKS`]. What failed is returned as events: there is no channel
/// before `/dev` is there.
pub fn base() -> Vec<Event> {
    let mut failed = Vec::new();
    // Whether there is a debugfs shows only when the mounts before it are there.
    let wanted = |&(_, target, _): &_| target != DEBUGFS.1 || Path::new(target).is_dir();
    let all = BASE.into_iter().chain([DEBUGFS]);
    for (fstype, target, options) in all.filter(wanted) {
        if let Err(error) = base_mount(fstype, target, options) {
            failed.push(Event::Mount {
                source: fstype.into(),
                target: target.into(),
                error: Some(format!("{error:#}")),
            });
        }
    }
    for (original, link) in LINKS {
        // There already when the kernel or an earlier stage made it.
        let _ = symlink(original, link);
    }
    if let Ok(name) = fs::read("/etc/hostname") {
        // For people only: the prompt and `uname -n`.
        let _ = rustix::system::sethostname(name.trim_ascii());
    }
    for dir in ["/var/tmp", "/var/lib", "/var/log", "/run/lock"] {
        let _ = fs::create_dir_all(dir);
    }
    failed
}

fn base_mount(fstype: &str, target: &str, options: &str) -> anyhow::Result<()> {
    if !Path::new(target).is_dir() {
        fs::create_dir_all(target).context("no mount point")?;
    }
    match mount_raw(fstype, target, fstype, MountFlags::empty(), options) {
        // The kernel itself mounts devtmpfs over a real root.
        Err(Errno::BUSY) => Ok(()),
        result => result.map_err(Into::into),
    }
}

/// Mounts the host's directory `dir` read-only at `target`.
pub fn hostfs(dir: &str, target: &str) -> anyhow::Result<()> {
    fs::create_dir_all(target).with_context(|| format!("cannot make {target}"))?;
    mount_raw("hostfs", target, "hostfs", MountFlags::RDONLY, dir)
        .with_context(|| format!("cannot mount the host's {dir} on {target}"))
}

/// Mounts what the command list asks for.
pub fn requested(entry: &MountEntry) -> anyhow::Result<()> {
    if !Path::new(&entry.target).is_dir() {
        fs::create_dir_all(&entry.target)
            .with_context(|| format!("cannot make {}", entry.target))?;
    }
    let flags = if entry.read_only {
        MountFlags::RDONLY
    } else {
        MountFlags::empty()
    };
    mount_raw(
        &entry.source,
        &entry.target,
        &entry.fstype,
        flags,
        &entry.options,
    )?;
    Ok(())
}

fn mount_raw(
    source: &str,
    target: &str,
    fstype: &str,
    flags: MountFlags,
    options: &str,
) -> rustix::io::Result<()> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount(source, target, fstype, flags, options.as_c_str())
}

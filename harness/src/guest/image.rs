// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's root directory: the agent as init, the tools, and every library that they load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::agent::Agent;
use super::cache::{Hashes, Key, publish, write_json};
use super::engine::{self, Engine};
use super::libaio::{self, Harness};
use super::paths::Paths;
use super::process::{command, output};
use super::selftests;
use crate::exit::Failure;
use crate::progress::Progress;

/// Raised when an image of the same parts would come out different.
const RECIPE: u32 = 2;

/// Programs from the packages; what else a shell user expects comes from busybox.
const PROGRAMS: [&str; 30] = [
    "bash",
    "blkdiscard",
    "blkid",
    "busybox",
    "chrt",
    "dash",
    "dumpe2fs",
    "e2fsck",
    "fallocate",
    "fio",
    "fsck.ext4",
    "fsck.gfs2",
    "fsfreeze",
    "losetup",
    "lsblk",
    "mke2fs",
    "mkfs.ext4",
    "mkfs.gfs2",
    "mkfs.xfs",
    "mount",
    "nvme",
    "resize2fs",
    "stress-ng",
    "taskset",
    "tune2fs",
    "umount",
    "xfs_db",
    "xfs_io",
    "xfs_repair",
    "xfs_spaceman",
];

/// Where programs are looked for, and so where they are in the guest.
const PROGRAM_DIRS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Programs of ours that are no binaries, and what they read: where they are in the checkout and in the
/// image.
const SCRIPTS: [(&str, &str); 2] = [
    (
        "guest-kernel/tools/kernel-is-clean",
        "usr/lib/hipri/kernel-is-clean",
    ),
    ("guest-kernel/tools/complaints", "usr/lib/hipri/complaints"),
];

/// Configuration that programs come with.
const FILES: [&str; 1] = ["/etc/mke2fs.conf"];

/// Terminals that the shell on the console can draw on, below [`TERMINFO`].
const TERMINALS: [&str; 11] = [
    "a/ansi",
    "d/dumb",
    "l/linux",
    "r/rxvt",
    "s/screen",
    "s/screen-256color",
    "t/tmux",
    "t/tmux-256color",
    "v/vt100",
    "x/xterm",
    "x/xterm-256color",
];

/// Where the distribution has the descriptions of the most common terminals.
const TERMINFO: &str = "/lib/terminfo";

/// Mount points; everything writable is mounted there by the agent.
const DIRS: [&str; 14] = [
    "dev",
    "etc",
    "mnt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr/bin",
    "usr/lib",
    "usr/lib64",
    "usr/sbin",
    "var",
];

/// Target and name.
const LINKS: [(&str, &str); 6] = [
    ("usr/bin", "bin"),
    ("usr/sbin", "sbin"),
    ("usr/lib", "lib"),
    ("usr/lib64", "lib64"),
    ("/proc/self/mounts", "etc/mtab"),
    // Not busybox, whose shell prefers its own applets to the real programs.
    ("dash", "usr/bin/sh"),
];

/// Path and content.
const TEXTS: [(&str, &str); 6] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\ndisk:x:6:\n"),
    ("etc/hostname", "hipri\n"),
    ("etc/fstab", ""),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
    ("etc/profile", "PS1='\\h:\\w\\$ '\n"),
];

/// What the image has besides the distribution's programs.
pub struct Parts<'a> {
    /// The init.
    pub agent: &'a Agent,
    /// For fio.
    pub engine: &'a Engine,
    /// The tests of the interface.
    pub selftests: &'a Path,
    /// Those of contexts as they have always been.
    pub libaio: &'a Harness,
}

/// The image's root directory, made if need be.
pub fn build(
    paths: &Paths,
    parts: &Parts<'_>,
    hashes: &mut Hashes,
    progress: &dyn Progress,
) -> anyhow::Result<PathBuf> {
    let contents = Contents::gather(paths, parts)?;
    let place = paths.images().join(contents.key(hashes)?);
    let root = place.join("root");
    if root.is_dir() {
        return Ok(root);
    }
    let step = progress.step("guest image");
    let scratch = paths.scratch("image")?;
    contents.write(&scratch.path().join("root"))?;
    write_json(&scratch.path().join("files.json"), &contents.files)?;
    remove_others(paths);
    publish(scratch, &place)?;
    step.done(&format!("{} files", contents.files.len()));
    Ok(root)
}

/// Whether the image that belongs to these parts is there.
pub fn find(
    paths: &Paths,
    parts: &Parts<'_>,
    hashes: &mut Hashes,
) -> anyhow::Result<Option<PathBuf>> {
    let key = Contents::gather(paths, parts)?.key(hashes)?;
    let root = paths.images().join(key).join("root");
    Ok(root.is_dir().then_some(root))
}

/// What the image consists of: paths in it (without the leading `/`) and where they come from.
struct Contents {
    files: BTreeMap<String, PathBuf>,
    applets: BTreeSet<String>,
}

impl Contents {
    fn gather(paths: &Paths, parts: &Parts<'_>) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        let mut loaded = Vec::new();
        for name in PROGRAMS {
            let path = PROGRAM_DIRS
                .iter()
                .map(|dir| Path::new(dir).join(name))
                .find(|path| path.is_file())
                .ok_or_else(|| {
                    Failure::infrastructure(format!("{name} is missing; run scripts/setup"))
                })?;
            files.insert(in_image(&path), path.clone());
            loaded.push(path);
        }
        loaded.push(parts.engine.path.clone());
        for library in libraries(&loaded)? {
            files.insert(in_image(&library), library);
        }
        let texts = FILES.map(PathBuf::from);
        for path in texts.iter().filter(|path| path.is_file()) {
            files.insert(path.display().to_string()[1..].to_owned(), path.clone());
        }
        let terminals = TERMINALS.map(|name| Path::new(TERMINFO).join(name));
        for path in terminals.iter().filter(|path| path.is_file()) {
            files.insert(in_image(path), path.clone());
        }
        let ours = [
            (engine::GUEST_PATH, &*parts.engine.path),
            ("/init", &*parts.agent.path),
        ];
        for (path, from) in ours {
            files.insert(path[1..].to_owned(), from.to_path_buf());
        }
        for name in selftests::NAMES {
            let path = format!("{}/{name}", &selftests::GUEST_DIR[1..]);
            files.insert(path, parts.selftests.join(name));
        }
        for (from, to) in SCRIPTS {
            files.insert(to.to_owned(), paths.root().join(from));
        }
        for (name, from) in &parts.libaio.files {
            let path = format!("{}/{name}", &libaio::GUEST_DIR[1..]);
            files.insert(path, from.clone());
        }
        let busybox = files
            .get("usr/bin/busybox")
            .or_else(|| files.get("usr/sbin/busybox"))
            .context("busybox is in an odd place")?;
        let applets = output(command(busybox).arg("--list"))?;
        Ok(Self {
            files,
            applets: applets.lines().map(str::to_owned).collect(),
        })
    }

    fn key(&self, hashes: &mut Hashes) -> anyhow::Result<String> {
        let mut key = Key::new("image", RECIPE);
        for (path, from) in &self.files {
            key = key.with(path, hashes.sha256(from)?);
        }
        for (path, text) in TEXTS {
            key = key.with(path, text);
        }
        Ok(key.finish())
    }

    fn write(&self, root: &Path) -> anyhow::Result<()> {
        let failed = || format!("cannot write the image {}", root.display());
        self.write_tree(root).with_context(failed)?;
        self.write_files(root)?;
        self.write_applets(root).with_context(failed)?;
        self.write_library_cache(root)
    }

    fn write_tree(&self, root: &Path) -> std::io::Result<()> {
        for dir in DIRS {
            fs::create_dir_all(root.join(dir))?;
        }
        for (target, name) in LINKS {
            symlink(target, root.join(name))?;
        }
        for (path, text) in TEXTS {
            fs::write(root.join(path), text)?;
        }
        Ok(())
    }

    fn write_files(&self, root: &Path) -> anyhow::Result<()> {
        for (path, from) in &self.files {
            let to = root.join(path);
            let copy = || -> std::io::Result<()> {
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::copy(from, &to)?;
                let executable = fs::metadata(from)?.permissions().mode() & 0o111 != 0;
                let mode = if executable { 0o755 } else { 0o644 };
                fs::set_permissions(&to, Permissions::from_mode(mode))
            };
            copy().with_context(|| format!("cannot copy {} into the image", from.display()))?;
        }
        Ok(())
    }

    /// busybox under every name that no real program has.
    fn write_applets(&self, root: &Path) -> std::io::Result<()> {
        for applet in &self.applets {
            let taken = ["usr/bin", "usr/sbin"]
                .iter()
                .any(|dir| root.join(dir).join(applet).symlink_metadata().is_ok());
            if !taken && !applet.contains('/') {
                symlink("busybox", root.join("usr/bin").join(applet))?;
            }
        }
        Ok(())
    }

    /// Spares the loader a search through directories, each step of which is a call to the host.
    fn write_library_cache(&self, root: &Path) -> anyhow::Result<()> {
        let dirs: BTreeSet<&Path> = self
            .files
            .keys()
            .filter(|path| path.starts_with("usr/lib") && path.contains(".so"))
            .filter_map(|path| Path::new(path).parent())
            .collect();
        let text: String = dirs
            .iter()
            .map(|dir| format!("/{}\n", dir.display()))
            .collect();
        fs::write(root.join("etc/ld.so.conf"), text).context("cannot write ld.so.conf")?;
        let ldconfig = PROGRAM_DIRS
            .iter()
            .map(|dir| Path::new(dir).join("ldconfig"))
            .find(|path| path.is_file())
            .unwrap_or_else(|| "ldconfig".into());
        output(command(ldconfig).args(["-X", "-r"]).arg(root)).map(drop)
    }
}

/// A host's path below the image's root, with the links of [`LINKS`] resolved.
fn in_image(path: &Path) -> String {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.starts_with("usr") {
        path.display().to_string()
    } else {
        format!("usr/{}", path.display())
    }
}

/// Everything that the dynamic loader would load for these files, itself included.
fn libraries(files: &[PathBuf]) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut libraries = BTreeSet::new();
    for file in files {
        let told = command("ldd")
            .arg(file)
            .output()
            .context("cannot run ldd")?;
        // It fails on a static program, which needs nothing.
        let text = String::from_utf8_lossy(&told.stdout);
        for line in text.lines() {
            match library(line) {
                Library::Found(path) => {
                    libraries.insert(path);
                }
                Library::Missing(name) => {
                    return Err(Failure::infrastructure(format!(
                        "{} needs {name}, which is not installed",
                        file.display()
                    ))
                    .into());
                }
                Library::None => {}
            }
        }
    }
    Ok(libraries)
}

#[derive(Debug, PartialEq, Eq)]
enum Library {
    Found(PathBuf),
    Missing(String),
    None,
}

/// Reads a line of ldd: `name => path (address)`, `path (address)`, `name => not found`.
fn library(line: &str) -> Library {
    let line = line.trim();
    let (name, place) = line.split_once(" => ").unwrap_or((line, line));
    if place.starts_with("not found") {
        return Library::Missing(name.to_owned());
    }
    match place.rsplit_once(" (") {
        Some((path, _)) if path.starts_with('/') => Library::Found(path.into()),
        _ => Library::None,
    }
}

/// Images are large and only the current one is used; one that a guest still runs on stays
/// readable there, for its files are open.
fn remove_others(paths: &Paths) {
    for entry in fs::read_dir(paths.images()).into_iter().flatten().flatten() {
        let old = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = old.is_ok_and(|old| old.elapsed().is_ok_and(|age| age.as_secs() > 24 * 3600));
        if is_old {
            // Only disk space depends on it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_lines_of_ldd_are_read() {
        let found = |path: &str| Library::Found(path.into());
        assert_eq!(library("\tlinux-vdso.so.1 (0x7ffc)"), Library::None);
        assert_eq!(
            library("\tlibm.so.6 => /lib/x/libm.so.6 (0x7f)"),
            found("/lib/x/libm.so.6")
        );
        assert_eq!(library("\t/lib64/ld.so.2 (0x7f)"), found("/lib64/ld.so.2"));
        assert_eq!(
            library("\tlibz.so => not found"),
            Library::Missing("libz.so".into())
        );
        assert_eq!(library("\tnot a dynamic executable"), Library::None);
        assert_eq!(library("\tstatically linked"), Library::None);
    }

    /// The exit code of `kernel-is-clean` for a log with this line in it.
    fn verdict(line: &str) -> Option<i32> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), format!("[    0.1] before\n{line}\nafter\n")).unwrap();
        let mut script = command("sh");
        script.arg(checkout.join(SCRIPTS[0].0)).arg(log.path());
        script.output().unwrap().status.code()
    }

    #[test]
    fn kernel_is_clean_complaints_are_found() {
        for line in [
            "[   12.3] BUG: KASAN: slab-use-after-free in aio_iopoll_pass+0x1/0x2",
            "BUG: KCSAN: data-race in a / b",
            "4,77,12,-;WARNING: possible circular locking dependency detected",
            "WARNING: CPU: 0 PID: 1 at fs/aio.c:1 f+0x1/0x2",
            "WARNING: suspicious RCU usage",
            "BUG: sleeping function called from invalid context at mm/x.c:1",
            "[ BUG: Invalid wait context ]",
            "BUG kmalloc-64 (Not tainted): Poison overwritten",
            "INFO: task aio_test:12 blocked for more than 30 seconds.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }",
            "kmemleak: Cannot allocate a kmemleak_object structure",
            "Oops: general protection fault, probably for non-canonical address",
            "UBSAN: array-index-out-of-bounds in fs/aio.c:1:2",
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "unreferenced object 0xffff888000000000 (size 64):",
            "pagealloc: memory corruption",
        ] {
            assert_eq!(verdict(line), Some(1), "{line}");
        }
    }

    #[test]
    fn kernel_is_clean_other_lines_are_left_alone() {
        for line in [
            "kasan: KernelAddressSanitizer initialized (generic)",
            "kcsan: enabled early",
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 15000)",
            "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
            "FAULT_INJECTION: forcing a failure.",
            "printk: DEBUG: nothing",
            "nvme nvme0: 1/0/1 default/read/poll queues",
        ] {
            assert_eq!(verdict(line), Some(0), "{line}");
        }
    }

    #[test]
    fn in_image_usr_is_merged() {
        assert_eq!(in_image(Path::new("/lib64/ld.so.2")), "usr/lib64/ld.so.2");
        assert_eq!(in_image(Path::new("/usr/bin/fio")), "usr/bin/fio");
    }
}

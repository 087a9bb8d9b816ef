// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The disk of the smoke test: a partition with an ext4 root so small that even a kernel that
//! executes one instruction a microsecond mounts it in no time.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::{Hashes, Key, publish, sha256_of};
use super::lock;
use super::paths::Paths;
use super::process::{command, output};
use crate::progress::Progress;

/// Length of the whole disk in bytes.
pub const SMOKE_DISK_SIZE: u64 = 8 << 20;

/// The root on [`smoke_disk`], for the kernel's command line. The disk is the first one.
pub const SMOKE_ROOT: &str = "root=/dev/nvme0n1p1 rootfstype=ext4 ro";

/// A file in the root, and what is in it.
pub const SMOKE_MARKER: (&str, &str) = ("hipri-smoke", "the smoke test's root\n");

/// What the root's `/init` prints where user space can run; it powers off next.
pub const SMOKE_WORDS: &str = "hipri-smoke: user space runs";

/// Raised when a disk of the same parts would come out different.
const RECIPE: u32 = 1;

/// Bytes in a sector, as the partition table counts.
const SECTOR: u64 = 512;
/// Where the partition begins, in bytes: where partitioning tools have it.
const PARTITION_AT: u64 = 1 << 20;
/// Partition type of Linux file systems.
const LINUX: u8 = 0x83;
/// Bytes in a block of the file system.
const BLOCK: u64 = 4096;
/// Of the file system, and of the hashes in its directories.
const UUIDS: [&str; 2] = [
    "68697072-692d-4d6f-8b65-000000000001",
    "68697072-692d-4d6f-8b65-000000000002",
];
/// Nothing that costs the kernel time to look at: no journal, no check sums.
const FEATURES: &str = "^has_journal,^metadata_csum,^64bit,^flex_bg,^dir_index,^resize_inode";

/// The disk as a raw file, made if need be. It must not be written to: boot a copy.
///
/// # Errors
/// Exit 3, when it cannot be made.
pub fn smoke_disk(paths: &Paths, progress: &dyn Progress) -> anyhow::Result<PathBuf> {
    let mut hashes = Hashes::load(paths);
    let place = paths.disks().join(key(paths, &mut hashes)?);
    let disk = place.join("smoke.img");
    if disk.is_file() {
        return Ok(disk);
    }
    let _lock = lock::take(paths, progress)?;
    let step = progress.step("smoke disk");
    let scratch = paths.scratch("disk")?;
    let root = scratch.path().join("root");
    populate(&root, &code(paths))?;
    let unfinished = scratch.path().join("smoke.img");
    write_table(&unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
    make_file_system(&unfinished, &root)?;
    fs::remove_dir_all(&root).context("cannot remove the smoke disk's root")?;
    let sha256 = sha256_of(&unfinished)?;
    publish(scratch, &place)?;
    step.done(&format!("sha256 {}", &sha256[..16]));
    Ok(disk)
}

fn key(paths: &Paths, hashes: &mut Hashes) -> anyhow::Result<String> {
    let compiler = output(command("gcc").arg("--version"))?;
    Ok(Key::new("smoke disk", RECIPE)
        .with("init", hashes.sha256(&code(paths))?)
        .with("compiler", compiler)
        .with("marker", SMOKE_MARKER.1)
        .finish())
}

fn code(paths: &Paths) -> PathBuf {
    paths.root().join("guest-kernel/test/smoke-init.c")
}

/// What will be in the file system.
fn populate(root: &Path, code: &Path) -> anyhow::Result<()> {
    let make = || -> std::io::Result<()> {
        // devtmpfs is mounted there by the kernel.
        fs::create_dir_all(root.join("dev"))?;
        fs::write(root.join(SMOKE_MARKER.0), SMOKE_MARKER.1)
    };
    make().with_context(|| format!("cannot write {}", root.display()))?;
    let init = root.join("init");
    output(
        command("gcc")
            .args(["-Wall", "-Os", "-static", "-nostdlib", "-ffreestanding"])
            .args(["-fno-pie", "-no-pie", "-fno-stack-protector"])
            .args(["-fno-asynchronous-unwind-tables", "-s"])
            .args(["-Wl,--build-id=none", "-Wl,-z,noseparate-code", "-o"])
            .arg(&init)
            .arg(code),
    )?;
    // Where kernels look for it on a disk.
    let sbin = root.join("sbin");
    fs::set_permissions(&init, Permissions::from_mode(0o755))
        .and_then(|()| fs::create_dir(&sbin))
        .and_then(|()| symlink("../init", sbin.join("init")))
        .with_context(|| format!("cannot write {}", init.display()))
}

/// An empty disk with a master boot record: one partition that reaches to the end.
fn write_table(disk: &Path) -> std::io::Result<()> {
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).map_err(std::io::Error::other);
    let mut record = [0; 512];
    record[440..444].copy_from_slice(b"hpri");
    let entry = &mut record[446..462];
    // Cylinders, heads and sectors have had no meaning for long: the largest values.
    entry[1..4].fill(0xff);
    entry[4] = LINUX;
    entry[5..8].fill(0xff);
    entry[8..12].copy_from_slice(&sectors(PARTITION_AT)?.to_le_bytes());
    entry[12..16].copy_from_slice(&sectors(SMOKE_DISK_SIZE - PARTITION_AT)?.to_le_bytes());
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut file = File::create(disk)?;
    file.write_all(&record)?;
    file.set_len(SMOKE_DISK_SIZE)
}

fn make_file_system(disk: &Path, root: &Path) -> anyhow::Result<()> {
    let [uuid, hash_seed] = UUIDS;
    let extended = format!(
        "offset={PARTITION_AT},hash_seed={hash_seed},lazy_itable_init=0,nodiscard,root_owner=0:0"
    );
    let mke2fs = ["/usr/sbin/mke2fs", "/sbin/mke2fs"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .unwrap_or("mke2fs");
    let blocks = (SMOKE_DISK_SIZE - PARTITION_AT) / BLOCK;
    output(
        command(mke2fs)
            .args(["-q", "-t", "ext4", "-m", "0", "-N", "64", "-I", "256"])
            .args(["-L", "hipri-smoke", "-U", uuid, "-O", FEATURES])
            .args(["-b", &BLOCK.to_string(), "-E", &extended, "-d"])
            .arg(root)
            .arg(disk)
            .arg(blocks.to_string())
            // It takes this for the time.
            .env("E2FSPROGS_FAKE_TIME", "1"),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn smoke_disk_has_a_partition_with_the_marker() {
        let checkout = tempfile::tempdir().unwrap();
        let test = checkout.path().join("guest-kernel/test");
        fs::create_dir_all(&test).unwrap();
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-kernel/test/smoke-init.c");
        fs::copy(own, test.join("smoke-init.c")).unwrap();
        let paths = Paths::new(checkout.path().to_path_buf());

        let disk = smoke_disk(&paths, &Silent).unwrap();
        assert_eq!(smoke_disk(&paths, &Silent).unwrap(), disk);

        let bytes = fs::read(&disk).unwrap();
        assert_eq!(bytes.len() as u64, SMOKE_DISK_SIZE);
        assert_eq!(bytes[454..458], 2048_u32.to_le_bytes());
        let debugfs = output(
            command("/usr/sbin/debugfs")
                .args(["-R", &format!("cat {}", SMOKE_MARKER.0)])
                .arg(format!("{}?offset={PARTITION_AT}", disk.display())),
        );
        assert_eq!(debugfs.unwrap(), SMOKE_MARKER.1);
        let words = SMOKE_WORDS.as_bytes();
        assert!(bytes.windows(words.len()).any(|part| part == words));
    }
}

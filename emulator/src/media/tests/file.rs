// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files: what survives, what is lost, what the host's errors become.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{flush, get, put, wait_flush};
use crate::media::{Backing, FlushStart, Media, MediaConfig, MediaError, open};

const MIB: u64 = 1 << 20;

struct Disk {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn disk(size: u64) -> Disk {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    File::create(&path).unwrap().set_len(size).unwrap();
    Disk {
        _directory: directory,
        path,
    }
}

fn open_at(path: &Path, sparse: bool, volatile_cache: bool) -> Box<dyn Media> {
    let size = path.metadata().unwrap().len();
    let path = path.to_owned();
    let mut config = MediaConfig::new(Backing::File { path, sparse }, size);
    config.volatile_cache = volatile_cache;
    open(&config).unwrap()
}

#[test]
fn write_survives_reopen() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, false);
    put(&mut *media, MIB - 512, &[5; 512]).unwrap();
    drop(media);
    let mut media = open_at(&disk.path, true, false);
    assert_eq!(get(&mut *media, MIB - 512, 512), [5; 512]);
}

#[test]
fn cached_write_dropped_without_flush_lost() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, true);
    put(&mut *media, 0, &[1; 4096]).unwrap();
    flush(&mut *media);
    put(&mut *media, 0, &[2; 4096]).unwrap();
    put(&mut *media, 8192, &[3; 4096]).unwrap();
    assert_eq!(get(&mut *media, 0, 4096), [2; 4096]);

    drop(media);

    let mut media = open_at(&disk.path, true, true);
    assert_eq!(get(&mut *media, 0, 4096), [1; 4096]);
    assert_eq!(get(&mut *media, 8192, 4096), [0; 4096]);
}

#[test]
fn cached_write_flushed_survives() {
    let disk = disk(8 * MIB);
    let mut media = open_at(&disk.path, true, true);
    let data: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    put(&mut *media, 512, &data).unwrap();
    flush(&mut *media);
    drop(media);
    let mut media = open_at(&disk.path, true, false);
    assert_eq!(get(&mut *media, 512, data.len()), data);
}

#[test]
fn cache_off_then_flush_writes_back_what_was_held() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, true);
    put(&mut *media, 0, &[1; 4096]).unwrap();
    media.set_volatile_cache(false);
    put(&mut *media, 512, &[2; 512]).unwrap();
    put(&mut *media, 8192, &[3; 512]).unwrap();
    flush(&mut *media);
    drop(media);
    let mut media = open_at(&disk.path, true, true);
    assert_eq!(get(&mut *media, 0, 512), [1; 512]);
    assert_eq!(get(&mut *media, 512, 512), [2; 512]);
    assert_eq!(get(&mut *media, 1024, 3072), [1; 3072]);
    assert_eq!(get(&mut *media, 8192, 512), [3; 512]);
}

#[test]
fn cache_off_write_survives_without_flush() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, true);
    media.set_volatile_cache(false);
    put(&mut *media, 0, &[1; 4096]).unwrap();
    drop(media);
    let mut media = open_at(&disk.path, true, true);
    assert_eq!(get(&mut *media, 0, 4096), [1; 4096]);
}

#[test]
fn flush_of_nothing_new_done_at_once() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, false);
    // What an earlier process wrote may not be stable.
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Pending);
    assert_eq!(wait_flush(&mut *media).0, 1);
    assert_eq!(media.start_flush(2).unwrap(), FlushStart::Done);
    put(&mut *media, 0, &[1; 512]).unwrap();
    assert_eq!(media.start_flush(3).unwrap(), FlushStart::Pending);
    assert_eq!(wait_flush(&mut *media).0, 3);
    assert_eq!(media.start_flush(4).unwrap(), FlushStart::Done);
    media.write_zeroes(0, 512, true).unwrap();
    assert_eq!(media.start_flush(5).unwrap(), FlushStart::Pending);
}

#[test]
fn many_flushes_each_end_once() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, false);
    let mut waiting = Vec::new();
    for ticket in 0..50 {
        put(&mut *media, ticket * 512, &[1; 512]).unwrap();
        if media.start_flush(ticket).unwrap() == FlushStart::Pending {
            waiting.push(ticket);
        }
    }
    let mut ended: Vec<_> = waiting
        .iter()
        .map(|_| {
            let (ticket, result) = wait_flush(&mut *media);
            result.unwrap();
            ticket
        })
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, waiting);
    assert!(media.poll_flush().is_none());
}

#[test]
fn dropped_with_flush_pending_does_not_hang() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, false);
    put(&mut *media, 0, &[1; 4096]).unwrap();
    let _ = media.start_flush(1).unwrap();
}

#[test]
fn power_cut_forgets_pending_flushes() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, true);
    put(&mut *media, 0, &[1; 100 * 4096]).unwrap();
    assert_eq!(media.start_flush(1).unwrap(), FlushStart::Pending);
    media.power_cut(1);
    assert!(media.poll_flush().is_none());
}

#[test]
fn deallocate_sparse_file_reads_zeros_and_gives_space_back() {
    let disk = disk(4 * MIB);
    let mut media = open_at(&disk.path, true, false);
    put(&mut *media, 0, &vec![0xAA; 4 << 20]).unwrap();
    let before = disk.path.metadata().unwrap().blocks();

    media.write_zeroes(MIB, 2 * MIB, true).unwrap();

    assert_eq!(get(&mut *media, MIB, 2 << 20), vec![0; 2 << 20]);
    assert_eq!(get(&mut *media, MIB - 512, 512), [0xAA; 512]);
    assert_eq!(get(&mut *media, 3 * MIB, 512), [0xAA; 512]);
    let after = disk.path.metadata().unwrap();
    assert_eq!(after.len(), 4 * MIB);
    assert!(after.blocks() < before, "no space was given back");
}

#[test]
fn deallocate_reserved_file_reads_zeros_and_keeps_space() {
    let disk = disk(4 * MIB);
    let mut media = open_at(&disk.path, false, false);
    put(&mut *media, 0, &vec![0xAA; 4 << 20]).unwrap();

    media.write_zeroes(MIB + 512, 2 * MIB, true).unwrap();

    assert_eq!(get(&mut *media, MIB + 512, 2 << 20), vec![0; 2 << 20]);
    assert_eq!(get(&mut *media, MIB, 512), [0xAA; 512]);
    assert!(disk.path.metadata().unwrap().blocks() * 512 >= 4 * MIB);
}

#[test]
fn write_zeroes_not_deallocating_reads_zeros() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, false);
    put(&mut *media, 0, &[0xAA; 8192]).unwrap();
    media.write_zeroes(512, 4096, false).unwrap();
    let data = get(&mut *media, 0, 8192);
    assert!(data[..512].iter().all(|&byte| byte == 0xAA));
    assert!(data[512..4608].iter().all(|&byte| byte == 0));
    assert!(data[4608..].iter().all(|&byte| byte == 0xAA));
}

#[test]
fn file_cut_short_under_us_read_error_not_fault() {
    let disk = disk(MIB);
    let mut media = open_at(&disk.path, true, false);
    File::options()
        .write(true)
        .open(&disk.path)
        .unwrap()
        .set_len(512)
        .unwrap();
    let mut data = [0; 4096];
    let into = vm_memory::VolatileSlice::from(data.as_mut_slice());
    assert!(matches!(media.read(0, &into), Err(MediaError::Read(_))));
}

/// A file system of 1 MiB, if this process may mount one.
fn tiny_tmpfs() -> Option<tempfile::TempDir> {
    let directory = tempfile::tempdir().unwrap();
    let mounted = rustix::mount::mount(
        "hipri-test",
        directory.path(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=1m"),
    );
    mounted.ok().map(|()| directory)
}

/// Unmounts even when the test fails.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        if let Err(error) = rustix::mount::unmount(self.0, flags) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

#[test]
fn disk_full_is_no_space_and_earlier_data_stays() {
    let Some(directory) = tiny_tmpfs() else {
        println!("skipped: may not mount a tmpfs");
        return;
    };
    let _unmount = Unmount(directory.path());
    let path = directory.path().join("disk");
    File::create(&path).unwrap().set_len(8 * MIB).unwrap();

    let reserved = MediaConfig::new(
        Backing::File {
            path: path.clone(),
            sparse: false,
        },
        8 * MIB,
    );
    let Err(refused) = open(&reserved) else {
        panic!("8 MiB cannot be reserved in 1 MiB");
    };
    assert!(refused.to_string().contains("has no room"), "{refused}");

    let mut media = open_at(&path, true, false);
    put(&mut *media, 0, &[1; 4096]).unwrap();
    let full = put(&mut *media, MIB, &vec![2; 2 << 20]);
    assert!(matches!(full, Err(MediaError::NoSpace)), "{full:?}");
    assert_eq!(get(&mut *media, 0, 4096), [1; 4096]);
    drop(media);

    // With the cache, it is the flush that finds the disk full.
    let mut media = open_at(&path, true, true);
    put(&mut *media, 4 * MIB, &vec![3; 2 << 20]).unwrap();
    let outcome = match media.start_flush(1) {
        Ok(FlushStart::Pending) => wait_flush(&mut *media).1,
        Ok(FlushStart::Done) => Ok(()),
        Err(error) => Err(error),
    };
    assert!(matches!(outcome, Err(MediaError::NoSpace)), "{outcome:?}");
    assert_eq!(get(&mut *media, 6 * MIB - 4096, 4096), [3; 4096]);
}

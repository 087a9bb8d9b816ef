// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What cannot be opened, and what the user is told.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::media::{Backing, MediaConfig, OpenError, open};

const MIB: u64 = 1 << 20;

fn config(path: &Path, size: u64) -> MediaConfig {
    let backing = Backing::File {
        path: path.to_owned(),
        sparse: true,
    };
    MediaConfig::new(backing, size)
}

fn refusal(config: &MediaConfig) -> OpenError {
    match open(config) {
        Ok(_) => panic!("must be refused"),
        Err(error) => error,
    }
}

fn file_of(directory: &tempfile::TempDir, name: &str, size: u64) -> PathBuf {
    let path = directory.path().join(name);
    File::create(&path).unwrap().set_len(size).unwrap();
    path
}

#[test]
fn missing_file_message_has_command() {
    let error = refusal(&config(Path::new("/nowhere/disk.img"), 1 << 30));
    assert_eq!(
        error.to_string(),
        "/nowhere/disk.img does not exist; make it with: truncate -s 1G /nowhere/disk.img"
    );
}

#[test]
fn file_too_short_message_has_both_sizes_and_command() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_of(&directory, "my disk", 1000);
    let error = refusal(&config(&path, 3 * MIB));
    let path = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "{path} has 1000 bytes, but the namespace's `size` is 3145728 bytes; change `size`, or \
             make the file fit with: truncate -s 3M '{path}'"
        )
    );
}

#[test]
fn file_too_long_message_warns_of_loss() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_of(&directory, "disk", 2 * MIB);
    let message = refusal(&config(&path, MIB + 512)).to_string();
    assert!(message.contains("2097152 bytes"), "{message}");
    assert!(message.contains("(what is beyond is lost)"), "{message}");
    assert!(message.contains("truncate -s 1049088 "), "{message}");
}

#[test]
fn directory_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = refusal(&config(directory.path(), MIB));
    assert!(matches!(error, OpenError::NotAFile(_)), "{error}");
}

#[test]
fn character_device_refused() {
    let error = refusal(&config(Path::new("/dev/null"), MIB));
    assert!(matches!(error, OpenError::NotAFile(_)), "{error}");
}

#[test]
fn file_in_use_refused_until_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_of(&directory, "disk", MIB);
    let first = open(&config(&path, MIB)).unwrap();
    let error = refusal(&config(&path, MIB));
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    drop(first);
    assert!(open(&config(&path, MIB)).is_ok());
}

#[test]
fn reserved_file_has_its_space() {
    use std::os::unix::fs::MetadataExt;

    let directory = tempfile::tempdir().unwrap();
    let path = file_of(&directory, "disk", MIB);
    let mut config = config(&path, MIB);
    config.backing = Backing::File {
        path: path.clone(),
        sparse: false,
    };
    match open(&config) {
        Ok(_) => assert!(path.metadata().unwrap().blocks() * 512 >= MIB),
        // The temporary directory's file system decides.
        Err(OpenError::CannotReserve { .. }) => println!("skipped: no fallocate here"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn more_than_the_disk_has_message_says_sparse() {
    let directory = tempfile::tempdir().unwrap();
    let size = 1 << 42;
    let path = directory.path().join("disk");
    if File::create(&path).unwrap().set_len(size).is_err() {
        println!("skipped: the file system has no files of {size} bytes");
        return;
    }
    let config = MediaConfig::new(
        Backing::File {
            path,
            sparse: false,
        },
        size,
    );
    let message = refusal(&config).to_string();
    assert!(message.contains("sparse = true"), "{message}");
}

#[test]
fn size_zero_and_bad_atomic_unit_refused() {
    assert!(matches!(
        refusal(&MediaConfig::new(Backing::Ram, 0)),
        OpenError::Empty
    ));
    for unit in [0, 1, 256, 3000, 128 * 1024] {
        let mut config = MediaConfig::new(Backing::Ram, MIB);
        config.atomic_unit = unit;
        assert!(matches!(refusal(&config), OpenError::AtomicUnit(found) if found == unit));
    }
}

#[test]
fn ram_larger_than_address_space_refused() {
    let error = refusal(&MediaConfig::new(Backing::Ram, 1 << 60));
    assert!(matches!(error, OpenError::Memory { .. }), "{error}");
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nothing acknowledged is lost: with the volatile write cache on, data that was flushed survives
//! a kill of the emulator, and data that was not is gone.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use rustix::process::Signal;

use crate::Test;
use crate::bench::{Place, Running, assert_code, hipri, kill, output};

pub const TESTS: &[Test] = &[
    ("flushed_data_survives_kill_and_unflushed_does_not", cached),
    ("file_media_survive_a_restart", restart),
];

const BLOCK: usize = 4096;

fn device(place: &Place, cache: bool) -> (String, std::path::PathBuf) {
    let disk = place.work.path().join("disk");
    let file = fs::File::create(&disk).expect("a file");
    file.set_len(64 << 20).expect("its size");
    let path = place.work.path().join("device.toml");
    let text = format!(
        "[controller]\nvolatile_write_cache = {cache}\n\
         [[namespace]]\nmedia = \"file\"\npath = {disk:?}\nsize = \"64MiB\"\n"
    );
    fs::write(&path, text).expect("a device file");
    (path.display().to_string(), disk)
}

/// Block 0 is written and flushed, block 1 only written; then the emulator is killed.
fn cached() {
    let place = Place::new();
    let (device, disk) = device(&place, true);
    let script = "set -e
        tr '\\0' A < /dev/zero | head -c 4096 > /tmp/a
        tr '\\0' B < /dev/zero | head -c 4096 > /tmp/b
        dd if=/tmp/a of=/dev/nvme0n1 bs=4096 count=1 oflag=direct conv=fsync,notrunc
        dd if=/tmp/b of=/dev/nvme0n1 bs=4096 count=1 seek=1 oflag=direct conv=notrunc
        dd if=/dev/nvme0n1 bs=4096 count=1 skip=1 iflag=direct | cmp - /tmp/b
        echo up
        sleep 600";
    let mut command = hipri(&place);
    command
        .args([
            "launch",
            "--profile",
            "floor",
            "--device",
            &device,
            "--",
            script,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut run = Running(command.spawn().expect("hipri starts"));
    let mut line = [0_u8; 3];
    let stdout = run.0.stdout.as_mut().expect("a pipe");
    stdout.read_exact(&mut line).expect("the guest has written");
    kill(
        place.process("serve vhost-user").expect("the emulator"),
        Signal::KILL,
    );
    assert_eq!(run.wait(), Some(3));

    let data = fs::read(&disk).expect("the disk");
    assert!(
        data[..BLOCK].iter().all(|&byte| byte == b'A'),
        "flushed data is lost"
    );
    let second = &data[BLOCK..2 * BLOCK];
    assert!(
        second.iter().all(|&byte| byte == 0),
        "unflushed data reached the file"
    );
    place.assert_clean();
}

fn restart() {
    let place = Place::new();
    let (device, _) = device(&place, false);
    let launch =
        |script: &str| output(hipri(&place).args(["launch", "--device", &device, "--", script]));
    let write = launch("echo kept | dd of=/dev/nvme0n1 bs=512 count=1 conv=sync,fsync");
    assert_code(&write, 0);
    let read = launch("dd if=/dev/nvme0n1 bs=512 count=1 | head -c 5");
    assert_code(&read, 0);
    assert_eq!(String::from_utf8_lossy(&read.stdout), "kept\n");
}

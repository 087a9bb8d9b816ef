// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bad input that shows only when a device or a guest starts.

use std::fs;
use std::process::Output;

use crate::Test;
use crate::bench::{Place, assert_code, hipri, output};

pub const TESTS: &[Test] = &[
    ("namespace_file_of_wrong_size_is_refused", wrong_size),
    ("namespace_file_that_is_missing_is_refused", missing_file),
    ("tmpfs_without_room_is_refused", no_room),
    ("stale_run_directory_is_removed", stale),
    ("share_is_seen_in_the_guest", share),
];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn device(place: &Place, size: &str) -> String {
    let path = place.work.path().join("device.toml");
    let file = place.work.path().join("disk");
    let text = format!(
        "[controller]\n[[namespace]]\nmedia = \"file\"\npath = {file:?}\nsize = \"{size}\"\n"
    );
    fs::write(&path, text).expect("a device file");
    path.display().to_string()
}

fn wrong_size() {
    let place = Place::new();
    let device = device(&place, "64MiB");
    let disk = fs::File::create(place.work.path().join("disk")).expect("a file");
    disk.set_len(4096).expect("its size");
    let run = output(hipri(&place).args(["launch", "--device", &device, "--", "true"]));
    assert_code(&run, 2);
    let said = said(&run);
    assert!(said.contains("4096") && said.contains("67108864"), "{said}");
    place.assert_clean();
}

fn missing_file() {
    let place = Place::new();
    let device = device(&place, "64MiB");
    let run = output(hipri(&place).args(["launch", "--device", &device, "--", "true"]));
    assert_code(&run, 2);
    assert!(said(&run).contains("disk"), "{}", said(&run));
    place.assert_clean();
}

fn no_room() {
    let place = Place::new();
    let run = output(hipri(&place).args(["launch", "--mem", "1000G", "--", "true"]));
    assert_code(&run, 3);
    let said = said(&run);
    assert!(
        said.contains("--mem") && said.trim_end().lines().count() == 1,
        "{said}"
    );
}

fn stale() {
    let place = Place::new();
    let dead = place.shared.path().join("hipri-run-dead");
    fs::create_dir(&dead).expect("a directory");
    fs::write(dead.join("lock"), "").expect("its lock");
    let run = output(hipri(&place).args(["launch", "--", "true"]));
    assert_code(&run, 0);
    place.assert_clean();
}

fn share() {
    let place = Place::new();
    fs::write(place.work.path().join("note"), "from the host").expect("a file");
    let run = output(
        hipri(&place)
            .args(["launch", "--share"])
            .arg(place.work.path())
            .args(["--", "cat /mnt/share/note; echo back > /mnt/share/answer"]),
    );
    assert_code(&run, 0);
    assert_eq!(String::from_utf8_lossy(&run.stdout), "from the host");
    let answer = fs::read_to_string(place.work.path().join("answer"));
    assert_eq!(answer.expect("the guest's file"), "back\n");
}

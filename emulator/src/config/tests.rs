// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;

fn parse(text: &str) -> Result<DeviceConfig, ConfigError> {
    DeviceConfig::parse(text, "test.toml", Path::new("/folder"))
}

fn message(text: &str) -> String {
    parse(text).expect_err("it must be refused").to_string()
}

#[test]
fn default_device_is_valid() {
    let device = parse(DEFAULT_DEVICE).expect("the built-in device");

    assert_eq!(device.controller().queue_pairs, 64);
    assert_eq!(device.controller().vectors, 65);
    assert_eq!(device.namespaces.len(), 1);
    assert_eq!(device.namespaces[0].0.size, 4 << 30);
}

#[test]
fn unknown_key_names_file_line_and_key() {
    let message = message("[controller]\nqueue_paris = 3\n");

    assert!(message.contains("test.toml, line 2"), "{message}");
    assert!(message.contains("queue_paris"), "{message}");
}

#[test]
fn unknown_unit_says_what_is_allowed() {
    let message = message("[[namespace]]\nmedia = \"ram\"\nsize = \"4GB\"\n");

    assert!(message.contains("line 3"), "{message}");
    assert!(message.contains("GiB"), "{message}");
}

#[test]
fn size_with_unit_is_multiplied() {
    assert_eq!("3MiB".parse(), Ok(Bytes(3 << 20)));
    assert_eq!("512 B".parse(), Ok(Bytes(512)));
    assert_eq!("7".parse(), Ok(Bytes(7)));
}

#[test]
fn size_beyond_64_bits_is_refused() {
    assert!("99999999TiB".parse::<Bytes>().is_err());
    assert!("".parse::<Bytes>().is_err());
    assert!("-1".parse::<Bytes>().is_err());
}

#[test]
fn no_namespace_is_refused() {
    assert!(message("[controller]\n").contains("[[namespace]]"));
}

#[test]
fn size_not_multiple_of_lba_is_refused() {
    let message = message("[[namespace]]\nmedia = \"ram\"\nsize = 5000\nlba = 4096\n");

    assert!(message.contains("namespace 1"), "{message}");
    assert!(message.contains("5000"), "{message}");
}

#[test]
fn relative_path_starts_at_the_files_folder() {
    let device = parse("[[namespace]]\nmedia = \"file\"\npath = \"disk\"\nsize = \"1MiB\"\n")
        .expect("a file namespace");

    let expected = Backing::File {
        path: "/folder/disk".into(),
        sparse: false,
    };
    assert_eq!(device.namespaces[0].0.backing, expected);
}

#[test]
fn key_of_another_medium_is_refused() {
    let message = message("[[namespace]]\nmedia = \"ram\"\npath = \"x\"\nsize = 4096\n");

    assert!(message.contains("only for media = \"file\""), "{message}");
}

#[test]
fn too_many_queue_pairs_are_refused() {
    let message =
        message("[controller]\nqueue_pairs = 256\n[[namespace]]\nmedia = \"ram\"\nsize = 4096\n");

    assert!(message.contains("queue_pairs = 256"), "{message}");
    assert!(message.contains("1 to 255"), "{message}");
}

#[test]
fn transfer_that_is_no_power_of_two_is_refused() {
    let message =
        message("[controller]\nmdts = \"5KiB\"\n[[namespace]]\nmedia = \"ram\"\nsize = 4096\n");

    assert!(message.contains("power of two"), "{message}");
}

#[test]
fn unknown_device_name_says_where_it_was_looked_for() {
    let message = DeviceConfig::load("no-such-device")
        .expect_err("there is none")
        .to_string();

    assert!(message.contains("devices/no-such-device.toml"), "{message}");
    assert!(message.contains("HIPRI_CONFIGS"), "{message}");
}

#[test]
fn missing_media_file_names_namespace() {
    let device = parse("[[namespace]]\nmedia = \"file\"\npath = \"none\"\nsize = \"1MiB\"\n")
        .expect("valid");

    let message = device.open().err().expect("no such file").to_string();

    assert!(message.contains("namespace 1"), "{message}");
    assert!(message.contains("/folder/none"), "{message}");
}

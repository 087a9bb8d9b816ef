// SPDX-License-Identifier: Apache-2.0 OR MIT
use std::fs::File;
use std::os::fd::OwnedFd;

use proptest::prelude::*;
use zerocopy::native_endian::U32;

use crate::frontend::vhost_user::message::{Header, MAX_PAYLOAD, MessageError, Request};

fn fds(count: usize) -> Vec<OwnedFd> {
    (0..count)
        .map(|_| File::open("/dev/null").expect("always there").into())
        .collect()
}

fn header(flags: u32, size: u32) -> Header {
    Header {
        request: U32::new(1),
        flags: U32::new(flags),
        size: U32::new(size),
    }
}

#[test]
fn header_version_1_request_is_accepted() {
    assert_eq!(header(1, 8).check(), Ok(8));
    assert!(!header(1, 8).needs_reply());
    assert!(header(1 | 8, 8).needs_reply());
}

#[test]
fn header_other_version_or_reply_is_refused() {
    for flags in [0, 2, 3, 1 | 4] {
        assert_eq!(header(flags, 8).check(), Err(MessageError::Flags(flags)));
    }
}

#[test]
fn header_longer_than_any_request_is_refused() {
    let longest = u32::try_from(MAX_PAYLOAD).expect("small");

    assert_eq!(header(1, longest).check(), Ok(MAX_PAYLOAD));
    assert!(header(1, longest + 1).check().is_err());
    assert!(header(1, u32::MAX).check().is_err());
}

#[test]
fn memory_table_of_72_bytes_for_one_region_is_accepted() {
    let mut payload = vec![0; 72];
    payload[0] = 1;

    let request = Request::parse(5, &payload, fds(1));

    assert!(matches!(request, Ok(Request::SetMemTable(table)) if table.len() == 1));
}

#[test]
fn memory_table_without_its_regions_or_files_is_refused() {
    let table = |count: u8, length: usize| {
        let mut payload = vec![0; length];
        payload[0] = count;
        payload
    };

    assert!(Request::parse(5, &table(0, 72), fds(0)).is_err());
    assert!(Request::parse(5, &table(9, MAX_PAYLOAD), fds(9)).is_err());
    assert!(Request::parse(5, &table(2, 71), fds(2)).is_err());
    assert!(Request::parse(5, &table(1, 72), fds(0)).is_err());
    assert!(Request::parse(5, &table(1, 72), fds(2)).is_err());
    assert!(Request::parse(5, &[1, 0, 0], fds(1)).is_err());
}

#[test]
fn vring_fd_follows_its_no_fd_bit() {
    let with = Request::parse(12, &1_u64.to_ne_bytes(), fds(1));
    assert!(matches!(with, Ok(Request::SetVringKick(1, Some(_)))));
    let without = Request::parse(12, &0x101_u64.to_ne_bytes(), fds(0));
    assert!(matches!(without, Ok(Request::SetVringKick(1, None))));
    assert!(Request::parse(12, &1_u64.to_ne_bytes(), fds(0)).is_err());
    assert!(Request::parse(12, &0x101_u64.to_ne_bytes(), fds(1)).is_err());
}

#[test]
fn request_with_unexpected_file_is_refused() {
    let result = Request::parse(3, &[], fds(1)).map(|_| ());

    assert_eq!(
        result,
        Err(MessageError::Descriptors {
            request: 3,
            expected: 0,
            found: 1
        })
    );
}

#[test]
fn request_that_nobody_knows_is_refused() {
    let result = Request::parse(36, &[0; 8], Vec::new()).map(|_| ());

    assert_eq!(result, Err(MessageError::Unknown(36)));
}

proptest! {
    #[test]
    fn any_payload_is_safe(
        code in 0_u32..64,
        payload in prop::collection::vec(any::<u8>(), 0..MAX_PAYLOAD),
        files in 0_usize..4,
    ) {
        let _ = Request::parse(code, &payload, fds(files));
    }
}

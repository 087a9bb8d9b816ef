// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's counters, read in-band by Get Log Page. The page is not looked into further than
//! its length: the harness knows what it means.

use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::{Context, bail, ensure};
use hipri_agent::{COUNTERS_LOG_PAGE, CounterSample, Page};

/// Bytes of the page's head that are read first.
const HEAD: usize = 64;
/// Where the head holds its own length, a record's length and the number of records, each as a
/// little-endian 32-bit number.
const LENGTHS_AT: [usize; 3] = [12, 16, 20];
/// Bytes in one command: one record, within what every controller transfers.
const TRANSFER: usize = 4096;
/// Get Log Page (NVMe Base 2.0c, figure 138).
const GET_LOG_PAGE: u8 = 0x02;
/// The log page is the controller's, not a namespace's.
const NSID_ALL: u32 = u32::MAX;

/// `struct nvme_passthru_cmd` of `linux/nvme_ioctl.h`.
#[repr(C)]
#[derive(Default)]
struct PassthruCmd {
    opcode: u8,
    flags: u8,
    rsvd1: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

const _: () = assert!(size_of::<PassthruCmd>() == 72);

/// `_IOWR('N', 0x41, struct nvme_passthru_cmd)`.
const NVME_IOCTL_ADMIN_CMD: libc::Ioctl = 0xC048_4E41;

/// Reads the counters of the controller `device`.
pub fn sample(device: &str) -> CounterSample {
    match read_page(device) {
        Ok(page) => CounterSample::Page(Page::from_bytes(&page)),
        Err(error) => CounterSample::Error(format!("{error:#}")),
    }
}

fn read_page(device: &str) -> anyhow::Result<Vec<u8>> {
    let controller = File::open(device).with_context(|| format!("cannot open {device}"))?;
    let mut head = [0; HEAD];
    get_log_page(&controller, 0, &mut head)?;
    let length = page_length(&head)?;
    let mut page = vec![0; length];
    for (index, piece) in page.chunks_mut(TRANSFER).enumerate() {
        get_log_page(&controller, index * TRANSFER, piece)?;
    }
    Ok(page)
}

fn page_length(head: &[u8; HEAD]) -> anyhow::Result<usize> {
    let field = |at: usize| {
        let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        usize::try_from(u32::from_le_bytes(bytes))
    };
    let [header, record, records] = LENGTHS_AT.map(field);
    let length = record?
        .checked_mul(records?)
        .and_then(|bytes| bytes.checked_add(header.ok()?))
        .unwrap_or(usize::MAX);
    ensure!(
        (HEAD..=Page::MAX_LENGTH).contains(&length) && length.is_multiple_of(4),
        "the counter page claims a length of {length} bytes"
    );
    Ok(length)
}

fn get_log_page(controller: &File, offset: usize, data: &mut [u8]) -> anyhow::Result<()> {
    let dwords = u32::try_from(data.len() / 4)? - 1;
    let mut command = PassthruCmd {
        opcode: GET_LOG_PAGE,
        nsid: NSID_ALL,
        addr: data.as_mut_ptr().expose_provenance() as u64,
        data_len: u32::try_from(data.len())?,
        cdw10: (dwords & 0xffff) << 16 | u32::from(COUNTERS_LOG_PAGE),
        cdw11: dwords >> 16,
        cdw12: u32::try_from(offset)?,
        ..PassthruCmd::default()
    };
    // SAFETY: `command` has the layout that this request of the NVMe driver expects, and `addr`
    // and `data_len` name memory that `data` borrows exclusively for the whole call.
    let status = unsafe {
        libc::ioctl(
            controller.as_raw_fd(),
            NVME_IOCTL_ADMIN_CMD,
            std::ptr::from_mut(&mut command),
        )
    };
    match status {
        0 => Ok(()),
        -1 => Err(std::io::Error::last_os_error()).context("Get Log Page C0h failed"),
        status => bail!("the controller refused Get Log Page C0h with status {status:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lengths: [u32; 3]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        for (at, length) in LENGTHS_AT.into_iter().zip(lengths) {
            head[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
        head
    }

    #[test]
    fn page_length_plausible_is_taken() {
        assert_eq!(page_length(&head([4096, 4096, 65])).unwrap(), 66 * 4096);
    }

    #[test]
    fn page_length_absurd_is_refused() {
        for lengths in [[0, 0, 0], [63, 0, 0], [4096, 1, 1], [u32::MAX; 3]] {
            assert!(page_length(&head(lengths)).is_err(), "{lengths:?}");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's counters, read in-band by Get Log Page. The page is not looked into further than
//! its length: the harness knows what it means.

use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::{Context, bail, ensure};
use hipri_agent::{Bytes, COUNTERS_LOG_PAGE, CounterSample};

/// Bytes of the page's head that are read first.
const HEAD: usize = 16;
/// Where the head holds the page's length in bytes, as a little-endian 32-bit number.
const LENGTH_AT: usize = 4;
/// Longest page that is believed.
const MAX_PAGE: usize = 1 << 20;
/// Most bytes in one command, within what every controller transfers.
const MAX_TRANSFER: usize = 128 << 10;
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
        Ok(page) => CounterSample::Page(Bytes(page).to_hex()),
        Err(error) => CounterSample::Error(format!("{error:#}")),
    }
}

fn read_page(device: &str) -> anyhow::Result<Vec<u8>> {
    let controller = File::open(device).with_context(|| format!("cannot open {device}"))?;
    let mut head = [0; HEAD];
    get_log_page(&controller, 0, &mut head)?;
    let length = page_length(&head)?;
    let mut page = vec![0; length];
    for (index, piece) in page.chunks_mut(MAX_TRANSFER).enumerate() {
        get_log_page(&controller, index * MAX_TRANSFER, piece)?;
    }
    Ok(page)
}

fn page_length(head: &[u8; HEAD]) -> anyhow::Result<usize> {
    let field = head[LENGTH_AT..LENGTH_AT + 4].try_into()?;
    let length = usize::try_from(u32::from_le_bytes(field))?;
    ensure!(
        (HEAD..=MAX_PAGE).contains(&length) && length.is_multiple_of(4),
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

    fn head(length: u32) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
        head
    }

    #[test]
    fn page_length_plausible_is_taken() {
        assert_eq!(page_length(&head(4096)).unwrap(), 4096);
    }

    #[test]
    fn page_length_absurd_is_refused() {
        for length in [0, 12, 4097, u32::MAX] {
            assert!(page_length(&head(length)).is_err(), "{length}");
        }
    }
}

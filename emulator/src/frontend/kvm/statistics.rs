// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What KVM itself counts of a vCPU (Documentation/virt/kvm/api.rst, 4.134 KVM_GET_STATS_FD): a
//! second opinion on the exits that we count. KVM's figure includes those that it deals with alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use kvm_ioctls::VcpuFd;
use zerocopy::byteorder::native_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `_IO(KVMIO, 0xce)`.
const KVM_GET_STATS_FD: libc::c_ulong = 0xAECE;
/// More statistics than any kernel has: what claims more is not what we know.
const MOST_STATISTICS: u32 = 4096;
/// Name of the statistic.
const EXITS: &[u8] = b"exits";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    flags: U32,
    name_size: U32,
    descriptors: U32,
    id_offset: U32,
    descriptors_offset: U32,
    data_offset: U32,
}

/// A descriptor without its name, which follows.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Descriptor {
    flags: U32,
    exponent: U16,
    size: U16,
    offset: U32,
    bucket_size: U32,
}

/// KVM's own count of a vCPU's exits. It can be read while the vCPU runs.
pub struct KvmExits {
    file: File,
    offset: u64,
}

impl KvmExits {
    /// Finds the count of `vcpu`. `None` where this KVM does not count.
    pub fn of(vcpu: &VcpuFd) -> Option<Self> {
        // SAFETY: the ioctl takes no argument and returns a new descriptor or -1.
        let fd = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_STATS_FD) };
        if fd < 0 {
            return None;
        }
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        match find(&file) {
            Ok(offset) => Some(Self {
                file,
                offset: offset?,
            }),
            Err(error) => {
                log::debug!("KVM's statistics cannot be read: {error}");
                None
            }
        }
    }

    /// Exits so far.
    ///
    /// # Errors
    /// When the host refuses to tell.
    pub fn read(&self) -> io::Result<u64> {
        let mut value = U64::new(0);
        self.file.read_exact_at(value.as_mut_bytes(), self.offset)?;
        Ok(value.get())
    }
}

/// Where the count lies in the file.
fn find(file: &File) -> io::Result<Option<u64>> {
    let mut header = [0; size_of::<Header>()];
    file.read_exact_at(&mut header, 0)?;
    let header: Header = zerocopy::transmute!(header);
    let name_size = header.name_size.get() as usize;
    let step = size_of::<Descriptor>() + name_size;
    let mut entry = vec![0; step];
    let places = (u64::from(header.descriptors_offset.get())..).step_by(step);
    for place in places.take(header.descriptors.get().min(MOST_STATISTICS) as usize) {
        file.read_exact_at(&mut entry, place)?;
        let Ok((descriptor, name)) = Descriptor::ref_from_prefix(&entry) else {
            return Ok(None);
        };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name == EXITS && descriptor.size.get() == 1 {
            let data = u64::from(header.data_offset.get());
            return Ok(Some(data + u64::from(descriptor.offset.get())));
        }
    }
    Ok(None)
}

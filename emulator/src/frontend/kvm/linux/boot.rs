// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Puts a kernel, its initial RAM disk and its command line into guest memory, and says how the
//! first processor starts: by PVH (`vmlinux` with the note), or by the 64-bit protocol of
//! Documentation/arch/x86/boot.rst (bzImage, and `vmlinux` without the note).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use linux_loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::{BzImage, Elf, KernelLoader, KernelLoaderResult};
use linux_loader::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryMmap};

use super::layout::{
    COMMAND_LINE, COMMAND_LINE_SIZE, HIGH_RAM, MEMORY_MAP, MODULES, START_INFO, ZERO_PAGE,
    memory_map,
};
use crate::frontend::kvm::memory::GAP_START;

const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
const BZIMAGE_MAGIC: [u8; 4] = *b"HdrS";
const BZIMAGE_MAGIC_OFFSET: u64 = 0x202;
/// XLF_KERNEL_64: the kernel has a 64-bit entry point, 0x200 bytes from its start.
const XLF_KERNEL_64: u16 = 1;
const ENTRY_64_OFFSET: u64 = 0x200;
const START_INFO_MAGIC: u32 = 0x336E_C578;
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
/// Boot loader identifier "undefined".
const LOADER_UNDEFINED: u8 = 0xFF;
/// Where RAM disks must end when the kernel does not say.
const DEFAULT_INITRD_MAX: u64 = 0x37FF_FFFF;
const PAGE: u64 = 4096;

/// What is booted.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// `vmlinux` or bzImage.
    pub kernel: PathBuf,
    /// Initial RAM disks, laid one behind the other, each from a multiple of 4 bytes on.
    pub initrds: Vec<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
}

/// How the first processor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// 32-bit, at this address, with the start information's address in EBX.
    Pvh(u64),
    /// 64-bit, at this address, with the boot parameters' address in RSI.
    Long(u64),
}

/// What cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no kernel for this machine.
    #[error(
        "{path}: is no kernel that can be booted: {reason}; give a vmlinux or bzImage for x86-64"
    )]
    NoKernel {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The command line is too long.
    #[error("the kernel's command line has {length} bytes; it may have {}", COMMAND_LINE_SIZE - 1)]
    CommandLine {
        /// Its length.
        length: usize,
    },
    /// Memory is too small.
    #[error("{what} needs {needed} MiB, the guest has {have} MiB: give it more memory")]
    Room {
        /// What does not fit.
        what: &'static str,
        /// MiB needed.
        needed: u64,
        /// MiB there.
        have: u64,
    },
    /// Guest memory cannot be written.
    #[error("guest memory: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

/// Loads everything. `bytes` is the size of guest RAM, `rsdp` where the ACPI tables begin.
///
/// # Errors
/// See [`BootError`].
pub fn load(
    memory: &GuestMemoryMmap,
    bytes: u64,
    rsdp: u64,
    options: &BootOptions,
) -> Result<Entry, BootError> {
    write_command_line(memory, &options.command_line)?;
    let (entry, loaded) = load_kernel(memory, &options.kernel)?;
    let limit = loaded.setup_header.map_or(DEFAULT_INITRD_MAX, |header| {
        u64::from(header.initrd_addr_max)
    });
    let initrd = load_initrds(memory, bytes, loaded.kernel_end, limit, &options.initrds)?;
    match entry {
        Entry::Pvh(_) => write_start_info(memory, bytes, rsdp, initrd)?,
        Entry::Long(_) => write_zero_page(memory, bytes, rsdp, initrd, loaded.setup_header)?,
    }
    Ok(entry)
}

fn write_command_line(memory: &GuestMemoryMmap, line: &str) -> Result<(), BootError> {
    let length = line.len();
    if length >= COMMAND_LINE_SIZE {
        return Err(BootError::CommandLine { length });
    }
    memory.write_slice(line.as_bytes(), GuestAddress(COMMAND_LINE))?;
    memory.write_slice(&[0], GuestAddress(COMMAND_LINE + length as u64))?;
    Ok(())
}

fn load_kernel(
    memory: &GuestMemoryMmap,
    path: &Path,
) -> Result<(Entry, KernelLoaderResult), BootError> {
    let no_kernel = |reason: String| BootError::NoKernel {
        path: path.to_owned(),
        reason,
    };
    let mut file = open(path)?;
    if magic(&mut file, 0) == Some(ELF_MAGIC) {
        let loaded = Elf::load(memory, None, &mut file, Some(GuestAddress(HIGH_RAM)))
            .map_err(|error| no_kernel(error.to_string()))?;
        let entry = match loaded.pvh_boot_cap {
            PvhBootCapability::PvhEntryPresent(entry) => Entry::Pvh(entry.0),
            _ => Entry::Long(loaded.kernel_load.0),
        };
        return Ok((entry, loaded));
    }
    if magic(&mut file, BZIMAGE_MAGIC_OFFSET) != Some(BZIMAGE_MAGIC) {
        return Err(no_kernel("it is neither an ELF file nor a bzImage".into()));
    }
    let loaded = BzImage::load(memory, None, &mut file, Some(GuestAddress(HIGH_RAM)))
        .map_err(|error| no_kernel(error.to_string()))?;
    let flags = loaded.setup_header.map_or(0, |header| header.xloadflags);
    if flags & XLF_KERNEL_64 == 0 {
        return Err(no_kernel("it has no 64-bit entry point".into()));
    }
    Ok((Entry::Long(loaded.kernel_load.0 + ENTRY_64_OFFSET), loaded))
}

fn open(path: &Path) -> Result<File, BootError> {
    File::open(path).map_err(|source| BootError::Read {
        path: path.to_owned(),
        source,
    })
}

fn magic(file: &mut File, offset: u64) -> Option<[u8; 4]> {
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Address and length of all RAM disks together.
#[derive(Clone, Copy, Debug, Default)]
struct Initrd {
    start: u64,
    length: u64,
}

fn load_initrds(
    memory: &GuestMemoryMmap,
    bytes: u64,
    kernel_end: u64,
    limit: u64,
    paths: &[PathBuf],
) -> Result<Initrd, BootError> {
    let mut disks = Vec::new();
    let mut length = 0;
    for path in paths {
        let file = open(path)?;
        let size = file.metadata().map(|metadata| metadata.len());
        let size = size.map_err(|source| BootError::Read {
            path: path.clone(),
            source,
        })?;
        disks.push((path, file, length, size));
        // Archives behind one another begin at multiples of 4 bytes.
        length = (length + size).next_multiple_of(4);
    }
    if disks.is_empty() {
        return Ok(Initrd::default());
    }
    let top = bytes.min(GAP_START).min(limit.saturating_add(1));
    let start = top.saturating_sub(length) & !(PAGE - 1);
    if start < kernel_end.max(HIGH_RAM) || length > top {
        return Err(BootError::Room {
            what: "the kernel with its initial RAM disk",
            needed: (kernel_end + length).div_ceil(1 << 20),
            have: bytes >> 20,
        });
    }
    for (path, mut file, offset, size) in disks {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        memory
            .read_exact_volatile_from(GuestAddress(start + offset), &mut file, size)
            .map_err(|error| BootError::Read {
                path: path.clone(),
                source: std::io::Error::other(error),
            })?;
    }
    Ok(Initrd { start, length })
}

fn write_start_info(
    memory: &GuestMemoryMmap,
    bytes: u64,
    rsdp: u64,
    initrd: Initrd,
) -> Result<(), BootError> {
    let map: Vec<_> = memory_map(bytes)
        .into_iter()
        .map(|entry| hvm_memmap_table_entry {
            addr: entry.start,
            size: entry.length,
            type_: if entry.ram { E820_RAM } else { E820_RESERVED },
            reserved: 0,
        })
        .collect();
    let mut info = hvm_start_info {
        magic: START_INFO_MAGIC,
        version: 1,
        cmdline_paddr: COMMAND_LINE,
        rsdp_paddr: rsdp,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: u32::try_from(map.len()).unwrap_or(0),
        ..hvm_start_info::default()
    };
    if initrd.length > 0 {
        let module = hvm_modlist_entry {
            paddr: initrd.start,
            size: initrd.length,
            ..hvm_modlist_entry::default()
        };
        memory.write_obj(module, GuestAddress(MODULES))?;
        info.nr_modules = 1;
        info.modlist_paddr = MODULES;
    }
    memory.write_obj(info, GuestAddress(START_INFO))?;
    for (entry, place) in map.into_iter().zip((MEMORY_MAP..).step_by(size_of_entry())) {
        memory.write_obj(entry, GuestAddress(place))?;
    }
    Ok(())
}

fn size_of_entry() -> usize {
    size_of::<hvm_memmap_table_entry>()
}

/// Boot parameters, as bytes of a guest.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct ZeroPage(boot_params);

// SAFETY: the structure is plain integers and arrays of them, packed as the kernel lays it out.
unsafe impl ByteValued for ZeroPage {}

fn write_zero_page(
    memory: &GuestMemoryMmap,
    bytes: u64,
    rsdp: u64,
    initrd: Initrd,
    header: Option<setup_header>,
) -> Result<(), BootError> {
    let mut page = boot_params {
        acpi_rsdp_addr: rsdp,
        ..boot_params::default()
    };
    // An ELF kernel has no header to start from; these fields are all that it looks at.
    page.hdr = header.unwrap_or(setup_header {
        boot_flag: 0xAA55,
        header: u32::from_le_bytes(BZIMAGE_MAGIC),
        kernel_alignment: 0x100_0000,
        ..setup_header::default()
    });
    page.hdr.type_of_loader = LOADER_UNDEFINED;
    page.hdr.cmd_line_ptr = u32::try_from(COMMAND_LINE).unwrap_or(0);
    page.hdr.cmdline_size = u32::try_from(COMMAND_LINE_SIZE - 1).unwrap_or(0);
    // RAM disks end below 4 GiB.
    page.hdr.ramdisk_image = u32::try_from(initrd.start).unwrap_or(0);
    page.hdr.ramdisk_size = u32::try_from(initrd.length).unwrap_or(0);
    let map = memory_map(bytes);
    page.e820_entries = u8::try_from(map.len()).unwrap_or(0);
    let mut table = page.e820_table;
    for (slot, entry) in table.iter_mut().zip(map) {
        *slot = boot_e820_entry {
            addr: entry.start,
            size: entry.length,
            r#type: if entry.ram { E820_RAM } else { E820_RESERVED },
        };
    }
    page.e820_table = table;
    memory.write_obj(ZeroPage(page), GuestAddress(ZERO_PAGE))?;
    Ok(())
}

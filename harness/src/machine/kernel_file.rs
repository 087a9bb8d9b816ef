// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What kind of kernel a file is: a user may name one of their own.
//!
//! Formats: the ELF specification; the x86 boot protocol's header (Linux,
//! `Documentation/arch/x86/boot.rst`); the PVH entry note (Xen, `XEN_ELFNOTE_PHYS32_ENTRY`).

use std::fmt;
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;

use crate::exit::Failure;

/// Kinds of kernel files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelFormat {
    /// An executable program for this host, such as User-Mode Linux.
    Program,
    /// An x86-64 `vmlinux` with a PVH entry.
    Vmlinux,
    /// An x86-64 `vmlinux` without one, which no loader here starts.
    VmlinuxWithoutPvh,
    /// An x86 `bzImage` (`vmlinuz`).
    BzImage,
    /// None of these.
    Unknown,
}

impl fmt::Display for KernelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program => "a program of the host",
            Self::Vmlinux => "an x86-64 vmlinux",
            Self::VmlinuxWithoutPvh => {
                "an x86-64 vmlinux without a PVH entry (CONFIG_PVH is not set)"
            }
            Self::BzImage => "an x86 bzImage",
            Self::Unknown => "no kernel that hipri knows (vmlinux, bzImage, ARCH=um)",
        })
    }
}

/// Bytes of a bzImage that hold its header.
const SETUP: usize = 0x206;
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const EM_X86_64: u16 = 62;
/// The kernel's half of the address space begins above this.
const LOWEST_KERNEL_ADDRESS: u64 = 1 << 63;
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
/// A kernel's notes are some hundred bytes.
const LONGEST_NOTES: u64 = 1 << 20;

/// Looks at a file's headers.
///
/// # Errors
/// Exit 2, when it cannot be read.
pub fn identify(path: &Path) -> Result<KernelFormat, Failure> {
    let failed = |error| Failure::usage(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Failure::usage(format!("{} is no file", path.display())));
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    let mut head = Vec::new();
    read_at_most(&file, 0, SETUP, &mut head).map_err(failed)?;
    if head.starts_with(b"\x7fELF") {
        return elf(&file, &head, executable).map_err(failed);
    }
    let is_bzimage =
        head.get(0x1fe..0x200) == Some(&[0x55, 0xaa]) && head.get(0x202..0x206) == Some(b"HdrS");
    Ok(if is_bzimage {
        KernelFormat::BzImage
    } else {
        KernelFormat::Unknown
    })
}

fn elf(file: &File, head: &[u8], executable: bool) -> std::io::Result<KernelFormat> {
    const CLASS_64_LITTLE: [u8; 2] = [2, 1];
    if head.get(4..6) != Some(&CLASS_64_LITTLE)
        || head.len() < ELF_HEADER
        || u16_at(head, 18) != EM_X86_64
    {
        return Ok(KernelFormat::Unknown);
    }
    let (at, count) = (u64_at(head, 32), usize::from(u16_at(head, 56)));
    let mut headers = Vec::new();
    read_at_most(file, at, count * PROGRAM_HEADER, &mut headers)?;
    let (mut high, mut low, mut pvh) = (false, false, false);
    for header in headers.chunks_exact(PROGRAM_HEADER) {
        let (kind, offset) = (u32_at(header, 0), u64_at(header, 8));
        let (address, length) = (u64_at(header, 16), u64_at(header, 32));
        match kind {
            // A vmlinux has its per-CPU area at 0 besides.
            PT_LOAD if address >= LOWEST_KERNEL_ADDRESS => high = true,
            PT_LOAD => low = true,
            PT_INTERP => low = true,
            PT_NOTE if length <= LONGEST_NOTES => {
                let mut notes = Vec::new();
                read_at_most(
                    file,
                    offset,
                    usize::try_from(length).unwrap_or(0),
                    &mut notes,
                )?;
                pvh |= has_pvh_entry(&notes);
            }
            _ => {}
        }
    }
    Ok(match (high, pvh) {
        (true, true) => KernelFormat::Vmlinux,
        (true, false) => KernelFormat::VmlinuxWithoutPvh,
        (false, _) if low && executable => KernelFormat::Program,
        (false, _) => KernelFormat::Unknown,
    })
}

/// Notes: length of the name, length of the content, type, then both, each padded to 4 bytes.
fn has_pvh_entry(mut notes: &[u8]) -> bool {
    while notes.len() >= 12 {
        let padded = |at| (u32_at(notes, at) as usize).next_multiple_of(4);
        let (name, content) = (padded(0), padded(4));
        if u32_at(notes, 8) == XEN_ELFNOTE_PHYS32_ENTRY && notes.get(12..16) == Some(b"Xen\0") {
            return true;
        }
        notes = notes.get(12 + name + content..).unwrap_or_default();
    }
    false
}

fn read_at_most(file: &File, at: u64, length: usize, to: &mut Vec<u8>) -> std::io::Result<()> {
    to.resize(length, 0);
    let mut got = 0;
    while got < length {
        match file.read_at(&mut to[got..], at.saturating_add(got as u64))? {
            0 => break,
            count => got += count,
        }
    }
    to.truncate(got);
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Refuses a kernel for User-Mode Linux whose operations take no time when time is simulated: whoever
/// polls on it would do so for ever.
///
/// # Errors
/// Exit 2 for such a kernel, exit 3 when it cannot be read.
pub fn require_time_costs(kernel: &Path) -> anyhow::Result<()> {
    const OPTION: &[u8] = b"time-costs=";
    let bytes = std::fs::read(kernel).with_context(|| format!("reading {}", kernel.display()))?;
    if memchr::memmem::find(&bytes, OPTION).is_some() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} knows no virtual time: build it from a tree that hipri guest checkout makes, which has the \
         patches of guest-kernel/time/",
        kernel.display()
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identify_bytes(bytes: &[u8], mode: u32) -> KernelFormat {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), mode).unwrap();
        identify(file.path()).unwrap()
    }

    /// An ELF header with one loaded segment at `address` and one of `notes`.
    fn elf_file(address: u64, notes: &[u8]) -> Vec<u8> {
        let mut file = vec![0; ELF_HEADER + 2 * PROGRAM_HEADER];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
        file[32..40].copy_from_slice(&(ELF_HEADER as u64).to_le_bytes());
        file[56] = 2;
        let load = ELF_HEADER;
        file[load] = 1;
        file[load + 16..load + 24].copy_from_slice(&address.to_le_bytes());
        let note = ELF_HEADER + PROGRAM_HEADER;
        file[note] = 4;
        let at = file.len() as u64;
        file[note + 8..note + 16].copy_from_slice(&at.to_le_bytes());
        file[note + 32..note + 40].copy_from_slice(&(notes.len() as u64).to_le_bytes());
        file.extend_from_slice(notes);
        file
    }

    fn note(name: &[u8; 4], kind: u32) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [4, 3, kind] {
            note.extend_from_slice(&u32::to_le_bytes(word));
        }
        note.extend_from_slice(name);
        note.extend_from_slice(&[1, 2, 3, 0]);
        note
    }

    const HIGH: u64 = 0xffff_ffff_8100_0000;

    #[test]
    fn identify_vmlinux_is_told_by_its_addresses_and_note() {
        let notes = [note(b"GNU\0", 3), note(b"Xen\0", 18)].concat();
        assert_eq!(
            identify_bytes(&elf_file(HIGH, &notes), 0o644),
            KernelFormat::Vmlinux
        );
        let notes = [note(b"GNU\0", 18), note(b"Xen\0", 1)].concat();
        assert_eq!(
            identify_bytes(&elf_file(HIGH, &notes), 0o755),
            KernelFormat::VmlinuxWithoutPvh
        );
    }

    #[test]
    fn identify_program_must_be_executable() {
        let file = elf_file(0x6000_0000, &[]);
        assert_eq!(identify_bytes(&file, 0o755), KernelFormat::Program);
        assert_eq!(identify_bytes(&file, 0o644), KernelFormat::Unknown);
    }

    #[test]
    fn identify_this_program_is_one() {
        let path = std::env::current_exe().unwrap();
        assert_eq!(identify(&path).unwrap(), KernelFormat::Program);
    }

    #[test]
    fn identify_bzimage_is_told_by_its_setup_header() {
        let mut file = vec![0; 0x400];
        file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        file[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(identify_bytes(&file, 0o644), KernelFormat::BzImage);
    }

    #[test]
    fn identify_nonsense_is_unknown() {
        let truncated = &elf_file(HIGH, &[])[..70];
        let mut endless = note(b"GNU\0", 1);
        endless[..4].copy_from_slice(&[0xff; 4]);
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", truncated] {
            assert_eq!(identify_bytes(bytes, 0o755), KernelFormat::Unknown);
        }
        assert_eq!(
            identify_bytes(&elf_file(HIGH, &endless), 0o644),
            KernelFormat::VmlinuxWithoutPvh
        );
    }

    #[test]
    fn identify_missing_file_names_it() {
        let error = identify(Path::new("/nowhere/vmlinux")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/vmlinux: "));
    }

    #[test]
    fn require_time_costs_of_a_kernel_without_them_names_file_and_way_out() {
        let kernel = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(kernel.path(), b"\0time-travel=\0").unwrap();
        let error = require_time_costs(kernel.path()).unwrap_err().to_string();
        assert!(error.contains("guest checkout"), "{error}");
        assert!(
            error.contains(&kernel.path().display().to_string()),
            "{error}"
        );
        std::fs::write(kernel.path(), b"\0time-costs=\0").unwrap();
        require_time_costs(kernel.path()).unwrap();
    }
}

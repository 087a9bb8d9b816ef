// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The modules that a distribution's kernel needs to find the device, taken from `/lib/modules`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hipri_agent::{MODULE_LIST_FILE, MODULES_DIR};

use super::initramfs::{OverlayFile, RUN_DIR};
use super::process::command;
use crate::exit::Failure;

/// Where the distribution has its modules.
const INSTALLED: &str = "/lib/modules";

/// Without it there is no device.
const NEEDED: &str = "nvme";

/// What suites and users expect besides, in the order of loading. crc32c_generic is a dependency
/// that is not in the list of dependencies, because any other implementation would do as well.
const WANTED: [&str; 4] = ["crc32c_generic", "nvme", "ext4", "xfs"];

/// Where the boot protocol has the offset of the version's text, less [`VERSION_BASE`]
/// (the kernel's Documentation/arch/x86/boot.rst).
const VERSION_POINTER_AT: u64 = 0x20e;
const VERSION_BASE: u64 = 0x200;
/// Where it has its magic number.
const MAGIC_AT: u64 = 0x202;
const MAGIC: &[u8; 4] = b"HdrS";

/// The modules for the kernel at `kernel`, for [`super::overlay`]; the agent loads them before
/// anything else. `None` if there is nothing to load: the kernel is no `bzImage`, has no modules
/// installed (as the guest's own), or has the driver built in.
///
/// # Errors
/// Exit 2 when modules are installed but the driver is not among them, 3 when one cannot be read.
pub fn modules_overlay(kernel: &Path) -> anyhow::Result<Option<Vec<OverlayFile>>> {
    overlay_from(kernel, Path::new(INSTALLED))
}

fn overlay_from(kernel: &Path, installed: &Path) -> anyhow::Result<Option<Vec<OverlayFile>>> {
    let failed = || format!("cannot read {}", kernel.display());
    let Some(release) = release_of(kernel).with_context(failed)? else {
        return Ok(None);
    };
    let dir = installed.join(&release);
    if !dir.is_dir() {
        return Ok(None);
    }
    let catalogue = Catalogue::read(&dir)?;
    if catalogue.is_built_in(NEEDED) {
        return Ok(None);
    }
    if !catalogue.files.contains_key(NEEDED) {
        return Err(Failure::usage(format!(
            "{} has no module {NEEDED}: the kernel {} cannot see the device",
            dir.display(),
            kernel.display()
        ))
        .into());
    }
    let target = format!("{RUN_DIR}/{MODULES_DIR}");
    let file = |name: &str, data| OverlayFile {
        path: format!("{target}/{name}"),
        mode: 0o644,
        data,
    };
    let mut list = String::new();
    let mut files = Vec::new();
    for path in catalogue.load_order(&WANTED) {
        let name = format!("{}.ko", module_name(&path));
        files.push(file(&name, read_module(&dir.join(&path))?));
        list += &name;
        list.push('\n');
    }
    files.push(file(MODULE_LIST_FILE, list.into_bytes()));
    Ok(Some(files))
}

/// `uname -r` of a `bzImage`; `None` for any other file.
fn release_of(kernel: &Path) -> std::io::Result<Option<String>> {
    let file = File::open(kernel)?;
    let length = file.metadata()?.len();
    let mut magic = [0; 4];
    if length < VERSION_POINTER_AT + 2 {
        return Ok(None);
    }
    file.read_exact_at(&mut magic, MAGIC_AT)?;
    if &magic != MAGIC {
        return Ok(None);
    }
    let mut pointer = [0; 2];
    file.read_exact_at(&mut pointer, VERSION_POINTER_AT)?;
    let mut text = [0; 128];
    let at = VERSION_BASE + u64::from(u16::from_le_bytes(pointer));
    let count = file.read_at(&mut text, at)?;
    let text = text[..count]
        .split(|&byte| byte == 0 || byte == b' ')
        .next();
    let text = text.map(|text| String::from_utf8_lossy(text).into_owned());
    // What is no name of a directory is no release.
    Ok(text.filter(|text| !text.is_empty() && !text.contains('/') && !text.starts_with('.')))
}

/// What is installed for one kernel.
struct Catalogue {
    /// By module name: path below the directory, and the paths of what it depends on.
    files: BTreeMap<String, (PathBuf, Vec<PathBuf>)>,
    built_in: Vec<String>,
}

impl Catalogue {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path)
                .with_context(|| format!("cannot read {} (type: depmod)", path.display()))
        };
        let mut files = BTreeMap::new();
        for line in read("modules.dep")?.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            let needs = needs.split_whitespace().map(PathBuf::from).collect();
            files.insert(module_name(Path::new(path)), (path.into(), needs));
        }
        let built_in = read("modules.builtin")?;
        Ok(Self {
            files,
            built_in: built_in
                .lines()
                .map(|line| module_name(Path::new(line)))
                .collect(),
        })
    }

    fn is_built_in(&self, name: &str) -> bool {
        self.built_in.iter().any(|own| own == name)
    }

    /// Paths of these modules and of what they depend on, each behind what it needs itself.
    fn load_order(&self, names: &[&str]) -> Vec<PathBuf> {
        let mut order: Vec<PathBuf> = Vec::new();
        for name in names {
            let Some((path, needs)) = self.files.get(*name) else {
                continue;
            };
            // depmod lists what is needed in the order of removal.
            for path in needs.iter().rev().chain([path]) {
                if !order.contains(path) {
                    order.push(path.clone());
                }
            }
        }
        order
    }
}

/// As the kernel knows it: `kernel/drivers/nvme/host/nvme-core.ko.xz` is `nvme_core`.
fn module_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split(".ko").next().unwrap_or(&name);
    stem.replace('-', "_")
}

/// A module's code, whatever the distribution packs it with.
fn read_module(path: &Path) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let unpacker = match path.extension().and_then(OsStr::to_str) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(path).with_context(failed),
    };
    let unpacked = command(unpacker)
        .arg("-dc")
        .arg(path)
        .output()
        .with_context(|| format!("{}: cannot run {unpacker}", failed()))?;
    if !unpacked.status.success() {
        let errors = String::from_utf8_lossy(&unpacked.stderr);
        return Err(Failure::infrastructure(format!("{}: {}", failed(), errors.trim())).into());
    }
    Ok(unpacked.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const RELEASE: &str = "6.12.1-test";
    const DEPENDENCIES: &str = "\
kernel/drivers/nvme/host/nvme-core.ko.xz: kernel/crypto/auth.ko kernel/lib/base.ko
kernel/drivers/nvme/host/nvme.ko: kernel/drivers/nvme/host/nvme-core.ko.xz kernel/crypto/auth.ko kernel/lib/base.ko
kernel/crypto/auth.ko: kernel/lib/base.ko
kernel/lib/base.ko:
kernel/fs/other.ko:
";

    struct Case(tempfile::TempDir);

    impl Case {
        fn new(dependencies: &str, built_in: &str) -> Self {
            let case = Self(tempfile::tempdir().unwrap());
            case.write("modules.dep", dependencies);
            case.write("modules.builtin", built_in);
            for line in dependencies.lines() {
                let path = line.split_once(':').unwrap().0;
                let plain = path.trim_end_matches(".xz");
                case.write(plain, plain);
                if plain != path {
                    let packed = Command::new("xz").arg(case.dir().join(plain)).status();
                    assert!(packed.unwrap().success());
                }
            }
            case
        }
        fn dir(&self) -> PathBuf {
            self.0.path().join(RELEASE)
        }
        fn write(&self, path: &str, text: &str) {
            let path = self.dir().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fn overlay(&self, release: &str) -> anyhow::Result<Option<Vec<OverlayFile>>> {
            let kernel = self.0.path().join("vmlinuz");
            let mut image = vec![0; 0x400];
            image[0x202..0x206].copy_from_slice(b"HdrS");
            image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
            let version = format!("{release} (who@where) #1\0");
            image[0x300..][..version.len()].copy_from_slice(version.as_bytes());
            fs::write(&kernel, image).unwrap();
            overlay_from(&kernel, self.0.path())
        }
    }

    #[test]
    fn overlay_dependencies_come_first_and_unpacked() {
        let files = Case::new(DEPENDENCIES, "")
            .overlay(RELEASE)
            .unwrap()
            .unwrap();
        let text = |file: &OverlayFile| String::from_utf8(file.data.clone()).unwrap();
        let list = files.last().unwrap();
        assert_eq!(list.path, "/hipri/modules/load");
        assert_eq!(text(list), "base.ko\nauth.ko\nnvme_core.ko\nnvme.ko\n");
        assert_eq!(files[2].path, "/hipri/modules/nvme_core.ko");
        assert_eq!(text(&files[2]), "kernel/drivers/nvme/host/nvme-core.ko");
    }

    #[test]
    fn overlay_nothing_to_load_is_none() {
        let case = Case::new(DEPENDENCIES, "kernel/drivers/nvme/host/nvme.ko\n");
        assert!(case.overlay(RELEASE).unwrap().is_none());
        assert!(case.overlay("6.12.1-unknown").unwrap().is_none());
        assert!(case.overlay("../6.12.1-test").unwrap().is_none());
        let elf = case.0.path().join("vmlinux");
        fs::write(&elf, b"\x7fELF").unwrap();
        assert!(overlay_from(&elf, case.0.path()).unwrap().is_none());
    }

    #[test]
    fn overlay_driver_that_is_not_installed_is_named() {
        let error = Case::new("kernel/fs/other.ko:\n", "").overlay(RELEASE);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("has no module nvme"), "{error}");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What QEMU's nvme keeps its data in, made after the device's configuration file.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use emulator::config::DeviceConfig;
use emulator::controller::BlockSize;
use emulator::media::{self, Backing};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::machine::DeviceSpec;

/// Bytes of a serial number (NVMe Base 2.0c, figure 275).
const SERIAL: usize = 20;
/// The smallest page, by which MDTS counts.
const PAGE: u32 = 4096;

/// A controller and its namespaces in QEMU's words.
#[derive(Debug, PartialEq)]
pub struct Storage {
    controller: Value,
    namespaces: Vec<Namespace>,
}

#[derive(Debug, PartialEq)]
struct Namespace {
    path: PathBuf,
    block_size: u32,
}

impl Storage {
    /// Makes a sparse file in `scratch` for each namespace of `ram`, and checks the user's files as
    /// the emulator does.
    ///
    /// # Errors
    /// Exit 2, when the device's file or a namespace's is not as it should be; exit 3, when a file
    /// cannot be made.
    pub fn make(spec: &DeviceSpec, scratch: &Path) -> anyhow::Result<Self> {
        let origin = spec.device.display().to_string();
        let device =
            DeviceConfig::load(&origin).map_err(|error| Failure::usage(error.to_string()))?;
        let mut namespaces = Vec::new();
        for (index, (media, block_size)) in device.namespaces().iter().enumerate() {
            let nsid = index + 1;
            let path = match &media.backing {
                Backing::File { path, .. } => {
                    // Opened and let go again: QEMU is next.
                    media::open(media).map_err(|error| {
                        Failure::usage(format!("{origin}: namespace {nsid}: {error}"))
                    })?;
                    path.clone()
                }
                Backing::Ram => {
                    let path = scratch.join(format!("namespace-{nsid}"));
                    let make = || File::create_new(&path)?.set_len(media.size);
                    make().with_context(|| format!("making {}", path.display()))?;
                    path
                }
                Backing::Null { .. } => {
                    return Err(Failure::usage(format!(
                        "{origin}: namespace {nsid}: QEMU's nvme has no media = \"null\""
                    ))
                    .into());
                }
            };
            namespaces.push(Namespace {
                path,
                block_size: bytes(*block_size),
            });
        }
        let controller = device.controller();
        let mut serial = controller.serial.clone();
        serial.truncate(serial.floor_char_boundary(SERIAL));
        Ok(Self {
            controller: json!({
                "driver": "nvme",
                "id": "nvme0",
                "serial": serial,
                "max_ioqpairs": controller.queue_pairs,
                // The admin queue has a vector too.
                "msix_qsize": controller.queue_pairs + 1,
                "mdts": (controller.max_transfer / PAGE).ilog2(),
            }),
            namespaces,
        })
    }

    /// QEMU's arguments: documents in JSON, which need no quoting.
    ///
    /// # Errors
    /// Exit 2, when a path is not UTF-8.
    pub fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let mut words = Vec::new();
        let mut add = |option: &str, value: &Value| {
            words.extend([option.to_owned(), value.to_string()]);
        };
        add("-device", &self.controller);
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let node = format!("ns{}", index + 1);
            let path = namespace.path.to_str().ok_or_else(|| {
                Failure::usage(format!("{} is not UTF-8", namespace.path.display()))
            })?;
            add(
                "-blockdev",
                &json!({
                    "driver": "raw",
                    "node-name": node,
                    "discard": "unmap",
                    // Not io_uring: QEMU 7.2 loses completions with it under TCG.
                    "file": {"driver": "file", "filename": path, "aio": "threads", "discard": "unmap"},
                }),
            );
            add(
                "-device",
                &json!({
                    "driver": "nvme-ns",
                    "bus": "nvme0",
                    "drive": node,
                    "nsid": index + 1,
                    "logical_block_size": namespace.block_size,
                    "physical_block_size": namespace.block_size,
                }),
            );
        }
        Ok(words)
    }
}

fn bytes(block_size: BlockSize) -> u32 {
    block_size.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn make(text: &str) -> (tempfile::TempDir, anyhow::Result<Storage>) {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("device.toml");
        std::fs::write(&device, text).unwrap();
        let spec = DeviceSpec {
            profile: "p".into(),
            device,
            seed: 1,
            doorbells: None,
            faults: None,
            floor: 0,
        };
        let storage = Storage::make(&spec, folder.path());
        (folder, storage)
    }

    #[test]
    fn make_ram_is_a_sparse_file_of_the_namespaces_size() {
        let (folder, storage) = make(
            "[controller]\nqueue_pairs = 4\nmdts = \"512KiB\"\n\
             [[namespace]]\nmedia = \"ram\"\nsize = \"4GiB\"\nlba = 4096\n",
        );
        let file = folder.path().join("namespace-1").metadata().unwrap();
        assert_eq!((file.len(), file.blocks()), (4 << 30, 0));
        let words = storage.unwrap().arguments().unwrap();
        assert_eq!(words.len(), 6);
        let value = |index: usize| -> Value { serde_json::from_str(&words[index]).unwrap() };
        assert_eq!(value(1)["max_ioqpairs"], 4);
        assert_eq!(value(1)["msix_qsize"], 5);
        assert_eq!(value(1)["mdts"], 7);
        assert_eq!(value(3)["file"]["aio"], "threads");
        assert_eq!(value(5)["logical_block_size"], 4096);
    }

    #[test]
    fn make_file_of_another_size_is_refused_with_both_numbers() {
        let (folder, _) = make("");
        let disk = folder.path().join("disk,1");
        std::fs::write(&disk, [0; 4096]).unwrap();
        let text = format!("[[namespace]]\nmedia = \"file\"\npath = {disk:?}\nsize = \"1MiB\"\n");
        let error = make(&text).1.unwrap_err().to_string();
        assert!(
            error.contains("4096") && error.contains("1048576"),
            "{error}"
        );
        let text = text.replace("1MiB", "4KiB");
        let words = make(&text).1.unwrap().arguments().unwrap();
        assert!(words[3].contains("disk,1"), "{words:?}");
    }

    #[test]
    fn make_null_is_refused() {
        let (_, storage) = make("[[namespace]]\nmedia = \"null\"\nsize = \"1MiB\"\n");
        assert!(storage.is_err());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's configuration file: `configs/devices/*.toml`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::controller::{BlockSize, ControllerConfig, NamespaceConfig, SetupError};
use crate::media::{self, Backing, MediaConfig};
use crate::pci::MAX_VECTORS;
use crate::timing::{Profile, ProfileError};

/// Built in, for when there is no `configs/` around.
const DEFAULT_DEVICE: &str = include_str!("../../configs/devices/default.toml");
/// The most namespaces.
const MAX_NAMESPACES: usize = 1024;

/// A device that cannot be built. The text names file, key or value, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing of that name.
    #[error(
        "no {kind} called '{name}': looked for {file} in {searched}; give a path ending in .toml, or \
         set HIPRI_CONFIGS to the folder that holds {kind}s/"
    )]
    NotFound {
        /// "device" or "profile".
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// The file it would be.
        file: String,
        /// Where it was looked for.
        searched: String,
    },
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{origin}, line {line} (`{text}`): {message}")]
    Parse {
        /// The file.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong.
        message: String,
    },
    /// A value makes no sense.
    #[error("{origin}: {message}")]
    Value {
        /// The file.
        origin: String,
        /// Key, value and what is allowed.
        message: String,
    },
    /// The controller refuses a value.
    #[error("{origin}: {source}")]
    Setup {
        /// The file.
        origin: String,
        /// Which.
        source: SetupError,
    },
    /// A namespace's medium cannot be opened.
    #[error("{origin}: namespace {nsid}: {source}")]
    Media {
        /// The file.
        origin: String,
        /// Namespace identifier.
        nsid: usize,
        /// Why.
        source: media::OpenError,
    },
}

/// A number of bytes, written as a number or with a unit: `4096`, `"4KiB"`, `"1.5GiB"` is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no size: write a whole number with B, KiB, MiB, GiB or TiB, as in \"4GiB\""
            )
        };
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let shift = match unit.trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(wrong()),
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"4GiB\" or 4096")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Bytes, E> {
                Ok(Bytes(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Bytes, E> {
                u64::try_from(value)
                    .map(Bytes)
                    .map_err(|_| E::custom(format!("{value} is no size: it is negative")))
            }
        }
        deserializer.deserialize_any(BytesVisitor)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFile {
    #[serde(default)]
    controller: ControllerSection,
    #[serde(default)]
    namespace: Vec<NamespaceSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ControllerSection {
    queue_pairs: Option<u16>,
    queue_depth: Option<u32>,
    mdts: Option<Bytes>,
    volatile_write_cache: Option<bool>,
    serial: Option<String>,
    model: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamespaceSection {
    media: MediaKind,
    size: Bytes,
    path: Option<PathBuf>,
    #[serde(default = "default_lba")]
    lba: u32,
    /// `file`: leave holes, so that a write may find the disk full.
    sparse: Option<bool>,
    /// `null`: reads give zeros instead of leaving the buffer as it is.
    zero_fill: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MediaKind {
    Ram,
    File,
    Null,
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ram => "ram",
            Self::File => "file",
            Self::Null => "null",
        })
    }
}

fn default_lba() -> u32 {
    512
}

/// A device's set-up, checked as far as that is possible without opening anything.
#[derive(Debug)]
pub struct DeviceConfig {
    origin: String,
    controller: ControllerConfig,
    namespaces: Vec<(MediaConfig, BlockSize)>,
}

impl DeviceConfig {
    /// Loads a device by its name in `configs/devices/`, or by a path, which has a slash or ends in
    /// `.toml`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(name: &str) -> Result<Self, ConfigError> {
        let found = find("device", name);
        if name == "default"
            && let Err(ConfigError::NotFound { .. }) = &found
        {
            return Self::parse(
                DEFAULT_DEVICE,
                "the built-in default device",
                Path::new("."),
            );
        }
        let path = found?;
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, &path.display().to_string(), folder)
    }

    /// Parses a device; `origin` names it in messages, and relative paths in it start at `folder`.
    ///
    /// # Errors
    /// [`ConfigError::Parse`], [`ConfigError::Value`], [`ConfigError::Setup`].
    pub fn parse(text: &str, origin: &str, folder: &Path) -> Result<Self, ConfigError> {
        let file: DeviceFile =
            toml::from_str(text).map_err(|error| parse_error(text, origin, &error))?;
        let controller = file.controller.resolve(origin)?;
        if !(1..=MAX_NAMESPACES).contains(&file.namespace.len()) {
            return Err(value(
                origin,
                format!(
                    "{} [[namespace]] sections; there must be 1 to {MAX_NAMESPACES}",
                    file.namespace.len()
                ),
            ));
        }
        let cached = controller.volatile_write_cache;
        let namespaces = file
            .namespace
            .into_iter()
            .enumerate()
            .map(|(i, section)| {
                section
                    .resolve(folder, cached)
                    .map_err(|message| value(origin, format!("namespace {}: {message}", i + 1)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            origin: origin.into(),
            controller,
            namespaces,
        })
    }

    /// The controller's set-up.
    pub fn controller(&self) -> &ControllerConfig {
        &self.controller
    }

    /// The namespaces' media and block sizes, in the order of their identifiers.
    pub fn namespaces(&self) -> &[(MediaConfig, BlockSize)] {
        &self.namespaces
    }

    /// Opens every medium.
    ///
    /// # Errors
    /// [`ConfigError::Media`] says which one, and what to do.
    pub fn open(self) -> Result<(ControllerConfig, Vec<NamespaceConfig>), ConfigError> {
        let origin = self.origin;
        let namespaces = self
            .namespaces
            .iter()
            .enumerate()
            .map(|(i, (config, block_size))| {
                let media = media::open(config).map_err(|source| ConfigError::Media {
                    origin: origin.clone(),
                    nsid: i + 1,
                    source,
                })?;
                Ok(NamespaceConfig {
                    media,
                    block_size: *block_size,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((self.controller, namespaces))
    }
}

impl ControllerSection {
    fn resolve(self, origin: &str) -> Result<ControllerConfig, ConfigError> {
        let default = ControllerConfig::default();
        let queue_pairs = self.queue_pairs.unwrap_or(default.queue_pairs);
        // Each queue pair and the admin queue have an interrupt vector of their own.
        let vectors = queue_pairs
            .checked_add(1)
            .filter(|vectors| *vectors <= MAX_VECTORS)
            .ok_or_else(|| {
                value(
                    origin,
                    format!(
                        "queue_pairs = {queue_pairs} is not possible: it must be 1 to {}",
                        MAX_VECTORS - 1
                    ),
                )
            })?;
        let max_transfer = match self.mdts {
            None => default.max_transfer,
            Some(Bytes(bytes)) => u32::try_from(bytes).map_err(|_| {
                value(
                    origin,
                    format!("mdts = {bytes} is not possible: it must be 4KiB to 16MiB"),
                )
            })?,
        };
        let config = ControllerConfig {
            serial: self.serial.unwrap_or(default.serial),
            model: self.model.unwrap_or(default.model),
            queue_pairs,
            queue_depth: self.queue_depth.unwrap_or(default.queue_depth),
            max_transfer,
            volatile_write_cache: self
                .volatile_write_cache
                .unwrap_or(default.volatile_write_cache),
            vectors,
            doorbells: default.doorbells,
        };
        config.validate().map_err(|source| ConfigError::Setup {
            origin: origin.into(),
            source,
        })?;
        Ok(config)
    }
}

impl NamespaceSection {
    fn resolve(
        self,
        folder: &Path,
        volatile_cache: bool,
    ) -> Result<(MediaConfig, BlockSize), String> {
        let block_size = BlockSize::ALL
            .into_iter()
            .find(|block| block.bytes() == self.lba)
            .ok_or_else(|| format!("lba = {} is not possible: it must be 512 or 4096", self.lba))?;
        let Bytes(size) = self.size;
        if size == 0 || size % u64::from(self.lba) != 0 {
            return Err(format!(
                "size = {size} is not possible: it must be a multiple of lba, {}",
                self.lba
            ));
        }
        let backing = self.backing(folder)?;
        let config = MediaConfig {
            volatile_cache,
            ..MediaConfig::new(backing, size)
        };
        Ok((config, block_size))
    }
}

impl NamespaceSection {
    fn backing(&self, folder: &Path) -> Result<Backing, String> {
        let only_for = |key: &str, kind: MediaKind, given: bool| {
            if given && self.media != kind {
                Err(format!(
                    "{key} is only for media = \"{kind}\", not \"{}\"",
                    self.media
                ))
            } else {
                Ok(())
            }
        };
        only_for("path", MediaKind::File, self.path.is_some())?;
        only_for("sparse", MediaKind::File, self.sparse.is_some())?;
        only_for("zero_fill", MediaKind::Null, self.zero_fill.is_some())?;
        match self.media {
            MediaKind::Ram => Ok(Backing::Ram),
            MediaKind::Null => Ok(Backing::Null {
                zero_fill: self.zero_fill.unwrap_or(false),
            }),
            MediaKind::File => {
                let path = self.path.as_ref().ok_or("media = \"file\" needs a path")?;
                Ok(Backing::File {
                    path: folder.join(path),
                    sparse: self.sparse.unwrap_or(false),
                })
            }
        }
    }
}

/// Loads a speed profile by its name in `configs/profiles/`, or by a path; a few are built in.
///
/// # Errors
/// [`ProfileError`] when there is none or it is not valid.
pub fn load_profile(name: &str) -> Result<Profile, ProfileError> {
    match find("profile", name) {
        Ok(path) => Profile::load(&path.display().to_string()),
        Err(_) => Profile::load(name),
    }
}

/// Finds the file of a `kind` ("device", "profile"): a path as it is; a name in `configs/` of the
/// current folder, of `HIPRI_CONFIGS`, or beside the executable or above it.
///
/// # Errors
/// [`ConfigError::NotFound`].
pub fn find(kind: &'static str, name: &str) -> Result<PathBuf, ConfigError> {
    if name.contains('/') || name.ends_with(".toml") {
        return Ok(PathBuf::from(name));
    }
    let file = format!("{kind}s/{name}.toml");
    let folders = config_folders();
    if let Some(path) = folders
        .iter()
        .map(|folder| folder.join(&file))
        .find(|path| path.is_file())
    {
        return Ok(path);
    }
    let searched: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
    Err(ConfigError::NotFound {
        kind,
        name: name.into(),
        file,
        searched: searched.join(", "),
    })
}

/// Where `configs/` may be, best first.
fn config_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("HIPRI_CONFIGS")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    folders.push("configs".into());
    if let Ok(executable) = std::env::current_exe() {
        let above = executable.ancestors().skip(1);
        folders.extend(above.map(|f| f.join("configs")).filter(|f| f.is_dir()));
    }
    folders
}

fn value(origin: &str, message: String) -> ConfigError {
    ConfigError::Value {
        origin: origin.into(),
        message,
    }
}

fn parse_error(text: &str, origin: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.bytes().take(start).filter(|&b| b == b'\n').count();
    ConfigError::Parse {
        origin: origin.into(),
        line: line + 1,
        text: text.lines().nth(line).unwrap_or_default().trim().into(),
        message: error.message().replace('\n', " "),
    }
}

#[cfg(test)]
mod tests;

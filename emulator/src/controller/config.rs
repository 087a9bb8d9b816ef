// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a controller is set up, checked before it exists.

use crate::dma::DoorbellPage;
use crate::media::Media;

/// What a controller offers. Every value is checked by [`ControllerConfig::validate`].
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// Serial number (SN), at most 20 printable ASCII characters. Namespace identifiers (UUID,
    /// NGUID) are derived from it.
    pub serial: String,
    /// Model number (MN), at most 40 printable ASCII characters.
    pub model: String,
    /// I/O queue pairs, 1 to 511 (the doorbells of all queues share one 4 KiB page of memory).
    pub queue_pairs: u16,
    /// Entries of the largest I/O queue, 2 to 65536 (CAP.MQES is one less).
    pub queue_depth: u32,
    /// Largest transfer in bytes, a power of two from 4096 to 16 MiB (MDTS).
    pub max_transfer: u32,
    /// Whether the controller has a volatile write cache (VWC); feature 06h turns it on and off.
    pub volatile_write_cache: bool,
    /// Interrupt vectors (MSI-X table entries), 1 to 2048.
    pub vectors: u16,
    /// How the guest's doorbells reach the controller.
    pub doorbells: DoorbellMode,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            serial: "HIPRI0000000001".into(),
            model: "hipri emulated NVMe controller".into(),
            queue_pairs: 64,
            queue_depth: 1024,
            max_transfer: 512 << 10,
            volatile_write_cache: true,
            vectors: 65,
            doorbells: DoorbellMode::Shadow,
        }
    }
}

/// How the guest's doorbells reach the controller (docs/doorbells.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DoorbellMode {
    /// Every doorbell write traps.
    Exit,
    /// Doorbell Buffer Config is offered (OACS bit 8): a host that uses it rings its I/O queues in
    /// memory. The admin doorbells trap.
    #[default]
    Shadow,
    /// The registers themselves are memory, the admin doorbells too: a front end lays the
    /// [`DoorbellPage`] into the guest while the controller runs. Doorbell Buffer Config is not
    /// offered.
    Mapped,
}

/// A set-up that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A value is outside its range.
    #[error("{key} = {value} is not possible: it must be {allowed}")]
    OutOfRange {
        /// Name of the value.
        key: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A namespace holds not even one logical block.
    #[error("a namespace of {size} bytes holds no logical block of {block} bytes")]
    EmptyNamespace {
        /// Size of the medium in bytes.
        size: u64,
        /// Size of a logical block in bytes.
        block: u32,
    },
    /// The host has no memory for the doorbells.
    #[error("the host has no memory for the page of doorbells: {0}")]
    NoDoorbellPage(String),
}

/// The largest identifier whose two doorbells fit the page.
const MOST_QUEUE_PAIRS: u16 = 511;
const _: () = assert!((MOST_QUEUE_PAIRS as u32 + 1) * 2 == DoorbellPage::SLOTS);

impl ControllerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`SetupError::OutOfRange`] names the first value that cannot work.
    pub fn validate(&self) -> Result<(), SetupError> {
        let check = |ok: bool, key, value: String, allowed| {
            if ok {
                Ok(())
            } else {
                Err(SetupError::OutOfRange {
                    key,
                    value,
                    allowed,
                })
            }
        };
        let printable = |text: &str, most: usize| {
            !text.is_empty()
                && text.len() <= most
                && text.bytes().all(|b| (0x20..=0x7e).contains(&b))
        };
        check(
            printable(&self.serial, 20),
            "serial",
            self.serial.clone(),
            "1 to 20 printable ASCII characters",
        )?;
        check(
            printable(&self.model, 40),
            "model",
            self.model.clone(),
            "1 to 40 printable ASCII characters",
        )?;
        check(
            (1..=MOST_QUEUE_PAIRS).contains(&self.queue_pairs),
            "queue_pairs",
            self.queue_pairs.to_string(),
            "1 to 511 (their doorbells share one page)",
        )?;
        check(
            (2..=65536).contains(&self.queue_depth),
            "queue_depth",
            self.queue_depth.to_string(),
            "2 to 65536",
        )?;
        check(
            self.max_transfer.is_power_of_two() && (4096..=16 << 20).contains(&self.max_transfer),
            "max_transfer",
            self.max_transfer.to_string(),
            "a power of two from 4 KiB to 16 MiB",
        )?;
        check(
            (1..=2048).contains(&self.vectors),
            "vectors",
            self.vectors.to_string(),
            "1 to 2048",
        )
    }
}

/// Size of a logical block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockSize {
    /// LBA format 0.
    #[default]
    B512,
    /// LBA format 1.
    B4096,
}

impl BlockSize {
    /// Every block size, in the order of the LBA formats.
    pub const ALL: [Self; 2] = [Self::B512, Self::B4096];

    /// In bytes.
    pub const fn bytes(self) -> u32 {
        1 << self.shift()
    }

    /// As a power of two (LBADS).
    pub const fn shift(self) -> u8 {
        match self {
            Self::B512 => 9,
            Self::B4096 => 12,
        }
    }

    /// LBA format index.
    pub const fn index(self) -> u8 {
        match self {
            Self::B512 => 0,
            Self::B4096 => 1,
        }
    }

    /// The block size of an LBA format, if there is such a format.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.index() == index)
    }
}

/// A medium, and how it is formatted when the device starts. Namespace identifiers are given in
/// order, from 1.
pub struct NamespaceConfig {
    /// What holds the data.
    pub media: Box<dyn Media>,
    /// Logical blocks as they are until a Format NVM command changes them.
    pub block_size: BlockSize,
}

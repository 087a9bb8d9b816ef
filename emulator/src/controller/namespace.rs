// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Namespaces: a medium, its format and its identity.

use super::{BlockSize, NamespaceConfig, SetupError};
use crate::media::{Media, MediaError};
use crate::spec::Status;

/// A namespace as commands see it.
pub struct Namespace {
    pub(super) media: Box<dyn Media>,
    block_size: BlockSize,
    nguid: [u8; 16],
    uuid: [u8; 16],
    /// Time Limited Error Recovery (feature 05h), a hint that is kept and given back.
    pub(super) error_recovery: u32,
}

impl Namespace {
    /// A namespace on `config`'s medium. `serial` and `nsid` determine its identifiers, so that a
    /// guest finds the same device again.
    ///
    /// # Errors
    /// [`SetupError::EmptyNamespace`] when the medium holds not one block of either format.
    pub fn new(config: NamespaceConfig, serial: &str, nsid: u32) -> Result<Self, SetupError> {
        let size = config.media.size();
        for block in BlockSize::ALL {
            if size < u64::from(block.bytes()) {
                return Err(SetupError::EmptyNamespace {
                    size,
                    block: block.bytes(),
                });
            }
        }
        let high = fnv1a(0, serial.as_bytes());
        let low = fnv1a(u64::from(nsid), serial.as_bytes());
        let mut nguid = [0; 16];
        nguid[..8].copy_from_slice(&high.to_be_bytes());
        nguid[8..].copy_from_slice(&low.to_be_bytes());
        let mut uuid = nguid;
        uuid[6] = 0x80 | uuid[6] & 0x0F;
        uuid[8] = 0x80 | uuid[8] & 0x3F;
        Ok(Self {
            media: config.media,
            block_size: config.block_size,
            nguid,
            uuid,
            error_recovery: 0,
        })
    }

    /// The same namespace for another thread, if its medium can be used by several.
    pub fn another(&self) -> Option<Self> {
        Some(Self {
            media: self.media.another()?,
            ..*self
        })
    }

    /// Takes over what a command may have changed of the namespace that this is another one of.
    pub fn follow(&mut self, original: &Self) {
        self.block_size = original.block_size;
        self.error_recovery = original.error_recovery;
    }

    /// The medium, for flushes.
    pub fn media_mut(&mut self) -> &mut dyn Media {
        self.media.as_mut()
    }

    /// Logical block size.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// Size in logical blocks (NSZE); a remainder of the medium is not used.
    pub fn blocks(&self) -> u64 {
        self.media.size() >> self.block_size.shift()
    }

    /// Size of the medium in bytes.
    pub fn bytes(&self) -> u64 {
        self.media.size()
    }

    /// NGUID.
    pub fn nguid(&self) -> [u8; 16] {
        self.nguid
    }

    /// UUID (version 8: made by a rule of our own from serial number and NSID).
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// Offset and length in bytes of `blocks` logical blocks from `slba`.
    ///
    /// # Errors
    /// LBA Out of Range when they are not all in the namespace.
    pub fn range(&self, slba: u64, blocks: u64) -> Result<(u64, u64), Status> {
        match slba.checked_add(blocks) {
            Some(end) if end <= self.blocks() => {
                let shift = self.block_size.shift();
                Ok((slba << shift, blocks << shift))
            }
            _ => Err(Status::LBA_OUT_OF_RANGE),
        }
    }

    /// Formats: all contents are gone and read as zeros.
    ///
    /// # Errors
    /// What the medium could not do.
    pub fn format(&mut self, block_size: BlockSize) -> Result<(), Status> {
        let size = self.media.size();
        let zeroed = self.media.write_zeroes(0, size, true);
        zeroed.map_err(|error| media_status(&error))?;
        self.block_size = block_size;
        Ok(())
    }
}

/// The status of a medium's failure, which is logged here: the host's own message is nowhere else.
pub fn media_status(error: &MediaError) -> Status {
    log::error!("medium: {error}");
    match error {
        MediaError::NoSpace => Status::CAPACITY_EXCEEDED,
        MediaError::Read(_) => Status::UNRECOVERED_READ_ERROR,
        MediaError::Write(_) => Status::WRITE_FAULT,
    }
}

/// FNV-1a of 64 bits, started from a seed.
fn fnv1a(seed: u64, bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    let start = seed.to_le_bytes().iter().fold(0xCBF2_9CE4_8422_2325, mix);
    bytes.iter().fold(start, mix)
}

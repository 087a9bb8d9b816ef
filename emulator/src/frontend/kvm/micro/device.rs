// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device that the guest drives, where the caller has none of its own.

use vm_memory::VolatileSlice;

use super::Doorbells;
use crate::controller::{BlockSize, ControllerConfig, DoorbellMode, NamespaceConfig, SetupError};
use crate::engine::Engine;
use crate::media::{self, Backing, Media, MediaConfig, MediaError, OpenError};
use crate::pci::{Identity, NvmeFunction};
use crate::timing::{Model, Nanos, Profile};

/// A controller with one namespace.
#[derive(Clone, Debug)]
pub struct DeviceSetup {
    /// How doorbells reach it.
    pub doorbells: Doorbells,
    /// What the namespace's data are in.
    pub media: Backing,
    /// Bytes of the namespace, a multiple of the block.
    pub bytes: u64,
    /// Its blocks.
    pub block: BlockSize,
    /// I/O queue pairs.
    pub queue_pairs: u16,
    /// Its speed.
    pub profile: Profile,
    /// Seed of the timing model.
    pub seed: u64,
    /// What the timing model subtracts ([`Model::with_floor`]).
    pub floor: Nanos,
    /// Whether all of the namespace is written before: the host gives memory only to what was.
    pub filled: bool,
}

/// A device that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The medium.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The medium, when it was filled.
    #[error(transparent)]
    Fill(#[from] MediaError),
    /// The controller.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl DeviceSetup {
    /// Blocks of the namespace.
    pub fn blocks(&self) -> u64 {
        self.bytes >> self.block.shift()
    }

    /// Makes the device.
    ///
    /// # Errors
    /// When a value cannot be, or the host has no memory for it.
    pub fn build(self) -> Result<NvmeFunction, DeviceError> {
        let mut media = media::open(&MediaConfig::new(self.media, self.bytes))?;
        if self.filled {
            fill(&mut *media)?;
        }
        let vectors = self.queue_pairs + 1;
        let config = ControllerConfig {
            queue_pairs: self.queue_pairs,
            vectors,
            doorbells: match self.doorbells {
                Doorbells::Exit => DoorbellMode::Exit,
                Doorbells::Shadow => DoorbellMode::Shadow,
                Doorbells::Mapped => DoorbellMode::Mapped,
            },
            ..ControllerConfig::default()
        };
        let namespace = NamespaceConfig {
            media,
            block_size: self.block,
        };
        let model = Model::new(self.profile, self.seed).with_floor(self.floor);
        let engine = Engine::new(config, vec![namespace], model)?;
        Ok(NvmeFunction::new(engine, &Identity::default(), vectors))
    }
}

/// Writes all of a medium.
fn fill(media: &mut dyn Media) -> Result<(), MediaError> {
    const PIECE: u64 = 1 << 20;
    let mut data = vec![0x5A; 1 << 20];
    let slice = VolatileSlice::from(data.as_mut_slice());
    for offset in (0..media.size()).step_by(1 << 20) {
        let length = usize::try_from(PIECE.min(media.size() - offset)).unwrap_or(0);
        if let Ok(piece) = slice.subslice(0, length) {
            media.write(offset, &piece)?;
        }
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
mod config_space;
mod function;
mod msix;

use super::{Identity, NvmeFunction};
use crate::controller::{BlockSize, ControllerConfig, DoorbellMode, NamespaceConfig};
use crate::engine::Engine;
use crate::media::{Backing, MediaConfig};
use crate::timing::{Model, Profile};

/// A function with one namespace of 1 MiB and no delay, for the tests of this and other rooms.
pub fn function() -> NvmeFunction {
    function_with(DoorbellMode::default())
}

/// As [`function`], with another way for doorbells.
pub fn function_with(doorbells: DoorbellMode) -> NvmeFunction {
    let media = crate::media::open(&MediaConfig::new(Backing::Ram, 1 << 20));
    let namespace = NamespaceConfig {
        media: media.expect("memory for a test"),
        block_size: BlockSize::B512,
    };
    let config = ControllerConfig {
        doorbells,
        ..ControllerConfig::default()
    };
    let vectors = config.vectors;
    let profile = Profile::load("floor").expect("a built-in profile");
    let engine = Engine::new(config, vec![namespace], Model::new(profile, 1));
    NvmeFunction::new(
        engine.expect("a valid set-up"),
        &Identity::default(),
        vectors,
    )
}

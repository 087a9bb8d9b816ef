// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes the guest: kernels, image, tools.

mod identity;

pub use identity::*;

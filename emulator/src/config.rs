// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's configuration file: `configs/devices/*.toml`.

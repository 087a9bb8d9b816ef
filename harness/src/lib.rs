// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `hipri`: builds, boots, tests and measures guests that do polled I/O on an emulated NVMe
//! controller.

pub mod guest;
pub mod progress;

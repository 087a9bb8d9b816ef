// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `hipri`: builds, boots, tests and measures guests that do polled I/O on an emulated NVMe
//! controller.

pub mod agree;
pub mod cli;
pub mod compare;
pub mod exit;
pub mod guest;
pub mod interrupt;
pub mod machine;
pub mod model;
pub mod progress;
pub mod report;
pub mod repository;
pub mod stats;
pub mod suite;
pub mod sweep;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An NVMe 2.0 controller with a chosen speed, served to guests through several front ends.
//!
//! The rooms, and who may import whom:
//!
//! ```text
//! frontend -> {drive, pci} -> engine -> {controller, timing, fault} -> {dma, media} -> spec
//! ```
//!
//! `pci` also imports `controller`; `observe` is imported by those that count and imports only
//! `spec`; `control` sits beside `frontend`. `timing` and `spec` import nothing of ours. `reference`
//! measures the machine, not the device, and is for those that measure; `bench` measures the device
//! without a guest's kernel, and imports whatever it measures.

pub mod bench;
pub mod cli;
pub mod config;
pub mod control;
pub mod controller;
pub mod dma;
pub mod drive;
pub mod engine;
pub mod fault;
pub mod frontend;
pub mod media;
pub mod observe;
pub mod pci;
pub mod reference;
pub mod spec;
mod sync;
pub mod timing;

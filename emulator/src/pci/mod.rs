// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every front end presents: configuration space, BARs, MSI-X.
//!
//! [`NvmeFunction`] is a PCI Express function with one controller in it. A front end hands it the
//! guest's accesses, by region in VFIO's numbering, lets it step, and implements [`MsiPort`].

mod config_space;
mod function;
mod msix;
#[cfg(test)]
pub(crate) mod tests;

pub use config_space::{CONFIG_SPACE_SIZE, ConfigSpace};
pub use function::{FunctionLane, Identity, NvmeFunction, Region};
pub use msix::{Delivery, MAX_VECTORS, MsiMessage, MsiPort, Msix};

use crate::observe::bar0;

/// Size of BAR0 in bytes: registers, doorbells, MSI-X table and pending bits, a page each.
pub const BAR0_SIZE: u64 = 0x4000;
/// Where the MSI-X table lies in BAR0.
pub const MSIX_TABLE: u64 = 0x2000;
/// Where the MSI-X pending bit array lies in BAR0.
pub const MSIX_PBA: u64 = 0x3000;

// Exits are counted by place.
const _: () = assert!(
    BAR0_SIZE == bar0::BAR0_SIZE && MSIX_TABLE == bar0::MSIX_TABLE && MSIX_PBA == bar0::MSIX_PBA
);

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every front end presents: configuration space, BARs, MSI-X.

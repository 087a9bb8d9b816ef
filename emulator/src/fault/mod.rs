// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fault rules: verdicts asked by controller, engine and pci. Empty until rules exist.

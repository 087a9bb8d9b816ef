// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Front ends: they hand register accesses to a driver and implement its ports.

pub mod kvm;
pub mod vhost_user;

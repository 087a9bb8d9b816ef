// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest's init (the *agent*) and the harness say to each other.
//!
//! The harness speaks first and once: a [`CommandList`], written as JSON into the run directory
//! before the guest starts, or single commands on the kernel's command line ([`cmdline`]). The
//! agent answers with a stream of [`Record`]s, one JSON object a line, on a device of its own
//! (the *channel*), apart from the kernel console. It never reads from the channel: a guest that
//! waits for nobody can be repeated exactly.
//!
//! ```text
//! harness                                   guest
//!   commands.json, kernel command line ->   agent (pid 1)
//!   channel reader                     <-   hello, mount*, (job_start, counters, output*,
//!                                           file*, counters, job_end)*, done | error | panic
//! ```
//!
//! A stream that ends without [`Event::Done`] is a guest that died: the console log says why.

mod bytes;
pub mod cmdline;
mod command;
mod event;

pub use bytes::{Bytes, InvalidBytes};
pub use command::{Command, CommandList, FileEntry, Job, MountEntry, Stdio};
pub use event::{CounterSample, Event, Outcome, Page, Record, Stream, When};

/// Version of the command list and of the event stream. Both sides refuse another one.
pub const PROTOCOL_VERSION: u32 = 1;

/// Where the run directory is seen in the guest, read-only.
pub const RUN_DIR: &str = "/run/hipri";

/// Name of the command list inside the run directory.
pub const COMMAND_LIST_FILE: &str = "commands.json";

/// Directory inside a run directory in the image with kernel modules, if there are any.
pub const MODULES_DIR: &str = "modules";

/// Names the modules in [`MODULES_DIR`], one file a line, in the order of loading.
pub const MODULE_LIST_FILE: &str = "load";

/// What the agent writes to the kernel's log when a job begins, before the job's name: whoever reads
/// the log knows which job it tells of.
pub fn job_mark(job: u32) -> String {
    format!("hipri: job {job}:")
}

/// Vendor log page with the device's counters (`emulator::observe` owns the layout).
pub const COUNTERS_LOG_PAGE: u8 = 0xC0;

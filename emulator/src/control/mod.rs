// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control socket: profile, faults and counters at run time.
//!
//! One JSON object a line in each direction. Requests: `{"command":"ping"}`,
//! `{"command":"counters"}`, `{"command":"profile","profile":"NAME or PATH"}` (with or in its place
//! `"set":{"read.time":"7us"}`), `{"command":"faults"}` and the same with `"rules":"TOML"` or
//! `"clear":true`. Answers: `{"ok":true,...}` or `{"ok":false,"error":"..."}`. The poller is asked
//! through its mailbox, so it never waits for anybody here.

mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub use protocol::{Answer, FaultReport, Report, Request};
pub use server::{ControlServer, ask};

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `trace`: a command trace as a table, or for Perfetto.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use emulator::observe::{POLLED, TraceRecord, read_trace};
use emulator::spec::{AdminOpcode, NvmOpcode};
use serde_json::json;

use crate::exit::Failure;
use crate::sweep::trace::{Tracks, taken};

/// What to make of a trace.
#[derive(Clone, Debug, Args)]
pub struct TraceOptions {
    /// A command trace, such as `patched-commands.trace` of a result folder.
    file: PathBuf,
    /// As what.
    #[arg(long, value_enum, default_value = "csv")]
    format: TraceFormat,
    /// Only commands that were fetched from this time on, in nanoseconds by the device's clock.
    #[arg(long, value_name = "NS", default_value_t = 0)]
    from: u64,
    /// Only so many commands.
    #[arg(long, value_name = "N")]
    commands: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TraceFormat {
    /// A line for each command, in the order of their fetching.
    Csv,
    /// JSON that ui.perfetto.dev and chrome://tracing open: a track for each slot of a queue.
    Perfetto,
}

/// Writes the trace to stdout.
///
/// # Errors
/// Exit 2 when the file is no trace.
pub fn run(options: &TraceOptions) -> anyhow::Result<ExitCode> {
    let mut records = std::fs::File::open(&options.file)
        .and_then(read_trace)
        .map_err(|error| Failure::usage(format!("{}: {error}", options.file.display())))?;
    records.sort_by_key(|record| (record.fetched.get(), record.queue.get()));
    records.retain(|record| record.fetched.get() >= options.from);
    records.truncate(options.commands.unwrap_or(usize::MAX));
    let text = match options.format {
        TraceFormat::Csv => csv(&records),
        TraceFormat::Perfetto => perfetto(&records)?,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        // A reader that leaves has what it wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        other => other.context("writing the trace")?,
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: &str = "queue,command,namespace,opcode,block,bytes,status,polled,fetched_ns,started_ns,\
                       due_ns,completed_ns,reaped_ns\n";

fn csv(records: &[TraceRecord]) -> String {
    let mut text = COLUMNS.to_owned();
    for record in records {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{},{},{},{:#04x},{},{},{:#06x},{},{},{},{},{},{}",
            record.queue,
            record.command,
            record.namespace,
            record.opcode,
            record.block,
            record.bytes,
            record.status.get(),
            u8::from(record.flags & POLLED != 0),
            record.fetched,
            record.started,
            record.due,
            record.completed,
            record.reaped
        );
    }
    text
}

/// The trace event format: complete events, in microseconds. Commands of a queue that overlap lie on
/// tracks of their own.
fn perfetto(records: &[TraceRecord]) -> anyhow::Result<String> {
    let mut events = Vec::new();
    let mut tracks: BTreeMap<u16, Tracks> = BTreeMap::new();
    for record in records {
        let end = taken(record);
        let queue = record.queue.get();
        let track = tracks.entry(queue).or_default().place(record);
        let mut slice = |name: &str, from: u64, to: u64| {
            if from > 0 && to > from {
                events.push(json!({
                    "ph": "X", "name": name, "cat": "nvme", "pid": queue, "tid": track,
                    "ts": microseconds(from), "dur": microseconds(to - from),
                    "args": {
                        "command": record.command.get(), "block": record.block.get(),
                        "bytes": record.bytes.get(), "status": record.status.get(),
                        "polled": record.flags & POLLED != 0, "due_ns": record.due.get(),
                    },
                }));
            }
        };
        let fetched = record.fetched.get();
        slice(&name(record), fetched, end);
        // It lies inside of the one above; nobody knows when an admin command was started.
        let started = match record.started.get() {
            0 => 0,
            started => started.max(fetched),
        };
        slice("medium", started, record.due.get().min(end));
        slice("until reaped", record.completed.get(), record.reaped.get());
    }
    for queue in tracks.keys() {
        events.push(json!({
            "ph": "M", "name": "process_name", "pid": queue,
            "args": {"name": if *queue == 0 { "admin queue".to_owned() } else { format!("I/O queue {queue}") }},
        }));
    }
    let document = json!({"displayTimeUnit": "ns", "traceEvents": events});
    serde_json::to_string(&document).context("writing the trace")
}

/// What a command is called.
fn name(record: &TraceRecord) -> String {
    let admin = match AdminOpcode(record.opcode) {
        AdminOpcode::GET_LOG_PAGE => "get log page",
        AdminOpcode::IDENTIFY => "identify",
        AdminOpcode::SET_FEATURES => "set features",
        AdminOpcode::ASYNC_EVENT_REQUEST => "asynchronous event request",
        _ => "",
    };
    let io = match NvmOpcode(record.opcode) {
        NvmOpcode::FLUSH => "flush",
        NvmOpcode::WRITE => "write",
        NvmOpcode::READ => "read",
        _ => "",
    };
    match if record.queue.get() == 0 { admin } else { io } {
        "" => format!("opcode {:02x}h", record.opcode),
        known => known.to_owned(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the format has floating-point microseconds; nanoseconds survive for months"
)]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fetched: u64, completed: u64) -> TraceRecord {
        let mut record = TraceRecord {
            opcode: 0x02,
            flags: POLLED,
            ..TraceRecord::default()
        };
        record.queue.set(2);
        record.fetched.set(fetched);
        record.started.set(fetched + 10);
        record.due.set(completed);
        record.completed.set(completed);
        record.reaped.set(completed + 5);
        record
    }

    #[test]
    fn csv_has_a_line_for_each_command() {
        let text = csv(&[read(100, 200)]);
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, "2,0,0,0x02,0,0,0x0000,1,100,110,200,200,205");
        assert_eq!(
            text.lines().next().unwrap().split(',').count(),
            line.split(',').count()
        );
    }

    #[test]
    fn perfetto_puts_commands_that_overlap_on_tracks_of_their_own() {
        let text = perfetto(&[read(100, 200), read(150, 250), read(210, 300)]).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        let tracks: Vec<_> = events
            .iter()
            .filter(|event| event["name"] == "read")
            .map(|event| event["tid"].as_u64().unwrap())
            .collect();
        assert_eq!(tracks, [0, 1, 0]);
        assert!(events.iter().any(|event| event["name"] == "medium"));
        assert!(events.iter().any(|event| event["ph"] == "M"));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a sweep's boots and turns what comes back into rows.

use std::path::Path;

use anyhow::{Context, anyhow};
use emulator::observe::{CountersPage, Summary};
use hipri_agent::{Bytes, Command, CommandList, Event, FileEntry, Job, Outcome};

use super::document::{DeviceCounts, Document, KernelIdentity, Row, RunSummary};
use super::fio::{self, FioResult};
use super::{
    Boot, Cell, Common, Extent, Reference, Target, interrupts, job, log_prefix, pace, seed, trace,
};
use crate::exit::{ExitReason, Failure};
use crate::guest::Guest;
use crate::machine::{self, JobRecord, RunReport, Spec};
use crate::progress::Progress;

/// The controller whose counters are read around each cell.
const CONTROLLER: &str = "/dev/nvme0";

/// Guest kernel words for `nvme`: one queue with interrupts, one that is polled.
const POLLED_QUEUE: &str = "nvme.poll_queues=1";

/// Guest kernel words for the reference device: polled, no memory behind it, no delay.
const NULL_BLK: &[&str] = &[
    "null_blk.nr_devices=1",
    "null_blk.gb=16",
    "null_blk.queue_mode=2",
    "null_blk.irqmode=0",
    "null_blk.poll_queues=1",
    "null_blk.hw_queue_depth=1023",
    "null_blk.memory_backed=0",
];

/// The name of the job in front of the cells: it does nothing, and the guest's interrupts are read
/// after it as they are after each cell.
const BEFORE: &str = "before";

/// A sweep to run.
#[derive(Clone, Debug)]
pub struct SweepSpec<'a> {
    /// What every boot has in common; kernel, commands and log names are the sweep's own.
    pub machine: Spec<'a>,
    /// Kernels and image.
    pub guest: &'a Guest,
    /// Name of the profile: of its figures, where the device has no speed model.
    pub profile: String,
    /// The boots in order.
    pub boots: Vec<Boot>,
    /// Text of the fio job file.
    pub workload: &'a str,
    /// Its name, for messages.
    pub workload_origin: &'a str,
    /// Runtime and seed of all cells.
    pub common: Common,
    /// Whether a reference device is made.
    pub reference: Option<Reference>,
    /// Where the cells' fio files go; exists.
    pub fio_folder: &'a Path,
}

/// A sweep's figures and how its guests booted.
#[derive(Debug)]
pub struct SweepResult {
    /// The figures.
    pub document: Document,
    /// For each boot, nanoseconds from the kernel's start to the agent's first word.
    pub boot_ns: Vec<u64>,
}

/// Runs all boots of a sweep.
///
/// # Errors
/// When a guest did not come to its end, fio failed, or its output cannot be read.
pub fn run(spec: &SweepSpec<'_>, progress: &dyn Progress) -> anyhow::Result<SweepResult> {
    let mut rows = Vec::new();
    let mut boot_ns = Vec::new();
    for boot in &spec.boots {
        let report = run_boot(spec, boot, progress)?;
        machine::require_completed(&report)?;
        require_answers(boot, &report)?;
        boot_ns.extend(report.transcript.hello.as_ref().map(|hello| hello.boot_ns));
        rows.extend(rows_of(spec, boot, &report)?);
    }
    rows.sort_by_key(|row| (row.depth, row.path));
    let accel = spec.machine.accel;
    let device = accel.machine().device();
    Ok(SweepResult {
        document: Document {
            profile: device.has_profile().then(|| spec.profile.clone()),
            accel: accel.name().to_owned(),
            device,
            time: spec.machine.time_name().to_owned(),
            summary: RunSummary::of(&rows),
            rows,
            seed_rows: seed::rows(&spec.profile),
        },
        boot_ns,
    })
}

fn run_boot(
    spec: &SweepSpec<'_>,
    boot: &Boot,
    progress: &dyn Progress,
) -> anyhow::Result<RunReport> {
    let kernel = spec.guest.kernel(boot.flavour)?;
    let prefix = log_prefix(boot.flavour);
    let mut machine = spec.machine.clone();
    machine.kernel = &kernel.path;
    machine.log_prefix = &prefix;
    machine.trace |= machine.virtual_time.is_some();
    machine.commands = commands(spec, boot)?;
    machine.kernel_args.insert(0, POLLED_QUEUE.to_owned());
    if spec.reference.is_some() {
        machine
            .kernel_args
            .splice(1..1, NULL_BLK.iter().map(|word| (*word).to_owned()));
    }
    let mut step = progress.step(&format!("sweep on the {} kernel", boot.flavour));
    step.total(boot.cells.len() as u64);
    let report = machine::run(&machine, &mut |record| match &record.event {
        Event::JobStart { name, .. } => step.detail(name),
        Event::JobEnd { job, .. } => step.position(u64::from(*job)),
        _ => {}
    })?;
    if report.outcome.exit_reason().is_none() {
        step.done(&format!("{} cells", boot.cells.len()));
    }
    Ok(report)
}

/// A cell in which the driver gave a command up has no figures, whatever fio says.
fn require_answers(boot: &Boot, report: &RunReport) -> Result<(), Failure> {
    match machine::unanswered_command(&report.console) {
        None => Ok(()),
        Some(line) => Err(Failure::new(
            ExitReason::Failed,
            format!(
                "the device left a command of the {} kernel unanswered: {line}",
                boot.flavour
            ),
        )),
    }
}

fn commands(spec: &SweepSpec<'_>, boot: &Boot) -> anyhow::Result<CommandList> {
    let mut list = CommandList {
        stop_on_failure: true,
        mounts: spec.machine.commands.mounts.clone(),
        ..CommandList::default()
    };
    let longest = job::longest(spec.workload, spec.workload_origin, spec.common)?;
    let machine = spec.machine.accel.machine();
    let limit = longest + machine.pace().fio_grace;
    let mut before = Job::new(BEFORE, Command::Argv(vec!["true".into()]));
    before.collect = vec![interrupts::FILE.into()];
    list.jobs.push(before);
    for &cell in &boot.cells {
        let text = job::resolve(spec.workload, spec.workload_origin, cell, spec.common)?;
        let kept = spec.fio_folder.join(format!("{}.fio", cell.name()));
        std::fs::write(&kept, &text).with_context(|| format!("writing {}", kept.display()))?;
        let (input, output) = guest_files(cell);
        let mut job = Job::new(
            cell.name(),
            Command::Argv(vec![
                "fio".into(),
                "--output-format=json+".into(),
                format!("--output={output}"),
                input.clone(),
            ]),
        );
        job.timeout_ms = Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        job.cwd = Some("/tmp".into());
        job.collect = vec![output, interrupts::FILE.into()];
        if let Extent::Seconds(_) = spec.common.extent {
            job.collect.push(format!("/tmp/{}", iops_log(cell)));
        }
        if cell.target == Target::Nvme && machine.device().counts() {
            job.count_device = Some(CONTROLLER.into());
        }
        list.files.push(FileEntry {
            path: input,
            data: Bytes::from(text.as_str()),
            mode: None,
        });
        list.jobs.push(job);
    }
    Ok(list)
}

/// fio's log of a cell's I/Os per second; in the guest it lies in /tmp.
fn iops_log(cell: Cell) -> String {
    format!("{}_iops.log", cell.name())
}

/// A cell's job file and its output, in the guest.
fn guest_files(cell: Cell) -> (String, String) {
    let name = cell.name();
    (format!("/tmp/{name}.fio"), format!("/tmp/{name}.json"))
}

fn rows_of(spec: &SweepSpec<'_>, boot: &Boot, report: &RunReport) -> anyhow::Result<Vec<Row>> {
    let release = match &report.transcript.hello {
        Some(hello) => hello.kernel_release.as_str(),
        None => "",
    };
    let kernel = KernelIdentity::new(spec.guest.kernel(boot.flavour)?, release);
    let jobs = &report.transcript.jobs;
    let paces = paces(spec, boot)?;
    let mut rows: Vec<Row> = Vec::new();
    // Job 0 is the one before the cells.
    for (before, &cell) in (0_u32..).zip(&boot.cells) {
        let record = jobs
            .get(&(before + 1))
            .ok_or_else(|| anyhow!("cell {} was not run", cell.name()))?;
        let result = fio_result(spec, cell, record)?;
        match cell.target {
            Target::Nvme => {
                let mut row = row(spec, cell, &kernel, &result, record)?;
                if let Some(iops) = paces.get(rows.len()) {
                    row.iops = *iops;
                }
                row.guest_interrupts = interrupts_between(jobs.get(&before), record);
                rows.push(row);
            }
            Target::NullBlk => {
                if let Some(row) = rows.last_mut() {
                    row.ratio_to_reference = Some(row.iops / result.iops);
                }
            }
        }
    }
    Ok(rows)
}

/// I/Os a second of each cell by the device's trace, in virtual time, for whose cells fio's
/// milliseconds are too coarse; nothing in real time.
fn paces(spec: &SweepSpec<'_>, boot: &Boot) -> anyhow::Result<Vec<f64>> {
    let (Some(_), Some(logs)) = (&spec.machine.virtual_time, spec.machine.logs) else {
        return Ok(Vec::new());
    };
    let file = logs.join(trace::file_name(boot.flavour));
    let cells = trace::read(&file, boot.cells.len())?;
    let rates = boot.cells.iter().zip(cells).map(|(cell, commands)| {
        pace::rate(&commands, cell.depth).with_context(|| {
            format!(
                "cell {} has too few I/Os for a rate: take more, --ios",
                cell.name()
            )
        })
    });
    rates.collect()
}

/// Interrupts on I/O queues that the guest took from the end of one job to the end of the next.
fn interrupts_between(before: Option<&JobRecord>, after: &JobRecord) -> Option<u64> {
    let count = |record: &JobRecord| {
        let text = record.files.get(interrupts::FILE)?;
        interrupts::of_io_queues(&String::from_utf8_lossy(text))
    };
    count(after)?.checked_sub(count(before?)?)
}

fn fio_result(spec: &SweepSpec<'_>, cell: Cell, record: &JobRecord) -> anyhow::Result<FioResult> {
    let (_, output) = guest_files(cell);
    let text = record.files.get(&output).map_or(&[][..], Vec::as_slice);
    let kept = spec.fio_folder.join(format!("{}.json", cell.name()));
    std::fs::write(&kept, text).with_context(|| format!("writing {}", kept.display()))?;
    let text = String::from_utf8_lossy(text);
    // The log is there for intervals of confidence; without it a run has none.
    if let Some(log) = record.files.get(&format!("/tmp/{}", iops_log(cell))) {
        let kept = spec.fio_folder.join(iops_log(cell));
        std::fs::write(&kept, log).with_context(|| format!("writing {}", kept.display()))?;
    }
    if !record.succeeded() {
        return Err(cell_failure(cell, record, &text).into());
    }
    let result = fio::parse(&text).map_err(|error| {
        Failure::new(
            ExitReason::Failed,
            format!("cell {}: {error:#}", cell.name()),
        )
    })?;
    if !result.preamble.is_empty() {
        log::info!("fio in cell {}: {}", cell.name(), result.preamble);
    }
    Ok(result)
}

fn cell_failure(cell: Cell, record: &JobRecord, output: &str) -> Failure {
    let stderr = String::from_utf8_lossy(&record.stderr);
    let said = [stderr.trim(), output.split('{').next().unwrap_or("").trim()].join(" ");
    let (reason, how) = match &record.outcome {
        Some(Outcome::TimedOut) => (ExitReason::Timeout, "took too long".to_owned()),
        Some(Outcome::Exited { code }) => (ExitReason::Failed, format!("exit code {code}")),
        Some(Outcome::Signaled { signal }) => (ExitReason::Failed, format!("signal {signal}")),
        Some(Outcome::NotStarted { error }) => (ExitReason::Failed, error.clone()),
        None => (ExitReason::Failed, "did not end".to_owned()),
    };
    Failure::new(
        reason,
        format!("fio in cell {}: {how}: {}", cell.name(), said.trim()),
    )
}

fn row(
    spec: &SweepSpec<'_>,
    cell: Cell,
    kernel: &KernelIdentity,
    result: &FioResult,
    record: &JobRecord,
) -> anyhow::Result<Row> {
    let ios = result.total_ios;
    let counted = if spec.machine.accel.machine().device().counts() {
        let counted = counters_between(record)
            .with_context(|| format!("the device's counters around cell {}", cell.name()))?;
        Some(DeviceCounts::new(&counted, ios))
    } else {
        None
    };
    Ok(Row {
        depth: cell.depth,
        path: cell.path,
        kernel: kernel.clone(),
        ios,
        iops: result.iops,
        lat_p50_ns: result.completion.percentile(50),
        lat_p99_ns: result.completion.percentile(99),
        submit_ns: result.submit_mean_ns,
        guest_interrupts: None,
        counted,
        ratio_to_reference: None,
    })
}

/// What the device counted between a job's start and its end, over all I/O queues.
///
/// # Errors
/// When a page is missing or cannot be read.
pub fn counters_between(record: &JobRecord) -> anyhow::Result<Summary> {
    let parse = |page: &Option<Vec<u8>>| -> anyhow::Result<CountersPage> {
        let bytes = page
            .as_ref()
            .ok_or_else(|| anyhow!("no counters: {}", record.complaints.join(", ")))?;
        Ok(CountersPage::parse(bytes)?)
    };
    let before = parse(&record.counters_before)?;
    let after = parse(&record.counters_after)?;
    Ok(after.counters.since(&before.counters).summary())
}

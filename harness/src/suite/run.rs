// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a suite: as few boots as its checks allow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use hipri_agent::{Command, CommandList, Event, Job};

use super::definition::Check;
use super::judge::{FIO_OUTPUT, judge};
use super::kernel_log;
use super::media::MediaFile;
use super::plan::{Item, KernelName, Plan};
use super::verdict::{Status, Verdict};
use crate::guest::{FIO_ENGINE, Guest};
use crate::machine::{self, JobRecord, Outcome, RunReport, Spec};
use crate::progress::Progress;

/// How much of the kernel's log comes with a guest that did not come to its end: the stacks of all
/// tasks fit.
const LOG_LINES: usize = 2000;

/// Where the suite runs.
pub struct Environment<'a> {
    /// What every boot has in common; kernel, commands and log names are the suite's own.
    pub machine: Spec<'a>,
    /// Kernels and image; the kernels of checks that are skipped need not be there.
    pub guest: &'a Guest,
    /// The user's kernel, if the run is about one.
    pub kernel_file: Option<&'a Path>,
    /// Finds the file of a device by its name.
    pub device_file: &'a dyn Fn(&str) -> anyhow::Result<PathBuf>,
    /// Name of the suite, for the logs.
    pub name: &'a str,
    /// Where logs and what else is worth keeping go.
    pub folder: &'a Path,
    /// How often a check that failed is run again.
    pub retries: u32,
    /// Behind the name of each result; empty for the first repetition.
    pub suffix: &'a str,
}

/// How one check ended.
#[derive(Clone, Debug)]
pub struct Result {
    /// Suite, check and kernel.
    pub name: String,
    /// What was found, by the last attempt.
    pub verdict: Verdict,
    /// What was found by the attempts before it.
    pub before: Vec<Verdict>,
}

impl Result {
    /// Whether it passed, but not at once.
    pub fn is_flaky(&self) -> bool {
        self.verdict.passed() && !self.before.is_empty()
    }
}

/// Which script of a check a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Setup,
    Run,
    Teardown,
}

/// Runs all checks of a plan, and hands over each result as it comes, boot by boot.
///
/// # Errors
/// When a boot could not take place: exit 2, 3 or 130. A guest that fails is a check that failed.
pub fn run(
    plan: &Plan<'_>,
    environment: &Environment<'_>,
    progress: &dyn Progress,
    report: &mut dyn FnMut(Result) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (number, boot) in plan.boots.iter().enumerate() {
        let mut rest = boot.as_slice();
        let mut attempt = 0;
        while !rest.is_empty() {
            let prefix = format!(
                "{}{}-{}-{attempt}-",
                environment.name,
                environment.suffix,
                number + 1
            );
            let verdicts = run_boot(environment, rest, &prefix, progress)?;
            let done = verdicts.len();
            for (item, verdict) in rest.iter().zip(verdicts) {
                report(retry(environment, *item, verdict, &prefix, progress)?)?;
            }
            rest = &rest[done..];
            attempt += 1;
        }
    }
    Ok(())
}

/// Runs a check that failed again, in boots of its own, until it passes or has been retried enough.
fn retry(
    environment: &Environment<'_>,
    item: Item<'_>,
    first: Verdict,
    prefix: &str,
    progress: &dyn Progress,
) -> anyhow::Result<Result> {
    let mut verdict = first;
    let mut before = Vec::new();
    for number in 1..=environment.retries {
        if !verdict.status.is_bad() {
            break;
        }
        let prefix = format!("{prefix}{}-retry-{number}-", item.check.name);
        let again = run_boot(environment, &[item], &prefix, progress)?;
        let again = again.into_iter().next().context("a check was not run")?;
        before.push(std::mem::replace(&mut verdict, again));
    }
    if !before.is_empty() {
        let times = before.len() + 1;
        verdict.notes.push(format!("attempt {times}"));
    }
    Ok(Result {
        name: format!("{}{}", item.name(environment.name), environment.suffix),
        verdict,
        before,
    })
}

/// Boots and gives the verdicts on the items that were reached, at least one. An item that is run in
/// several rounds is alone.
fn run_boot(
    environment: &Environment<'_>,
    items: &[Item<'_>],
    prefix: &str,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<Verdict>> {
    let check = items[0].check;
    let name = check.device.as_deref();
    let mut device = match name {
        Some(name) => (environment.device_file)(name)?,
        None => environment.machine.device.device.clone(),
    };
    let media = match check.media_file {
        true => Some(MediaFile::new(&device, environment.folder, prefix)?),
        false => None,
    };
    if let Some(media) = &media {
        device.clone_from(&media.device);
    }
    let mut previous = String::new();
    let mut took = Duration::ZERO;
    for number in 1.. {
        let last = number == check.rounds;
        let round_prefix = match check.rounds {
            1 => prefix.to_owned(),
            _ => format!("{prefix}round-{number}-"),
        };
        let round = Round {
            number,
            previous: &previous,
            device: &device,
            prefix: &round_prefix,
        };
        let (mut verdicts, report) = round.run(environment, items, progress)?;
        let output = run_output(&report, check);
        if let (true, Some(media)) = (check.expect.media, &media) {
            for complaint in media.complaints(&output) {
                verdicts[0].complain(complaint);
            }
        }
        took += verdicts[0].took;
        if last || verdicts[0].status.is_bad() {
            if check.rounds > 1 {
                verdicts[0].notes.push(format!("{number} rounds"));
                verdicts[0].took = took;
            }
            return Ok(verdicts);
        }
        previous = output.lines().next_back().unwrap_or_default().to_owned();
    }
    Ok(Vec::new())
}

/// What the first check's script printed.
fn run_output(report: &RunReport, check: &Check) -> String {
    let job = u32::from(check.setup.is_some());
    let job = report.transcript.jobs.get(&job);
    job.map_or_else(String::new, |job| {
        String::from_utf8_lossy(&job.stdout).into_owned()
    })
}

/// One boot.
struct Round<'a> {
    number: u32,
    previous: &'a str,
    device: &'a Path,
    prefix: &'a str,
}

impl Round<'_> {
    fn run(
        &self,
        environment: &Environment<'_>,
        items: &[Item<'_>],
        progress: &dyn Progress,
    ) -> anyhow::Result<(Vec<Verdict>, RunReport)> {
        let first = items[0];
        let (mut commands, roles) = commands(environment, items);
        for job in &mut commands.jobs {
            job.env
                .insert("HIPRI_ROUND".into(), self.number.to_string());
            job.env
                .insert("HIPRI_PREVIOUS".into(), self.previous.to_owned());
        }
        let mut machine = environment.machine.clone();
        machine.kernel = match first.kernel {
            KernelName::Ours(flavour) => &environment.guest.kernel(flavour)?.path,
            KernelName::File => environment.kernel_file.context("there is no kernel file")?,
        };
        machine.log_prefix = self.prefix;
        machine.commands = commands;
        machine.kernel_args.splice(0..0, kernel_words(first.check));
        self.device.clone_into(&mut machine.device.device);
        if let Some(rules) = first.check.fault_rules(self.number) {
            let path = environment
                .folder
                .join(format!("{}faults.toml", self.prefix));
            std::fs::write(&path, rules).with_context(|| format!("writing {}", path.display()))?;
            machine.device.faults = Some(path);
        }
        let mut step = progress.step(&format!(
            "suite {} on the {} kernel",
            environment.name, first.kernel
        ));
        step.total(machine.commands.jobs.len() as u64);
        let report = machine::run(&machine, &mut |record| match &record.event {
            Event::JobStart { name, .. } => step.detail(name),
            Event::JobEnd { job, .. } => step.position(u64::from(*job) + 1),
            _ => {}
        })?;
        let boot = Boot {
            roles: &roles,
            report: &report,
        };
        let verdicts: Vec<_> = items
            .iter()
            .enumerate()
            .map_while(|(index, item)| boot.verdict(index, item.check))
            .collect();
        step.done(&format!("{} checks", verdicts.len()));
        Ok((verdicts, report))
    }
}

/// `nvme` gets one polled queue unless the check says otherwise.
fn kernel_words(check: &Check) -> Vec<String> {
    let told = check
        .kernel_args
        .iter()
        .any(|word| word.starts_with("nvme.poll_queues="));
    let usual = (!told).then(|| "nvme.poll_queues=1".to_owned());
    usual
        .into_iter()
        .chain(check.kernel_args.iter().cloned())
        .collect()
}

fn commands(
    environment: &Environment<'_>,
    items: &[Item<'_>],
) -> (CommandList, Vec<(usize, Role)>) {
    let mut list = CommandList {
        mounts: environment.machine.commands.mounts.clone(),
        ..CommandList::default()
    };
    let mut roles = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let scripts = [
            (Role::Setup, item.check.setup.as_ref()),
            (Role::Run, Some(&item.check.run)),
            (Role::Teardown, item.check.teardown.as_ref()),
        ];
        for (role, script) in scripts {
            let Some(script) = script else { continue };
            let mut job = Job::new(item.check.name.clone(), Command::Shell(script.clone()));
            let slowness = environment.machine.slowness;
            job.env = BTreeMap::from([
                ("HIPRI_ENGINE".into(), format!("external:{FIO_ENGINE}")),
                ("HIPRI_SLOWNESS".into(), slowness.to_string()),
            ]);
            job.env.extend(item.check.env.clone());
            job.timeout_ms = Some(item.check.seconds * 1000 * u64::from(slowness));
            job.cwd = Some("/tmp".into());
            if role == Role::Run && item.check.expect.counters.is_some() {
                job.count_device = Some("/dev/nvme0".into());
                job.collect = vec![FIO_OUTPUT.into()];
            }
            list.jobs.push(job);
            roles.push((index, role));
        }
    }
    (list, roles)
}

/// What one boot gave, and which of its jobs is which script of which item.
struct Boot<'a> {
    roles: &'a [(usize, Role)],
    report: &'a RunReport,
}

impl Boot<'_> {
    /// The verdict on the item `index`, or `None` when the guest ended before it was begun. The
    /// first item always has one: a guest that does not even boot has failed it.
    fn verdict(&self, index: usize, check: &Check) -> Option<Verdict> {
        let (setup, run) = (self.job(index, Role::Setup), self.job(index, Role::Run));
        let begun = setup.or(run).is_some();
        let cut_short = begun && run.is_none_or(|run| run.outcome.is_none());
        if check.expect.power_off
            && let Some(run) = run.filter(|_| cut_short)
            && matches!(self.report.outcome, Outcome::GuestDied(_))
        {
            // It ended as it was told to.
            let ended = JobRecord {
                outcome: Some(hipri_agent::Outcome::Exited {
                    code: check.expect.exit,
                }),
                ..run.clone()
            };
            return Some(judge(check, &ended, self.kernel_said(index)));
        }
        if check.expect.power_off && !cut_short && begun {
            let mut verdict = run.map_or_else(Verdict::default, |run| {
                judge(check, run, self.kernel_said(index))
            });
            verdict.complain("it did not end with a power-off");
            return Some(verdict);
        }
        if let Some(failure) = self.report.failure()
            && (!begun && index == 0 || cut_short)
        {
            let mut verdict = Verdict::ended(status_of(&self.report.outcome), failure.message);
            let log = kernel_log::tail(self.kernel_said(index), LOG_LINES);
            verdict.kernel_log = log.to_owned();
            return Some(verdict);
        }
        if let Some(setup) = setup
            && !setup.succeeded()
        {
            let said = String::from_utf8_lossy(&setup.stderr);
            return Some(Verdict::failed(format!(
                "its set-up failed: {}",
                said.trim()
            )));
        }
        match run {
            Some(run) => {
                let kernel_said = self.kernel_said(index);
                let mut verdict = judge(check, run, kernel_said);
                if verdict.status == Status::TimedOut {
                    kernel_log::tail(kernel_said, LOG_LINES).clone_into(&mut verdict.kernel_log);
                }
                Some(verdict)
            }
            // The agent was done without it: a fault of ours, not to be passed over.
            None if self.report.outcome == Outcome::Completed => {
                Some(Verdict::failed("was not run"))
            }
            None => None,
        }
    }

    fn job(&self, index: usize, role: Role) -> Option<&JobRecord> {
        let at = self
            .roles
            .iter()
            .position(|found| *found == (index, role))?;
        self.report.transcript.jobs.get(&u32::try_from(at).ok()?)
    }

    /// What the kernel said during an item's scripts.
    fn kernel_said(&self, index: usize) -> &str {
        let jobs = self.roles.iter().zip(0u32..);
        let mut jobs = jobs
            .filter(|((item, _), _)| *item == index)
            .map(|(_, job)| job);
        let first = jobs.next().unwrap_or(0);
        let last = jobs.last().unwrap_or(first);
        kernel_log::part(&self.report.console, first, last)
    }
}

/// How a check ended in which a guest came to such an end.
fn status_of(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Panic(_) | Outcome::TripleFault => Status::Panicked,
        Outcome::Hang(_) => Status::Hung,
        Outcome::Timeout(_) => Status::TimedOut,
        Outcome::BootFailed(_) => Status::NotBooted,
        _ => Status::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hipri_agent::Outcome as JobOutcome;

    fn check(more: &str) -> Check {
        toml::from_str(&format!(
            "name = \"x\"\nkernel = \"patched\"\nrun = \"true\"\n{more}"
        ))
        .unwrap()
    }

    #[test]
    fn kernel_words_own_queues_replace_the_usual() {
        assert_eq!(kernel_words(&check("")), ["nvme.poll_queues=1"]);
        let own = check("kernel-args = [\"nvme.poll_queues=0\"]");
        assert_eq!(kernel_words(&own), ["nvme.poll_queues=0"]);
    }

    fn report(outcome: Outcome, jobs: &[Option<JobOutcome>]) -> RunReport {
        let mut transcript = machine::Transcript::default();
        for (index, outcome) in (0u32..).zip(jobs) {
            let job = JobRecord {
                outcome: outcome.clone(),
                ..JobRecord::default()
            };
            transcript.jobs.insert(index, job);
        }
        RunReport {
            outcome,
            transcript,
            boot_wall: None,
            console: format!(
                "[ 0.1] boot\n[ 1.0] {} x\n[ 1.1] here\n",
                hipri_agent::job_mark(0)
            ),
            device_log: String::new(),
        }
    }

    #[test]
    fn verdict_of_a_guest_that_ends_in_the_check_tells_how_and_has_the_log() {
        let roles = [(0, Role::Run), (1, Role::Run)];
        for (outcome, status) in [
            (Outcome::Panic("x".into()), Status::Panicked),
            (Outcome::Hang("x".into()), Status::Hung),
        ] {
            let report = report(outcome, &[None]);
            let boot = Boot {
                roles: &roles,
                report: &report,
            };
            let verdict = boot.verdict(0, &check("")).unwrap();
            assert_eq!(verdict.status, status);
            assert!(verdict.kernel_log.contains("here"));
            assert_eq!(
                boot.verdict(1, &check("")),
                None,
                "it is run in another boot"
            );
        }
    }

    #[test]
    fn verdict_of_a_guest_that_does_not_boot_is_the_first_checks() {
        let report = report(Outcome::BootFailed("x".into()), &[]);
        let boot = Boot {
            roles: &[(0, Role::Run)],
            report: &report,
        };
        let verdict = boot.verdict(0, &check("")).unwrap();
        assert_eq!(verdict.status, Status::NotBooted);
    }

    #[test]
    fn verdict_of_a_check_that_was_left_out_is_a_failure() {
        let report = report(Outcome::Completed, &[]);
        let boot = Boot {
            roles: &[(0, Role::Run)],
            report: &report,
        };
        assert_eq!(boot.verdict(0, &check("")).unwrap().status, Status::Failed);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a suite: as few boots as its checks allow.

use std::collections::BTreeMap;

use hipri_agent::{Command, CommandList, Event, Job};

use super::definition::{Check, Suite};
use super::judge::{FIO_OUTPUT, Verdict, judge};
use crate::guest::{FIO_ENGINE, Flavour, Guest};
use crate::machine::{self, DeviceKind, JobRecord, RunReport, Spec};
use crate::progress::Progress;

/// Where the suite runs.
#[derive(Clone, Debug)]
pub struct Environment<'a> {
    /// What every boot has in common; kernel, commands and log names are the suite's own.
    pub machine: Spec<'a>,
    /// Kernels and image; the kernels of checks that are skipped need not be there.
    pub guest: &'a Guest,
    /// Name of the suite, for the logs.
    pub name: &'a str,
}

/// How one check ended.
#[derive(Clone, Debug)]
pub struct Result {
    /// Suite, check and kernel.
    pub name: String,
    /// What was found.
    pub verdict: Verdict,
}

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Not run.
    pub skipped: usize,
}

impl Totals {
    /// Counts one more.
    pub fn count(&mut self, verdict: &Verdict) {
        if verdict.skipped.is_some() {
            self.skipped += 1;
        } else if verdict.passed() {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// A check on one kernel.
#[derive(Clone, Copy, Debug)]
struct Item<'a> {
    check: &'a Check,
    flavour: Flavour,
}

/// Which job of a boot is which script of which item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Setup,
    Run,
    Teardown,
}

/// How many results the suite gives.
pub fn count(suite: &Suite) -> usize {
    items(suite).len()
}

/// The results of the checks that cannot be run with this device, of the suite called `name`.
pub fn skipped(suite: &Suite, name: &str, device: DeviceKind) -> Vec<Result> {
    let skip = |item: Item<'_>| {
        let reason = item.check.unfit_for(device)?;
        Some(Result {
            name: name_of(name, item),
            verdict: Verdict::skipped(reason),
        })
    };
    items(suite).into_iter().filter_map(skip).collect()
}

/// Runs all checks but those that [`skipped`] gives, and hands over each result as it comes, boot
/// by boot.
///
/// # Errors
/// When a boot could not take place: exit 2, 3 or 130. A guest that fails is a check that failed.
pub fn run(
    suite: &Suite,
    environment: &Environment<'_>,
    progress: &dyn Progress,
    report: &mut dyn FnMut(Result) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let device = environment.machine.accel.machine().device();
    let fit = |item: &Item<'_>| item.check.unfit_for(device).is_none();
    let mut boots: Vec<Vec<Item<'_>>> = Vec::new();
    for item in items(suite).into_iter().filter(fit) {
        match boots.iter_mut().find(|boot| shares_boot(boot[0], item)) {
            Some(boot) => boot.push(item),
            None => boots.push(vec![item]),
        }
    }
    for (number, boot) in boots.iter().enumerate() {
        let mut rest = boot.as_slice();
        let mut attempt = 0;
        while !rest.is_empty() {
            let prefix = format!("{}-{}-{attempt}-", environment.name, number + 1);
            let done = run_boot(environment, rest, &prefix, progress, report)?;
            rest = &rest[done..];
            attempt += 1;
        }
    }
    Ok(())
}

fn items(suite: &Suite) -> Vec<Item<'_>> {
    suite
        .checks
        .iter()
        .flat_map(|check| {
            let flavours = check.kernel.flavours().iter();
            flavours.map(move |&flavour| Item { check, flavour })
        })
        .collect()
}

fn name_of(suite: &str, item: Item<'_>) -> String {
    format!("{suite}.{}.{}", item.check.name, item.flavour)
}

fn shares_boot(one: Item<'_>, other: Item<'_>) -> bool {
    one.flavour == other.flavour && one.check.kernel_args == other.check.kernel_args
}

/// Boots once and reports the items that were reached; gives their number, at least 1.
fn run_boot(
    environment: &Environment<'_>,
    items: &[Item<'_>],
    prefix: &str,
    progress: &dyn Progress,
    report: &mut dyn FnMut(Result) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let flavour = items[0].flavour;
    let (commands, roles) = commands(environment, items);
    let mut machine = environment.machine.clone();
    machine.kernel = &environment.guest.kernel(flavour)?.path;
    machine.log_prefix = prefix;
    machine.commands = commands;
    machine
        .kernel_args
        .splice(0..0, kernel_words(items[0].check));
    let mut step = progress.step(&format!(
        "suite {} on the {flavour} kernel",
        environment.name
    ));
    step.total(machine.commands.jobs.len() as u64);
    let outcome = machine::run(&machine, &mut |record| match &record.event {
        Event::JobStart { name, .. } => step.detail(name),
        Event::JobEnd { job, .. } => step.position(u64::from(*job) + 1),
        _ => {}
    })?;
    let completed = outcome.outcome.exit_reason().is_none();
    let mut reached = 0;
    for (index, item) in items.iter().enumerate() {
        let Some(verdict) = verdict_of(index, *item, &roles, &outcome, completed) else {
            break;
        };
        reached += 1;
        report(Result {
            name: name_of(environment.name, *item),
            verdict,
        })?;
    }
    step.done(&format!("{reached} checks"));
    Ok(reached)
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
            job.env = BTreeMap::from([("HIPRI_ENGINE".into(), format!("external:{FIO_ENGINE}"))]);
            job.timeout_ms = Some(item.check.seconds * 1000);
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

/// The verdict on an item, or `None` when the guest ended before it was begun. The first item
/// always has one: a guest that does not even boot has failed it.
fn verdict_of(
    index: usize,
    item: Item<'_>,
    roles: &[(usize, Role)],
    report: &RunReport,
    completed: bool,
) -> Option<Verdict> {
    let job = |role| -> Option<&JobRecord> {
        let at = roles.iter().position(|found| *found == (index, role))?;
        report.transcript.jobs.get(&u32::try_from(at).ok()?)
    };
    let (setup, run) = (job(Role::Setup), job(Role::Run));
    let begun = setup.or(run).is_some();
    if !completed && (!begun && index == 0 || begun && run.is_none_or(|run| run.outcome.is_none()))
    {
        let failure = report.failure().map(|failure| failure.message);
        return Some(Verdict::failed(failure.unwrap_or_default()));
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
        Some(run) => Some(judge(item.check, run)),
        // The agent was done without it: a fault of ours, not to be passed over.
        None if completed => Some(Verdict::failed("was not run")),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(text: &str) -> Suite {
        toml::from_str(text).unwrap()
    }

    const TWO: &str = r#"
        description = "x"
        [[check]]
        name = "a"
        kernel = "both"
        run = "true"
        [[check]]
        name = "b"
        kernel = "patched"
        kernel-args = ["nvme.poll_queues=0"]
        run = "true"
    "#;

    #[test]
    fn count_both_kernels_count_twice() {
        assert_eq!(count(&suite(TWO)), 3);
    }

    #[test]
    fn skipped_on_another_device_names_each_kernel() {
        let text = TWO.replacen("run =", "hipri-device = true\n        run =", 1);
        let suite = suite(&text);
        assert!(skipped(&suite, "s", DeviceKind::Hipri).is_empty());
        let results = skipped(&suite, "s", DeviceKind::Qemu);
        let names: Vec<&str> = results.iter().map(|result| result.name.as_str()).collect();
        assert_eq!(names, ["s.a.vanilla", "s.a.patched"]);
        assert!(
            results
                .iter()
                .all(|result| result.verdict.skipped.is_some())
        );
    }

    #[test]
    fn shares_boot_needs_same_kernel_and_words() {
        let suite = suite(TWO);
        let items = items(&suite);
        assert!(shares_boot(items[0], items[0]));
        assert!(!shares_boot(items[0], items[1]));
        assert!(!shares_boot(items[1], items[2]));
    }

    #[test]
    fn kernel_words_own_queues_replace_the_usual() {
        let suite = suite(TWO);
        assert_eq!(kernel_words(&suite.checks[0]), ["nvme.poll_queues=1"]);
        assert_eq!(kernel_words(&suite.checks[1]), ["nvme.poll_queues=0"]);
    }
}

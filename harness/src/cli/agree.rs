// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `agree`: the model, the guest in virtual time and the guest in real time beside each other.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::compare::parse_percent;
use super::options::{SweepOptions, TimeChoice};
use super::settings::{SettingsFile, SweepSettings};
use super::sweep::{Plan, write_charts};
use super::tell::tell;
use super::{model, predict};
use crate::agree::{self, AgreedCell, Agreement, Side};
use crate::exit::{ExitReason, Failure};
use crate::guest::Guest;
use crate::machine::Told;
use crate::machine::accel::AccelChoice;
use crate::model::{Costs, Scenario, simulate};
use crate::progress::{self, Progress};
use crate::report::{self, Style};
use crate::sweep::Cell;

/// What is compared.
#[derive(Clone, Debug, Args)]
#[command(mut_args(|arg| match arg.get_id().as_str() {
    // What is refused below, and what is done anyway.
    "time" | "trace" | "workload" | "reference" | "cpus" | "pollers" | "huge_pages" => arg.hide(true),
    _ => arg,
}))]
pub struct AgreeOptions {
    #[command(flatten)]
    sweep: SweepOptions,
    /// Ends with 1 if I/Os per second of virtual time and of the model differ by more than PCT percent
    /// in a cell.
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    within: Option<f64>,
}

/// Predicts, measures twice, and shows what differs and why.
///
/// # Errors
/// Exit 1 when `--within` is not kept; else as the exit codes say.
pub fn run(options: &AgreeOptions, verbose: u8) -> anyhow::Result<ExitCode> {
    let settings = SweepSettings::resolve(&options.sweep, &SettingsFile::load()?)?;
    refuse(&settings)?;
    let json = settings.json;
    let mut sides = Sides::plan(settings)?;
    let progress = progress::for_stderr();
    if !sides.real.settings.machine.dry_run {
        sides.real.context.settle_floor()?;
    }
    for plan in [&sides.virtual_time, &sides.real] {
        plan.context.warn(progress.as_ref());
    }
    if sides.real.settings.machine.dry_run {
        return sides.dry_run();
    }
    let guests = sides.guests(progress.as_ref())?;
    let out = sides.real.settings.machine.out.as_deref();
    let folder = report::make_folder(out, "agree")?;
    let cells = sides.cells(&guests, &folder, verbose, progress.as_ref())?;
    let agreement = Agreement::new(
        sides.real.context.profile.clone(),
        sides.real.context.accel.accel.name(),
        sides.costs,
        cells,
        options.within,
    );
    let document = serde_json::to_string_pretty(&agreement).context("writing the document")?;
    let shown = report::agreement(&agreement, Style::Markdown);
    report::keep(&folder, "agree.json", &document)?;
    report::keep(&folder, "report.txt", &shown)?;
    tell!("{}", if json { document } else { shown })?;
    progress.line(&format!("results are in {}", folder.display()));
    match agreement.within {
        Some(within) if !within.beyond.is_empty() => Err(Failure::new(
            ExitReason::Failed,
            format!(
                "virtual time differs from the model by more than {} %: {}",
                within.percent,
                within.beyond.join(", ")
            ),
        )
        .into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Refuses what not every side can have.
fn refuse(settings: &SweepSettings) -> Result<(), Failure> {
    let machine = &settings.machine;
    let refused = |text: &str| Err(Failure::usage(text.to_owned()));
    if machine.time.is_some() {
        return refused("--time: the guest runs in both times; leave it out");
    }
    if settings.workload != "seed" {
        return refused("--workload: the model knows that of the seed only; leave it out");
    }
    if settings.reference.is_some() {
        return refused(
            "--reference: neither model nor virtual time has null_blk; see hipri sweep",
        );
    }
    if machine.cpus.is_some_and(|cpus| cpus > 1) {
        return refused("--cpus: model and virtual time have one processor; leave it out");
    }
    if machine.told.pollers.is_some_and(|pollers| pollers > 1) {
        return refused("--pollers: the guest in virtual time has one; leave it out");
    }
    if machine.told.huge_pages.is_some() {
        return refused("--huge-pages: the guest in virtual time has none; leave it out");
    }
    predict::require_known(&settings.paths)
}

/// The three sides, worked out: nothing has been started or written.
struct Sides {
    virtual_time: Plan,
    real: Plan,
    /// Whether the guest in real time has a device that keeps a trace.
    traced: bool,
    /// Of model and virtual time.
    costs: Costs,
}

/// The guests of the sides.
struct Guests {
    virtual_time: Guest,
    real: Guest,
}

impl Sides {
    fn plan(settings: SweepSettings) -> anyhow::Result<Self> {
        let mut of_virtual_time = settings.clone();
        of_virtual_time.machine.time = Some(TimeChoice::Virtual);
        of_virtual_time.machine.accel = AccelChoice::Uml;
        of_virtual_time.runtime = None;
        let virtual_time = Plan::new(of_virtual_time, |_| TimeChoice::Virtual)?;
        let mut of_real = settings;
        of_real.machine.time = Some(TimeChoice::Real);
        of_real.machine.costs_told = false;
        of_real.ios = None;
        let mut real = Plan::new(of_real, |_| TimeChoice::Real)?;
        let machine = real.context.machine_kind();
        if !machine.device().has_profile() {
            return Err(Failure::usage(format!(
                "--accel {}: {} has no speed model, there is nothing to agree on; take uml or kvm",
                real.context.accel.accel.name(),
                machine.device()
            ))
            .into());
        }
        let traced = machine.check_told(&Told {
            trace: true,
            ..Told::default()
        });
        real.context.settings.told.trace = traced.is_ok();
        let file = virtual_time.context.costs_file.as_deref();
        let (costs, _) = Costs::load(file.context("virtual time has no costs")?)?;
        Ok(Self {
            traced: traced.is_ok(),
            virtual_time,
            real,
            costs,
        })
    }

    fn dry_run(&self) -> anyhow::Result<ExitCode> {
        self.virtual_time.dry_run()?;
        tell!()?;
        self.real.dry_run()
    }

    fn guests(&self, progress: &dyn Progress) -> anyhow::Result<Guests> {
        self.real.context.announce(progress);
        Ok(Guests {
            virtual_time: self.virtual_time.guest(progress)?,
            real: self.real.guest(progress)?,
        })
    }

    fn cells(
        &self,
        guests: &Guests,
        folder: &Path,
        verbose: u8,
        progress: &dyn Progress,
    ) -> anyhow::Result<Vec<AgreedCell>> {
        let measure = |plan: &Plan, guest: &Guest, name: &str, traced| {
            progress.line(&format!("in {name} time:"));
            let folder = folder.join(name);
            plan.measure(guest, Some(&folder), verbose, progress)?;
            write_charts(&folder, progress);
            agree::sides_of(&folder, plan.boots(), traced)
        };
        let modelled = self.modelled()?;
        let virtual_time = measure(&self.virtual_time, &guests.virtual_time, "virtual", true)?;
        let real = measure(&self.real, &guests.real, "real", self.traced)?;
        let cells = modelled.into_iter().zip(virtual_time).zip(real);
        Ok(cells
            .map(|(((cell, model), (_, virtual_time)), (_, real))| {
                AgreedCell::new(cell, model, virtual_time, real)
            })
            .collect())
    }

    /// What the model says, in the order in which the guests run the cells.
    fn modelled(&self) -> anyhow::Result<Vec<(Cell, Side)>> {
        let context = &self.virtual_time.context;
        let profile = model::profile(&context.repository, &context.settings.profile)?;
        let cells = self
            .virtual_time
            .boots()
            .iter()
            .flat_map(|boot| &boot.cells);
        cells
            .map(|&cell| {
                let scenario = Scenario {
                    seed: context.settings.seed,
                    ..Scenario::of_seed(&profile, &self.costs, cell.path, cell.depth)
                        .with_context(|| format!("the model does not know {}", cell.path))?
                };
                Ok((cell, Side::of_model(&simulate(&scenario))))
            })
            .collect()
    }
}

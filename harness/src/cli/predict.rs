// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `model` without a table: cells that nobody has measured, at one point or on a grid.

use emulator::timing::{Profile, Work};

use super::model::{self as cli, ModelOptions, OF_COSTS};
use super::tell::tell;
use crate::exit::Failure;
use crate::model::{self, Axis, Costs, Grid, GridCell, PredictedCell, Prediction, Scenario};
use crate::report;
use crate::repository::Repository;
use crate::sweep::{self, IoPath, seed};

/// A point: everything but path and depth is the same for its cells.
#[derive(Clone)]
struct Point {
    profile: Profile,
    /// Before `slower`.
    costs: Costs,
    slower: f64,
    depths: Vec<u32>,
    batch: Option<u32>,
    jobs: u16,
    block_size: u32,
    seed: u64,
}

/// Predicts and shows it.
pub fn run(options: &ModelOptions, repository: &Repository) -> anyhow::Result<()> {
    require_known(options.paths())?;
    let point = Point::of(options, repository)?;
    if options.sweep.is_empty() {
        let prediction = Prediction {
            time: "virtual",
            profile: point.profile.name().to_owned(),
            jobs: point.jobs,
            block_size: point.block_size,
            parameters: point.costs(),
            cells: point.cells(options),
        };
        options.show(&prediction, report::prediction_table)?;
        return options.keep_page(|| report::prediction_page(&prediction));
    }
    let axes = model::axes(&options.sweep)?;
    for axis in &axes {
        options.refuse_twice(axis)?;
    }
    let grid = grid(options, &point, axes)?;
    if options.csv {
        tell!("{}", report::grid_csv(&grid)?)?;
    } else {
        options.show(&grid, report::grid_table)?;
    }
    options.keep_page(|| report::grid_page(&grid))
}

/// Refuses paths that the model does not know.
pub(super) fn require_known(paths: &[IoPath]) -> Result<(), Failure> {
    let unknown = |path: &&IoPath| model::Software::of(**path).is_none();
    match paths.iter().find(unknown) {
        None => Ok(()),
        Some(path) => Err(Failure::usage(format!(
            "--paths {path}: the model knows mainline, aio-poll and aio-poll-all"
        ))),
    }
}

/// Whatever is wrong with a point is said before the first is simulated.
fn grid(options: &ModelOptions, base: &Point, axes: Vec<Axis>) -> anyhow::Result<Grid> {
    let points = model::points(&axes);
    let changed: Result<Vec<_>, _> = points.iter().map(|at| base.with(at)).collect();
    let mut cells = Vec::new();
    for (at, point) in points.iter().zip(changed?) {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let here = |predicted| GridCell {
            at: at.iter().map(own).collect(),
            jobs: point.jobs,
            block_size: point.block_size,
            predicted,
        };
        cells.extend(point.cells(options).into_iter().map(here));
    }
    Ok(Grid {
        time: "virtual",
        profile: base.profile.name().to_owned(),
        parameters: base.costs(),
        cells,
        sweep: axes,
    })
}

impl Point {
    fn of(options: &ModelOptions, repository: &Repository) -> anyhow::Result<Self> {
        let depths = options.depths.clone();
        Ok(Self {
            profile: options.changed(&cli::profile(repository, &options.profile)?)?,
            costs: cli::costs(options, repository)?.0,
            slower: options.slower,
            depths: depths.unwrap_or_else(|| seed::depths(&options.profile)),
            batch: options.batch,
            jobs: options.jobs,
            block_size: options.block_size,
            seed: options.seed,
        })
    }

    /// The same with other values.
    fn with(&self, at: &[(&str, &str)]) -> Result<Self, Failure> {
        let mut point = self.clone();
        let mut of_profile = Vec::new();
        for &(key, value) in at {
            let wrong =
                |message: String| Failure::usage(format!("--sweep {key}={value}: {message}"));
            match key {
                "depth" => point.depths = vec![number(value, 1, 4096).map_err(wrong)?],
                "batch" => point.batch = Some(number(value, 1, 4096).map_err(wrong)?),
                "jobs" => point.jobs = number(value, 1, 128).map_err(wrong)?,
                "seed" => point.seed = number(value, 0, u64::MAX).map_err(wrong)?,
                "block_size" => point.block_size = cli::parse_block(value).map_err(wrong)?,
                "slower" => point.slower = cli::parse_factor(value).map_err(wrong)?,
                _ => match key.strip_prefix(OF_COSTS) {
                    Some(cost) => {
                        let set = point.costs.set(cost, value);
                        set.map_err(|failure| wrong(failure.to_string()))?;
                    }
                    None => {
                        let change = (key.to_owned(), value.to_owned());
                        // Alone first: then it is known which of them is wrong.
                        let alone = self.profile.with(std::slice::from_ref(&change));
                        alone.map_err(|error| wrong(error.to_string()))?;
                        of_profile.push(change);
                    }
                },
            }
        }
        if !of_profile.is_empty() {
            point.profile = (self.profile.with(&of_profile))
                .map_err(|error| Failure::usage(format!("--sweep: {error}")))?;
        }
        Ok(point)
    }

    fn costs(&self) -> Costs {
        self.costs.slower(self.slower)
    }

    fn cells(&self, options: &ModelOptions) -> Vec<PredictedCell> {
        let of_depth = |&depth: &u32| {
            let cell = move |&path: &IoPath| self.cell(options, depth, path);
            options.paths().iter().filter_map(cell)
        };
        self.depths.iter().flat_map(of_depth).collect()
    }

    /// Nothing for paths that the model does not know.
    fn cell(&self, options: &ModelOptions, depth: u32, path: IoPath) -> Option<PredictedCell> {
        let batch = self.batch.unwrap_or_else(|| sweep::batch(depth)).min(depth);
        let outcome = model::simulate(&Scenario {
            profile: self.profile.clone(),
            costs: self.costs(),
            software: model::Software::of(path)?,
            depth,
            batch,
            block_size: self.block_size,
            work: if options.write {
                Work::Write
            } else {
                Work::Read
            },
            jobs: self.jobs,
            seed: self.seed,
            ios: options.ios,
        });
        Some(PredictedCell::of(path, depth, batch, &outcome))
    }
}

impl ModelOptions {
    fn paths(&self) -> &[IoPath] {
        self.paths.as_deref().unwrap_or(&IoPath::SEED)
    }

    /// What is swept has no other value besides.
    fn refuse_twice(&self, axis: &Axis) -> Result<(), Failure> {
        let option = match &*axis.key {
            "depth" if self.depths.is_some() => "--depths",
            "batch" if self.batch.is_some() => "--batch",
            "jobs" if self.jobs != 1 => "--jobs",
            "seed" if self.seed != 1 => "--seed",
            "block_size" if self.block_size != 4096 => "--block-size",
            "slower" if (self.slower - 1.0).abs() > f64::EPSILON => "--slower",
            key if self.set.iter().any(|(set, _)| set == key) => "--set",
            _ => return Ok(()),
        };
        let Axis { key, values } = axis;
        let values = values.join(",");
        Err(Failure::usage(format!(
            "--sweep {key}={values}: {option} has another value for it; leave one of them out"
        )))
    }
}

fn number<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let value = text
        .parse()
        .ok()
        .filter(|value| (least..=most).contains(value));
    let value = value.and_then(|value: u64| T::try_from(value).ok());
    value.ok_or_else(|| format!("write a whole number between {least} and {most}"))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the samples to figures, intervals and p-values.

use super::sides::Pair;
use super::{CellSide, ComparedCell, Figure, Overall, Samples, Settings, Verdict};
use crate::exit::Failure;
use crate::report::Run;
use crate::stats::{self, Bootstrap, FEWEST, Interval, Significance};
use crate::sweep::Row;

/// A cell's row in each run of a side.
type Rows<'a> = [(&'a Run, &'a Row)];

/// Samples of a cell's I/Os per second.
struct CellSamples {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl CellSamples {
    fn suffice(&self) -> bool {
        self.a.len().min(self.b.len()) >= FEWEST
    }
}

pub(super) fn compare(
    pairs: &[Pair<'_>],
    settings: Settings,
) -> Result<(Samples, Vec<ComparedCell>, Overall), Failure> {
    let (kind, cells) = samples(pairs)?;
    let significance = significance(kind, &cells, settings);
    let bootstrap = Bootstrap {
        confidence: settings.confidence,
        seed: settings.seed,
    };
    let mut compared = Vec::new();
    for ((pair, cell), significance) in pairs.iter().zip(&cells).zip(significance) {
        let a = side(&pair.a, &cell.a, bootstrap)?;
        let b = side(&pair.b, &cell.b, bootstrap)?;
        let ratio = Figure {
            value: b.iops.value / a.iops.value,
            interval: bootstrap.ratio_of_means(&cell.b, &cell.a),
        };
        let p_adjusted = significance.map(|found| found.adjusted);
        compared.push(ComparedCell {
            depth: pair.depth,
            path: pair.path,
            a,
            b,
            ratio,
            p_value: significance.map(|found| found.p),
            p_adjusted,
            verdict: Verdict::of(kind, ratio, p_adjusted, settings),
        });
    }
    let overall = overall(kind, &compared, &cells, bootstrap);
    Ok((kind, compared, overall))
}

/// What the samples are, and those of each cell; none where nothing can be said.
fn samples(pairs: &[Pair<'_>]) -> Result<(Samples, Vec<CellSamples>), Failure> {
    let (a, b) = (pairs[0].a.len(), pairs[0].b.len());
    let iops = |rows: &Rows<'_>| rows.iter().map(|(_, row)| row.iops).collect();
    let nothing = || CellSamples {
        a: Vec::new(),
        b: Vec::new(),
    };
    if a.min(b) >= FEWEST {
        let cell = |pair: &Pair<'_>| CellSamples {
            a: iops(&pair.a),
            b: iops(&pair.b),
        };
        return Ok((Samples::Runs, pairs.iter().map(cell).collect()));
    }
    let none = || pairs.iter().map(|_| nothing()).collect();
    if a != 1 || b != 1 {
        return Ok((Samples::None, none()));
    }
    if pairs[0].a[0].0.document.time == "virtual" {
        return Ok((Samples::Exact, none()));
    }
    let mut cells = Vec::new();
    for pair in pairs {
        let cell = CellSamples {
            a: intervals(pair.a[0])?,
            b: intervals(pair.b[0])?,
        };
        cells.push(if cell.suffice() { cell } else { nothing() });
    }
    let kind = if cells.iter().any(CellSamples::suffice) {
        Samples::Intervals
    } else {
        Samples::None
    };
    Ok((kind, cells))
}

/// A run's I/Os per second interval by interval, so that their mean is the run's figure: fio
/// leaves out the last interval, which is no whole one.
fn intervals((run, row): (&Run, &Row)) -> Result<Vec<f64>, Failure> {
    let samples = run.iops_samples(row)?.unwrap_or_default();
    let scale = row.iops / stats::mean(&samples);
    Ok(samples.into_iter().map(|sample| sample * scale).collect())
}

fn significance(
    kind: Samples,
    cells: &[CellSamples],
    settings: Settings,
) -> Vec<Option<Significance>> {
    match kind {
        Samples::Runs => {
            let pairs: Vec<_> = cells.iter().map(|c| (&c.a[..], &c.b[..])).collect();
            let found = stats::family(&pairs, settings.seed);
            found.into_iter().map(Some).collect()
        }
        Samples::Intervals => {
            // Intervals of different cells have nothing to do with each other.
            let own = |cell: &CellSamples| stats::two_sided(&cell.a, &cell.b, settings.seed);
            let p_values: Vec<f64> = cells.iter().filter(|c| c.suffice()).map(own).collect();
            let adjusted = stats::holm(&p_values);
            let mut found = p_values
                .into_iter()
                .zip(adjusted)
                .map(|(p, adjusted)| Significance { p, adjusted });
            let of = |cell: &CellSamples| cell.suffice().then(|| found.next()).flatten();
            cells.iter().map(of).collect()
        }
        Samples::Exact | Samples::None => vec![None; cells.len()],
    }
}

fn side(rows: &Rows<'_>, iops: &[f64], bootstrap: Bootstrap) -> Result<CellSide, Failure> {
    let means = |of: fn(&Row) -> f64| {
        let figures: Vec<f64> = rows.iter().map(|(_, row)| of(row)).collect();
        Figure {
            value: stats::mean(&figures),
            interval: bootstrap.mean(&figures),
        }
    };
    let mut side = CellSide {
        iops: Figure {
            interval: bootstrap.mean(iops),
            ..means(|row| row.iops)
        },
        lat_p50_ns: means(|row| nanoseconds(row.lat_p50_ns)),
        lat_p99_ns: means(|row| nanoseconds(row.lat_p99_ns)),
    };
    // One run: how sure its own percentiles are.
    if let [(run, row)] = rows
        && let Some(bins) = run.latencies(row)?
    {
        let interval = |share| -> Option<Interval> {
            stats::percentile_interval(&bins, share, bootstrap.confidence)
        };
        side.lat_p50_ns.interval = interval(0.5);
        side.lat_p99_ns.interval = interval(0.99);
    }
    Ok(side)
}

/// The geometric mean over the cells; of several runs, with the interval of each run's own.
fn overall(
    kind: Samples,
    compared: &[ComparedCell],
    cells: &[CellSamples],
    bootstrap: Bootstrap,
) -> Overall {
    let ratios: Vec<f64> = compared.iter().map(|cell| cell.ratio.value).collect();
    let value = geometric_mean(&ratios);
    if kind != Samples::Runs {
        return Overall {
            ratio: Figure {
                value,
                interval: None,
            },
            p_value: None,
        };
    }
    let runs = |of: fn(&CellSamples) -> &[f64]| -> Vec<f64> {
        let number = cells.first().map_or(0, |cell| of(cell).len());
        let run = |index: usize| {
            let figures: Vec<f64> = cells.iter().map(|cell| of(cell)[index]).collect();
            geometric_mean(&figures)
        };
        (0..number).map(run).collect()
    };
    let (a, b) = (runs(|cell| &cell.a), runs(|cell| &cell.b));
    Overall {
        ratio: Figure {
            value,
            interval: bootstrap.ratio_of_means(&b, &a),
        },
        p_value: Some(stats::two_sided(&a, &b, bootstrap.seed)),
    }
}

fn geometric_mean(figures: &[f64]) -> f64 {
    let logarithms: Vec<f64> = figures.iter().map(|figure| figure.ln()).collect();
    stats::mean(&logarithms).exp()
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn nanoseconds(time: u64) -> f64 {
    time as f64
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How many I/Os a second `hipri model` simulates, on one core, for each path at several depths: at
//! least 5 million, and not more than logarithmically fewer the deeper the queue.
//!
//! `cargo bench -p hipri --bench model`

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use emulator::timing::Profile;
use hipri::model::{Costs, Scenario, simulate};
use hipri::sweep::IoPath;

/// I/Os of a run: enough to hide what a run itself costs.
const IOS: u64 = 100_000;
/// From no queue at all to far more than units.
const DEPTHS: [u32; 4] = [1, 8, 64, 512];
/// What each figure is held against, in I/Os a second.
const WANTED: f64 = 5e6;

fn scenario(path: IoPath, depth: u32) -> Option<Scenario> {
    let profile = Profile::load("high-iops").ok()?;
    Some(Scenario {
        ios: IOS,
        ..Scenario::of_seed(&profile, &Costs::unknown(), path, depth)?
    })
}

/// The best of several runs, in I/Os a second: whatever else runs on the machine disturbs it least.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn rate(scenario: &Scenario) -> f64 {
    let run = |_| {
        let begin = Instant::now();
        black_box(simulate(black_box(scenario)));
        IOS as f64 / begin.elapsed().as_secs_f64()
    };
    (0..10).map(run).fold(0.0, f64::max)
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut group = criterion.benchmark_group("simulate");
    group.throughput(Throughput::Elements(IOS));
    let mut rates = Vec::new();
    for path in IoPath::SEED {
        for depth in DEPTHS {
            let Some(scenario) = scenario(path, depth) else {
                continue;
            };
            let id = BenchmarkId::new(path.to_string(), depth);
            group.bench_function(id, |bencher| bencher.iter(|| simulate(&scenario)));
            rates.push((path, depth, rate(&scenario)));
        }
    }
    group.finish();
    criterion.final_summary();
    println!("\nbest of ten runs, beside {:.0} M/s", WANTED / 1e6);
    for (path, depth, rate) in rates {
        let verdict = if rate >= WANTED { "" } else { "   missed" };
        println!("{path} {depth}: {:.1} M I/Os a second{verdict}", rate / 1e6);
    }
}

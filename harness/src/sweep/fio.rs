// SPDX-License-Identifier: Apache-2.0 OR MIT
//! fio's `json+` output.
//!
//! fio writes notes and errors before the document, into the same file: what comes before the
//! first line that starts with `{` is kept as diagnostics. Percentiles are taken from the bins, so
//! that several jobs and both directions can be put together; percentiles cannot be averaged.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;

/// The samples of fio's log of I/Os per second (`write_iops_log`, averaged over intervals): lines of
/// milliseconds, figure, direction and more. `None` where the intervals of several jobs or
/// directions are mixed, because they cannot be put together.
///
/// # Errors
/// When a line is no such line.
pub fn parse_iops_log(text: &str) -> anyhow::Result<Option<Vec<f64>>> {
    let mut samples = Vec::new();
    let mut last = None;
    for (number, line) in (1..).zip(text.lines()) {
        let mut fields = line.split(',').map(str::trim);
        let time = fields.next().and_then(|time| time.parse::<u64>().ok());
        let iops = fields.next().and_then(|iops| iops.parse::<u32>().ok());
        let (Some(time), Some(iops)) = (time, iops) else {
            bail!("line {number}: {line:?} is no line of fio's log");
        };
        if last >= Some(time) {
            return Ok(None);
        }
        last = Some(time);
        samples.push(f64::from(iops));
    }
    Ok(Some(samples))
}

/// What one fio run says, all its jobs together.
#[derive(Clone, Debug, PartialEq)]
pub struct FioResult {
    /// I/Os in all.
    pub total_ios: u64,
    /// I/Os per second: the jobs run side by side, so theirs are added up.
    pub iops: f64,
    /// Completion latency (fio's clat), in nanoseconds.
    pub completion: Latencies,
    /// Mean submission time (fio's slat), in nanoseconds.
    pub submit_mean_ns: f64,
    /// Mean completion latency (fio's clat), in nanoseconds. Both together are fio's lat.
    pub completion_mean_ns: f64,
    /// What fio wrote before the document.
    pub preamble: String,
}

/// A distribution as fio's bins give it: nanoseconds and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    bins: BTreeMap<u64, u64>,
}

impl Latencies {
    /// The smallest value that at least `percent` of all samples do not exceed, in nanoseconds;
    /// 0 without samples. `percent` is between 0 and 100.
    pub fn percentile(&self, percent: u32) -> u64 {
        let total: u128 = self.bins.values().copied().map(u128::from).sum();
        let mut seen = 0_u128;
        for (&nanoseconds, &count) in &self.bins {
            seen += u128::from(count);
            if seen * 100 >= total * u128::from(percent) {
                return nanoseconds;
            }
        }
        0
    }

    /// Nanoseconds and how often.
    pub fn bins(&self) -> &BTreeMap<u64, u64> {
        &self.bins
    }

    fn add(&mut self, bins: &BTreeMap<String, u64>) -> anyhow::Result<()> {
        for (nanoseconds, count) in bins {
            let nanoseconds = nanoseconds
                .parse()
                .with_context(|| format!("bin {nanoseconds:?} is no number"))?;
            *self.bins.entry(nanoseconds).or_default() += count;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Document {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    jobname: String,
    #[serde(default)]
    error: i32,
    read: Direction,
    write: Direction,
}

#[derive(Deserialize)]
struct Direction {
    #[serde(default)]
    total_ios: u64,
    #[serde(default)]
    iops: f64,
    #[serde(default)]
    slat_ns: Times,
    #[serde(default)]
    clat_ns: Times,
}

#[derive(Default, Deserialize)]
struct Times {
    #[serde(default)]
    mean: f64,
    #[serde(default, rename = "N")]
    samples: u32,
    #[serde(default)]
    bins: BTreeMap<String, u64>,
}

/// A mean of several jobs and directions.
#[derive(Default)]
struct Mean {
    sum: f64,
    samples: f64,
}

impl Mean {
    fn add(&mut self, times: &Times) {
        let samples = f64::from(times.samples);
        self.sum += times.mean * samples;
        self.samples += samples;
    }

    /// 0 without samples.
    fn value(&self) -> f64 {
        self.sum / self.samples.max(1.0)
    }
}

/// Reads what fio wrote with `--output-format=json+`.
///
/// # Errors
/// When there is no document in it, a job failed, or it did no I/O.
pub fn parse(text: &str) -> anyhow::Result<FioResult> {
    let (preamble, document) = split_preamble(text)?;
    let document: Document = serde_json::Deserializer::from_str(document)
        .into_iter()
        .next()
        .context("fio wrote no document")?
        .context("fio's document cannot be read")?;
    let mut result = FioResult {
        total_ios: 0,
        iops: 0.0,
        completion: Latencies::default(),
        submit_mean_ns: 0.0,
        completion_mean_ns: 0.0,
        preamble: preamble.trim().to_owned(),
    };
    let (mut submission, mut completion) = (Mean::default(), Mean::default());
    for job in &document.jobs {
        if job.error != 0 {
            let cause = std::io::Error::from_raw_os_error(job.error);
            bail!("fio's job {} failed: {cause}", job.jobname);
        }
        for direction in [&job.read, &job.write] {
            result.total_ios += direction.total_ios;
            result.iops += direction.iops;
            result.completion.add(&direction.clat_ns.bins)?;
            submission.add(&direction.slat_ns);
            completion.add(&direction.clat_ns);
        }
    }
    if result.total_ios == 0 {
        bail!("fio did no I/O");
    }
    result.submit_mean_ns = submission.value();
    result.completion_mean_ns = completion.value();
    Ok(result)
}

fn split_preamble(text: &str) -> anyhow::Result<(&str, &str)> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with('{') {
            return Ok(text.split_at(offset));
        }
        offset += line.len();
    }
    let said = text.trim();
    if said.is_empty() {
        bail!("fio wrote nothing");
    }
    bail!("fio wrote no JSON: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL_RUN: &str = include_str!("../../tests/fixtures/fio-null.json");

    #[test]
    fn parse_real_document_gives_its_figures() {
        let result = parse(NULL_RUN).unwrap();
        assert!(result.total_ios > 1000);
        assert!(result.iops > 1000.0);
        assert!(result.submit_mean_ns > 0.0);
        assert_eq!(result.preamble, "");
    }

    #[test]
    fn parse_real_document_percentiles_equal_fio_own() {
        let document: serde_json::Value = serde_json::from_str(NULL_RUN).unwrap();
        let own = &document["jobs"][0]["read"]["clat_ns"]["percentile"];
        let result = parse(NULL_RUN).unwrap();
        assert_eq!(own["50.000000"], result.completion.percentile(50));
        assert_eq!(own["99.000000"], result.completion.percentile(99));
    }

    #[test]
    fn parse_real_document_means_add_up_to_fio_own() {
        let document: serde_json::Value = serde_json::from_str(NULL_RUN).unwrap();
        let whole = document["jobs"][0]["read"]["lat_ns"]["mean"]
            .as_f64()
            .unwrap();
        let result = parse(NULL_RUN).unwrap();
        let parts = result.submit_mean_ns + result.completion_mean_ns;
        assert!((parts - whole).abs() < 0.01, "{parts} {whole}");
    }

    #[test]
    fn parse_preamble_is_kept_as_diagnostics() {
        let text = format!("note: both iodepth >= 1 and synchronous I/O engine\n{NULL_RUN}");
        let result = parse(&text).unwrap();
        assert!(result.preamble.starts_with("note: both iodepth"));
    }

    #[test]
    fn parse_two_jobs_are_put_together() {
        let job = |nanoseconds: u32| {
            format!(
                r#"{{"jobname": "j", "error": 0,
                "read": {{"total_ios": 10, "iops": 5.0, "slat_ns": {{"mean": {nanoseconds}.0, "N": 10}},
                         "clat_ns": {{"bins": {{"{nanoseconds}": 10}}}}}},
                "write": {{}}}}"#
            )
        };
        let text = format!("{{\"jobs\": [{}, {}]}}", job(100), job(300));
        let result = parse(&text).unwrap();
        assert_eq!(result.total_ios, 20);
        assert_eq!(result.iops, 10.0);
        assert_eq!(result.submit_mean_ns, 200.0);
        assert_eq!(result.completion.percentile(50), 100);
        assert_eq!(result.completion.percentile(99), 300);
    }

    #[test]
    fn parse_failed_job_names_the_error() {
        let text = r#"{"jobs": [{"jobname": "j", "error": 95, "read": {}, "write": {}}]}"#;
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("not supported"), "{error}");
    }

    #[test]
    fn parse_no_document_tells_what_fio_said() {
        let error = parse("fio: engine not found\n").unwrap_err().to_string();
        assert!(error.contains("engine not found"), "{error}");
        assert!(parse("").is_err());
    }

    #[test]
    fn iops_log_of_one_job_is_its_samples() {
        let log = "145, 3496006, 0, 0, 0\n246, 4083100, 0, 0, 0\n";
        let samples = parse_iops_log(log).unwrap();
        assert_eq!(samples, Some(vec![3_496_006.0, 4_083_100.0]));
        assert_eq!(parse_iops_log("").unwrap(), Some(Vec::new()));
    }

    #[test]
    fn iops_log_of_two_jobs_has_no_samples() {
        let log = "100, 50, 0, 0, 0\n100, 60, 0, 0, 0\n200, 50, 0, 0, 0\n";
        assert_eq!(parse_iops_log(log).unwrap(), None);
    }

    #[test]
    fn iops_log_that_is_none_names_the_line() {
        let error = parse_iops_log("100, 50\nfio: full\n")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }

    #[test]
    fn percentile_without_samples_is_zero() {
        assert_eq!(Latencies::default().percentile(50), 0);
    }
}

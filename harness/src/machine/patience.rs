// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long the guest may be silent, given its last word.

use std::time::Duration;

use hipri_agent::{Event, Job, When};

/// The agent's longest silence that is not a job: reading counters, sending files, ending.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// What a job may take beyond its own limit, which the agent keeps.
const KILL_GRACE: Duration = Duration::from_secs(15);

/// What a guest may take to power off once it is done.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(10);

/// What an event says about the next one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Whatever was so before the event.
    Unchanged,
    /// The next word may take any time.
    Endless,
    /// It is due within this time; its absence means what the text says.
    Within(Duration, String),
}

/// When the word after `event` is due, in a run of `jobs` on a kernel that may take `slowness`
/// times as long as another one. A job's own limit is meant as it is.
pub(super) fn after(event: &Event, jobs: &[Job], slowness: u32) -> Patience {
    match event {
        // The job has its time from its start, whatever it and its counters say meanwhile.
        Event::Output { .. }
        | Event::Counters {
            when: When::Before, ..
        } => Patience::Unchanged,
        Event::JobStart { job, name, .. } => {
            let job = usize::try_from(*job).ok().and_then(|index| jobs.get(index));
            job.and_then(|job| job.timeout_ms)
                .map_or(Patience::Endless, |limit| {
                    Patience::Within(
                        Duration::from_millis(limit) + KILL_GRACE * slowness,
                        format!("no end of job {name}"),
                    )
                })
        }
        Event::Done { .. } => Patience::Within(POWER_OFF_LIMIT * slowness, "no power-off".into()),
        _ => Patience::Within(SILENCE_LIMIT * slowness, "no word from the agent".into()),
    }
}

#[cfg(test)]
mod tests {
    use hipri_agent::{Command, CounterSample};

    use super::*;

    fn job(timeout_ms: Option<u64>) -> Job {
        Job {
            timeout_ms,
            ..Job::new("fio", Command::Shell("fio".into()))
        }
    }

    fn counters(when: When) -> Event {
        Event::Counters {
            job: 0,
            when,
            device: "/dev/nvme0".into(),
            sample: CounterSample::Error("none".into()),
        }
    }

    fn start() -> Event {
        Event::JobStart {
            job: 0,
            name: "fio".into(),
            argv: Vec::new(),
        }
    }

    #[test]
    fn job_start_gives_the_job_its_own_time() {
        let Patience::Within(limit, what) = after(&start(), &[job(Some(240_000))], 1) else {
            panic!("a job with a limit is waited for");
        };
        assert_eq!(limit, Duration::from_secs(240) + KILL_GRACE);
        assert!(what.contains("fio"));
    }

    #[test]
    fn job_start_without_a_limit_waits_for_ever() {
        assert_eq!(after(&start(), &[job(None)], 1), Patience::Endless);
    }

    #[test]
    fn counters_before_a_job_leave_it_its_time() {
        let jobs = [job(Some(240_000))];
        assert_eq!(
            after(&counters(When::Before), &jobs, 1),
            Patience::Unchanged
        );
    }

    #[test]
    fn counters_after_a_job_call_for_the_next_word_soon() {
        let jobs = [job(Some(240_000))];
        let patience = after(&counters(When::After), &jobs, 1);
        assert!(matches!(patience, Patience::Within(SILENCE_LIMIT, _)));
    }

    #[test]
    fn slow_kernel_has_more_time_but_not_its_jobs() {
        let Patience::Within(limit, _) = after(&start(), &[job(Some(240_000))], 5) else {
            panic!("a job with a limit is waited for");
        };
        assert_eq!(limit, Duration::from_secs(240) + KILL_GRACE * 5);
        let done = Event::Done {
            jobs_run: 0,
            jobs_failed: 0,
        };
        let Patience::Within(limit, _) = after(&done, &[], 5) else {
            panic!("the end is waited for");
        };
        assert_eq!(limit, POWER_OFF_LIMIT * 5);
    }
}

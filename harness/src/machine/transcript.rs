// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the agent told, put together job by job.

use std::collections::BTreeMap;

use hipri_agent::{CounterSample, Event, Outcome, Record, Stream, When};

/// The agent's first words.
#[derive(Clone, Debug)]
pub struct Hello {
    /// `uname -r` of the guest.
    pub kernel_release: String,
    /// `uname -v` of the guest.
    pub kernel_version: String,
    /// Nanoseconds from the kernel's start to this record.
    pub boot_ns: u64,
}

/// One job that was started.
#[derive(Clone, Debug, Default)]
pub struct JobRecord {
    /// Its name.
    pub name: String,
    /// How it ended; `None` if the guest ended first.
    pub outcome: Option<Outcome>,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// The files that were asked for, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Why a file, or the counters, did not come.
    pub complaints: Vec<String>,
    /// The device's counters before, a raw log page.
    pub counters_before: Option<Vec<u8>>,
    /// The device's counters after, a raw log page.
    pub counters_after: Option<Vec<u8>>,
}

impl JobRecord {
    /// Whether the job exited with 0.
    pub fn succeeded(&self) -> bool {
        self.outcome.as_ref().is_some_and(Outcome::is_success)
    }
}

/// Everything the agent told in one run.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The first words, once spoken.
    pub hello: Option<Hello>,
    /// The jobs by their index in the command list.
    pub jobs: BTreeMap<u32, JobRecord>,
    /// Why the agent failed.
    pub error: Option<String>,
    /// The agent has said that it is done.
    pub done: bool,
    next_sequence: u64,
}

impl Transcript {
    /// Takes in the next record. Lost records are noted, not made up for.
    pub fn take(&mut self, record: &Record) {
        if record.seq != self.next_sequence {
            let lost = format!(
                "records {} to {} of the agent are missing",
                self.next_sequence,
                record.seq.wrapping_sub(1)
            );
            log::warn!("{lost}");
            self.error.get_or_insert(lost);
        }
        self.next_sequence = record.seq.wrapping_add(1);
        match &record.event {
            Event::Hello {
                kernel_release,
                kernel_version,
                ..
            } => {
                self.hello = Some(Hello {
                    kernel_release: kernel_release.clone(),
                    kernel_version: kernel_version.clone(),
                    boot_ns: record.t_ns,
                });
            }
            Event::Mount { target, error, .. } => {
                // One that the command list asked for ends the run, and the agent says so.
                if let Some(error) = error {
                    log::warn!("the guest cannot mount {target}: {error}");
                }
            }
            Event::Done { .. } => self.done = true,
            Event::Error { message } | Event::Panic { message } => {
                self.error = Some(message.clone());
            }
            event => self.take_job_event(event),
        }
    }

    fn take_job_event(&mut self, event: &Event) {
        match event {
            Event::JobStart { job, name, .. } => {
                self.job(*job).name.clone_from(name);
            }
            Event::Counters {
                job, when, sample, ..
            } => self.job(*job).take_counters(*when, sample),
            Event::Output { job, stream, data } => {
                let record = self.job(*job);
                match stream {
                    Stream::Stdout => record.stdout.extend_from_slice(&data.0),
                    Stream::Stderr => record.stderr.extend_from_slice(&data.0),
                }
            }
            Event::File {
                job,
                path,
                data,
                error,
                ..
            } => {
                let record = self.job(*job);
                let content = record.files.entry(path.clone()).or_default();
                content.extend_from_slice(&data.0);
                if let Some(error) = error {
                    record.complaints.push(format!("{path}: {error}"));
                }
            }
            Event::JobEnd {
                job,
                outcome,
                duration_ns,
            } => {
                let record = self.job(*job);
                record.outcome = Some(outcome.clone());
                record.duration_ns = *duration_ns;
            }
            _ => {}
        }
    }

    fn job(&mut self, index: u32) -> &mut JobRecord {
        self.jobs.entry(index).or_default()
    }
}

impl JobRecord {
    fn take_counters(&mut self, when: When, sample: &CounterSample) {
        let page = match sample {
            CounterSample::Page(page) => match page.to_bytes() {
                Ok(bytes) => bytes,
                Err(error) => return self.complaints.push(format!("counters: {error}")),
            },
            CounterSample::Error(error) => {
                return self.complaints.push(format!("counters: {error}"));
            }
        };
        match when {
            When::Before => self.counters_before = Some(page),
            When::After => self.counters_after = Some(page),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hipri_agent::{Bytes, Page};

    fn transcript(events: Vec<Event>) -> Transcript {
        let mut transcript = Transcript::default();
        for (seq, event) in events.into_iter().enumerate() {
            transcript.take(&Record {
                seq: seq as u64,
                t_ns: 5,
                event,
            });
        }
        transcript
    }

    #[test]
    fn take_output_in_pieces_is_joined_by_stream() {
        let piece = |stream, text: &str| Event::Output {
            job: 2,
            stream,
            data: Bytes::from(text),
        };
        let all = transcript(vec![
            piece(Stream::Stdout, "a"),
            piece(Stream::Stderr, "!"),
            piece(Stream::Stdout, "b"),
        ]);
        assert_eq!(all.jobs[&2].stdout, b"ab");
        assert_eq!(all.jobs[&2].stderr, b"!");
        assert!(!all.jobs[&2].succeeded());
    }

    #[test]
    fn take_counters_hex_becomes_bytes() {
        let all = transcript(vec![Event::Counters {
            job: 0,
            when: When::After,
            device: "/dev/nvme0".into(),
            sample: CounterSample::Page(Page::from_bytes(&[0, 255])),
        }]);
        assert_eq!(all.jobs[&0].counters_after.as_deref(), Some(&[0, 255][..]));
    }

    #[test]
    fn take_gap_in_sequence_is_an_error() {
        let mut all = Transcript::default();
        all.take(&Record {
            seq: 3,
            t_ns: 0,
            event: Event::Done {
                jobs_run: 0,
                jobs_failed: 0,
            },
        });
        assert!(all.error.is_some());
    }
}

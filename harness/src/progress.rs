// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How far a long job is: bars on a terminal, plain lines elsewhere. Always on stderr; stdout is
//! for results.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where a long job tells how far it is.
pub trait Progress: Sync {
    /// Begins a step, such as "kernel patched: build". Dropping it without [`Step::done`] means
    /// that it was given up; the error that caused it is reported elsewhere.
    fn step(&self, title: &str) -> Box<dyn Step>;

    /// One line that stays on the screen.
    fn line(&self, text: &str);
}

/// A step that is under way.
pub trait Step {
    /// How many units the step has in all, once known; [`Step::position`] counts towards it.
    fn total(&mut self, units: u64);

    /// How many units are done.
    fn position(&mut self, units: u64);

    /// What it does right now, such as the file being compiled. Shown on a terminal only.
    fn detail(&mut self, text: &str);

    /// The step has succeeded; `result` is shown after its title ("12 patches", "unchanged").
    fn done(self: Box<Self>, result: &str);
}

/// Bars if stderr is a terminal, lines otherwise.
pub fn for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        Box::new(Bars {
            screen: MultiProgress::new(),
        })
    } else {
        Box::new(Lines)
    }
}

/// Shows nothing: for tests and for callers that print their own.
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _title: &str) -> Box<dyn Step> {
        Box::new(Self)
    }
    fn line(&self, _text: &str) {}
}

impl Step for Silent {
    fn total(&mut self, _units: u64) {}
    fn position(&mut self, _units: u64) {}
    fn detail(&mut self, _text: &str) {}
    fn done(self: Box<Self>, _result: &str) {}
}

/// One line when a step begins, one when it ends, and now and then one between, so that a log
/// shows that a long build is alive.
struct Lines;

/// How often a step of [`Lines`] says how far it is.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

struct LineStep {
    title: String,
    begun: Instant,
    last: Instant,
    total: Option<u64>,
}

impl Progress for Lines {
    fn step(&self, title: &str) -> Box<dyn Step> {
        eprintln!("{title} ...");
        let now = Instant::now();
        Box::new(LineStep {
            title: title.to_owned(),
            begun: now,
            last: now,
            total: None,
        })
    }

    fn line(&self, text: &str) {
        eprintln!("{text}");
    }
}

impl Step for LineStep {
    fn total(&mut self, units: u64) {
        self.total = Some(units);
    }

    fn position(&mut self, units: u64) {
        if self.last.elapsed() < LINE_INTERVAL {
            return;
        }
        self.last = Instant::now();
        match self.total {
            Some(total) => eprintln!("{} ... {units}/{total}", self.title),
            None => eprintln!("{} ... {units}", self.title),
        }
    }

    fn detail(&mut self, _text: &str) {}

    fn done(self: Box<Self>, result: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        eprintln!("{}: {result} ({seconds:.1} s)", self.title);
    }
}

struct Bars {
    screen: MultiProgress,
}

struct BarStep {
    screen: MultiProgress,
    bar: ProgressBar,
    title: String,
    finished: bool,
}

impl BarStep {
    fn style(bar: &ProgressBar, template: &str) {
        // The templates are constants of this file; a bar without one is still a bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
    }
}

/// Prints a line above whatever bars are on the screen. A terminal that went away is no reason to
/// stop the job.
fn print_above(screen: &MultiProgress, text: &str) {
    if screen.println(text).is_err() {
        log::info!("{text}");
    }
}

impl Progress for Bars {
    fn step(&self, title: &str) -> Box<dyn Step> {
        let bar = self.screen.add(ProgressBar::new_spinner());
        BarStep::style(&bar, "{spinner} {prefix} {wide_msg} {elapsed}");
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Box::new(BarStep {
            screen: self.screen.clone(),
            bar,
            title: title.to_owned(),
            finished: false,
        })
    }

    fn line(&self, text: &str) {
        print_above(&self.screen, text);
    }
}

impl Step for BarStep {
    fn total(&mut self, units: u64) {
        self.bar.set_length(units);
        BarStep::style(
            &self.bar,
            "{prefix} [{bar:24}] {pos}/{len} {wide_msg} {elapsed}",
        );
    }

    fn position(&mut self, units: u64) {
        self.bar.set_position(units);
    }

    fn detail(&mut self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn done(mut self: Box<Self>, result: &str) {
        self.finished = true;
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        let line = format!("{}: {result} ({seconds:.1} s)", self.title);
        print_above(&self.screen, &line);
    }
}

impl Drop for BarStep {
    fn drop(&mut self) {
        if !self.finished {
            self.bar.abandon();
        }
    }
}

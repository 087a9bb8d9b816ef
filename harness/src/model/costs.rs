// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What operations cost the processor that drives the device: the only parameters of the host.

use std::path::Path;

use emulator::timing::{Nanos, units};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::repository::parse_toml;

/// Longest cost that a file may name: a second.
const LONGEST: Nanos = 1_000_000_000;

/// Costs of single operations, in nanoseconds. Each is charged wherever its operation happens, on
/// whatever path; the paths differ by the operations that they need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Costs {
    /// Into the kernel and back.
    pub system_call: Nanos,
    /// One look at the clock, by fio.
    pub clock_read: Nanos,
    /// One access to memory that is guarded or shared: the application's iocb, the page table and the
    /// page of a buffer that is pinned, the file's reference count, a request.
    pub access: Nanos,
    /// An I/O's way through the block layer and the driver, once down and once up.
    pub io: Nanos,
    /// One look at a completion queue, by an interrupt or by a poller's turn.
    pub completion: Nanos,
    /// From the interrupt that ends a long idle time to the task that it wakes.
    pub wake_up: Nanos,
    /// What the next submission takes longer after a long idle time, in which the processor has
    /// cooled down.
    pub warm_up: Nanos,
    /// After how much idle time half of the last two is due.
    pub idle: Nanos,
}

/// Where costs come from that were fitted to a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The table's name.
    pub table: String,
    /// Depths that were not looked at.
    pub held_out: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CostsFile {
    system_call: String,
    clock_read: String,
    access: String,
    io: String,
    completion: String,
    wake_up: String,
    warm_up: String,
    idle: String,
    calibration: Option<Calibration>,
}

impl Costs {
    /// Names and values.
    pub fn named(&mut self) -> [(&'static str, &mut Nanos); 8] {
        [
            ("system_call", &mut self.system_call),
            ("clock_read", &mut self.clock_read),
            ("access", &mut self.access),
            ("io", &mut self.io),
            ("completion", &mut self.completion),
            ("wake_up", &mut self.wake_up),
            ("warm_up", &mut self.warm_up),
            ("idle", &mut self.idle),
        ]
    }

    /// Reads a file of `configs/costs/`, and what it was fitted to.
    ///
    /// # Errors
    /// Exit 2, with file and key.
    pub fn load(file: &Path) -> Result<(Self, Option<Calibration>), Failure> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        Self::parse(file, &text)
    }

    fn parse(file: &Path, text: &str) -> Result<(Self, Option<Calibration>), Failure> {
        let told: CostsFile = parse_toml(file, text)?;
        let texts = [
            told.system_call,
            told.clock_read,
            told.access,
            told.io,
            told.completion,
            told.wake_up,
            told.warm_up,
            told.idle,
        ];
        let mut costs = Self::default();
        for ((key, value), text) in costs.named().into_iter().zip(texts) {
            *value = cost(&text).map_err(|message| {
                Failure::usage(format!("{}: {key}: {message}", file.display()))
            })?;
        }
        Ok((costs, told.calibration))
    }

    /// Changes one value.
    ///
    /// # Errors
    /// Exit 2, with the key.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), Failure> {
        let names = self.named().map(|(name, _)| name).join(", ");
        let found = self.named().into_iter().find(|(name, _)| *name == key);
        let Some((_, value)) = found else {
            return Err(Failure::usage(format!(
                "costs.{key}: there is no such cost; there are: {names}"
            )));
        };
        *value = cost(text).map_err(|message| Failure::usage(format!("costs.{key}: {message}")))?;
        Ok(())
    }

    /// Of a processor that is so many times slower. How fast it cools down does not change.
    #[must_use]
    pub fn slower(mut self, factor: f64) -> Self {
        for (name, value) in self.named() {
            if name != "idle" {
                *value = scaled(*value, factor);
            }
        }
        self
    }

    /// As the guest kernel's command line takes it (`time-costs=`).
    pub fn kernel_word(mut self) -> String {
        self.named()
            .map(|(name, value)| format!("{name}:{value}"))
            .join(",")
    }

    /// Where a fit begins: round figures of a server's processor, right within a factor of two or so.
    /// `idle` is of the order of a shallow sleep state's target residency, `wake_up` of its exit and
    /// a context switch.
    pub fn unknown() -> Self {
        Self {
            system_call: 200,
            clock_read: 20,
            access: 100,
            io: 300,
            completion: 500,
            wake_up: 5000,
            warm_up: 2500,
            idle: 5000,
        }
    }

    /// As a file of `configs/costs/`.
    pub fn to_toml(mut self) -> String {
        let line = |(name, value): (&str, &mut Nanos)| format!("{name} = \"{value}ns\"\n");
        self.named().into_iter().map(line).collect()
    }

    /// How much of `wake_up` and of `warm_up` is due after some idle time: nothing after none, half
    /// after `idle`, nearly all after a multiple of it. Processors enter deeper states the longer they
    /// expect to be idle, and leave those later.
    pub fn after_idle(&self, idle: Nanos) -> (Nanos, Nanos) {
        let (time, half) = (u128::from(idle.min(LONGEST)), u128::from(self.idle));
        let share = |most: Nanos| {
            let whole = (time * time + half * half).max(1);
            Nanos::try_from(u128::from(most) * time * time / whole).unwrap_or(most)
        };
        (share(self.wake_up), share(self.warm_up))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "costs are at most a second, factors positive"
)]
fn scaled(cost: Nanos, factor: f64) -> Nanos {
    (cost as f64 * factor).round() as Nanos
}

fn cost(text: &str) -> Result<Nanos, String> {
    match units::duration(text) {
        Ok(nanos) if nanos <= LONGEST => Ok(nanos),
        Ok(_) => Err(format!("{text} is longer than a second")),
        Err(message) => Err(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Costs {
        let mut costs = Costs::default();
        for (number, (_, value)) in (1..).zip(costs.named()) {
            *value = 100 * number;
        }
        costs
    }

    #[test]
    fn to_toml_is_read_back() {
        let text = sample().to_toml();
        let (costs, calibration) = Costs::parse(Path::new("c.toml"), &text).unwrap();
        assert_eq!(costs, sample());
        assert_eq!(calibration, None);
    }

    #[test]
    fn parse_of_bad_costs_names_file_and_key() {
        let good = sample().to_toml();
        for (from, to, part) in [
            ("system_call", "system_cool", "system_cool"),
            ("300ns", "3 parsecs", "access: \"3 parsecs\""),
            ("300ns", "2s", "access: 2s is longer"),
        ] {
            let failure = Costs::parse(Path::new("c.toml"), &good.replace(from, to));
            let text = failure.unwrap_err().to_string();
            assert!(text.contains("c.toml") && text.contains(part), "{text}");
        }
    }

    #[test]
    fn set_changes_one_value_or_lists_them() {
        let mut costs = sample();
        costs.set("io", "1us").unwrap();
        assert_eq!(
            costs,
            Costs {
                io: 1000,
                ..sample()
            }
        );
        let failure = costs.set("wings", "1us").unwrap_err().to_string();
        assert!(
            failure.contains("costs.wings") && failure.contains("warm_up"),
            "{failure}"
        );
    }

    #[test]
    fn after_idle_grows_with_the_idle_time() {
        let costs = Costs {
            wake_up: 4000,
            warm_up: 1000,
            idle: 2000,
            ..Costs::default()
        };
        assert_eq!(costs.after_idle(0), (0, 0));
        assert_eq!(costs.after_idle(2000), (2000, 500));
        assert_eq!(costs.after_idle(6000), (3600, 900));
        assert_eq!(costs.after_idle(Nanos::MAX), (3999, 999));
        assert_eq!(Costs::default().after_idle(0), (0, 0));
    }
}

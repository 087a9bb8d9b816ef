// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the emulation takes by itself, below which no profile can go.

use std::fmt;

use super::file::Origin;
use super::{Nanos, Profile, ProfileError, Service};

/// What the emulation takes by itself on a machine; zeros where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// From a doorbell until the completion of a command that takes no time is seen.
    pub response: Nanos,
    /// What is added to the time of a command that takes some: its way to the device and back. Less
    /// than the response, part of which a command that takes time hides.
    pub way: Nanos,
    /// Each of many such commands, while one poller serves them.
    pub command: Nanos,
}

impl Floor {
    /// All that is known when somebody names the way: the response is no shorter.
    pub fn of_way(way: Nanos) -> Self {
        Self {
            response: way,
            way,
            command: 0,
        }
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ns from doorbell to completion, {} ns of it on the way; {} ns for each of many commands",
            self.response, self.way, self.command
        )
    }
}

impl Profile {
    /// Checks that the emulation can be as fast as the profile wants it. What takes no time at all
    /// asks for as fast as can be, and is served so.
    ///
    /// # Errors
    /// [`ProfileError`] names the key.
    pub fn check_floor(&self, floor: Floor) -> Result<(), ProfileError> {
        let at = Origin(self.origin());
        for (work, service) in [("read", &self.read), ("write", &self.write)] {
            let time = self.front_end.saturating_add(service.median());
            if !self.is_instant() && !service.is_instant() && time < floor.response {
                return Err(at.wrong(
                    &key(work, service),
                    format!(
                        "with front_end that is {time} ns, less than the {} ns that the emulator itself takes \
                         on this machine (hipri bench floor): take a longer time, or 0ns for as fast as can be",
                        floor.response
                    ),
                ));
            }
        }
        Ok(())
    }

    /// What is to be said of a profile that asks for more commands a second than one poller serves:
    /// low depths are not concerned.
    pub fn outruns(&self, floor: Floor) -> Option<String> {
        let each = |service: &Service| {
            let units = service.median() / u64::from(self.units);
            self.front_end.max(units)
        };
        let least = each(&self.read).min(each(&self.write));
        (least > 0 && least < floor.command).then(|| {
            format!(
                "{}: its units would serve a command every {least} ns, and the emulator itself takes {} ns for each \
                 on this machine: large depths will be slower than the profile",
                self.origin(),
                floor.command
            )
        })
    }
}

/// The key of a service time.
fn key(work: &str, service: &Service) -> String {
    let part = match service.spread() {
        super::Spread::Empirical(_) => "histogram",
        _ => "time",
    };
    format!("{work}.{part}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor {
        response: 150,
        way: 120,
        command: 60,
    };

    fn profile(front_end: Nanos, units: u16, time: Nanos) -> Profile {
        Profile::uniform("test", units, front_end, &Service::uniform(time, 0))
    }

    #[test]
    fn check_floor_names_key_and_figures() {
        let refusal = profile(20, 1, 100)
            .check_floor(FLOOR)
            .unwrap_err()
            .to_string();
        let wanted = "read.time: with front_end that is 120 ns, less than the 150 ns";
        assert!(refusal.contains(wanted), "{refusal}");
    }

    #[test]
    fn check_floor_lets_pass_what_can_be_and_what_is_to_take_no_time() {
        assert!(profile(50, 1, 100).check_floor(FLOOR).is_ok());
        assert!(profile(0, 1, 0).check_floor(FLOOR).is_ok());
        assert!(profile(20, 1, 100).check_floor(Floor::default()).is_ok());
    }

    #[test]
    fn outruns_tells_of_more_commands_than_one_poller_serves() {
        let told = profile(20, 100, 5_000).outruns(FLOOR).unwrap();
        assert!(told.contains("a command every 50 ns"), "{told}");
        assert_eq!(profile(60, 100, 5_000).outruns(FLOOR), None);
        assert_eq!(profile(0, 1, 0).outruns(FLOOR), None);
    }

    #[test]
    fn profiles_that_come_with_hipri_are_above_usual_floors() {
        let near = Floor {
            response: 250,
            way: 200,
            command: 80,
        };
        for name in ["high-iops", "low-latency", "floor"] {
            let profile = Profile::load(name).unwrap();
            profile.check_floor(near).unwrap();
            assert_eq!(profile.outruns(near), None, "{name}");
        }
    }
}

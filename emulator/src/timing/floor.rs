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
    /// Each of many such commands, while one poller serves them.
    pub command: Nanos,
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ns from doorbell to completion, {} ns for each of many commands",
            self.response, self.command
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
            let each = self.front_end.max(service.median() / u64::from(self.units));
            if each > 0 && each < floor.command {
                return Err(at.wrong(
                    "units",
                    format!(
                        "{} of them would serve a {work} every {each} ns, and the emulator itself takes {} ns for \
                         each on this machine (hipri bench floor): take fewer, or a longer front_end",
                        self.units, floor.command
                    ),
                ));
            }
        }
        Ok(())
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
        command: 60,
    };

    fn refusal(front_end: Nanos, units: u16, time: Nanos) -> Option<String> {
        let profile = Profile::uniform("test", units, front_end, &Service::uniform(time, 0));
        let result = profile.check_floor(FLOOR);
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn check_floor_names_key_and_figures() {
        let shorter = refusal(20, 1, 100).unwrap();
        assert!(
            shorter.contains("read.time: with front_end that is 120 ns, less than the 150 ns"),
            "{shorter}"
        );
        let more = refusal(20, 100, 5_000).unwrap();
        assert!(
            more.contains("units: 100 of them would serve a read every 50 ns"),
            "{more}"
        );
    }

    #[test]
    fn check_floor_lets_pass_what_can_be_and_what_is_to_take_no_time() {
        assert_eq!(refusal(50, 1, 100), None);
        assert_eq!(refusal(60, 100, 5_000), None);
        assert_eq!(refusal(0, 1, 0), None);
        let profile = Profile::uniform("test", 1, 20, &Service::uniform(100, 0));
        assert!(profile.check_floor(Floor::default()).is_ok());
    }

    #[test]
    fn profiles_that_come_with_hipri_are_above_usual_floors() {
        let near = Floor {
            response: 250,
            command: 80,
        };
        for name in ["high-iops", "low-latency", "floor"] {
            Profile::load(name).unwrap().check_floor(near).unwrap();
        }
    }
}

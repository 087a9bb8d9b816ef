// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which cores of the host the guest's processors and the device's poller keep to themselves.

use serde::Serialize;

use crate::exit::Failure;

/// Which core does what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Cores of the guest's processors, in order; more processors than cores take turns. Empty:
    /// the host's scheduler decides.
    pub guest: Vec<usize>,
    /// The device's core; `None` leaves it to the scheduler.
    pub device: Option<usize>,
    /// Nothing is pinned because there is no need to, not for want of cores.
    #[serde(skip)]
    free: bool,
}

/// What the user wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Nothing is pinned.
    None,
    /// The device's core, and those of the guest's processors.
    Cores {
        /// The device's.
        device: usize,
        /// The guest's, one or more.
        guest: Vec<usize>,
    },
}

impl Pin {
    /// From the option's text: `none`, or the device's core and then the guest's: `3,0,1`.
    ///
    /// # Errors
    /// What it wants instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let cores: Result<Vec<usize>, _> =
            text.split(',').map(|core| core.trim().parse()).collect();
        match cores.as_deref() {
            Ok([device, guest @ ..]) if !guest.is_empty() => Ok(Self::Cores {
                device: *device,
                guest: guest.to_vec(),
            }),
            _ => Err(
                "wants none, or the device's core and then one for each of the guest's processors, \
                 such as 3,0,1"
                    .to_owned(),
            ),
        }
    }
}

impl Placement {
    /// Nothing is pinned: there is one core.
    pub const NONE: Self = Self {
        guest: Vec::new(),
        device: None,
        free: false,
    };

    /// The host's scheduler decides.
    pub const FREE: Self = Self {
        guest: Vec::new(),
        device: None,
        free: true,
    };

    /// Of these `cores`: one for the device, whose sibling threads stay unused where there are
    /// others, and one for each of the guest's `cpus`, no two of them siblings where there are
    /// others.
    pub fn choose(cores: &[usize], cpus: u32) -> Self {
        Self::choose_with(cores, cpus, super::host::siblings)
    }

    fn choose_with(cores: &[usize], cpus: u32, siblings: impl Fn(usize) -> Vec<usize>) -> Self {
        let [first, others @ ..] = cores else {
            return Self::NONE;
        };
        let shared = siblings(*first);
        let device = others
            .iter()
            .find(|core| !shared.contains(core))
            .or(others.first());
        let Some(&device) = device else {
            return Self::NONE;
        };
        let beside_device = siblings(device);
        let mut guest: Vec<usize> = Vec::new();
        let mut seconds = Vec::new();
        for &core in cores.iter().filter(|&&core| core != device) {
            if core != *first && beside_device.contains(&core) {
                continue;
            }
            let own = siblings(core);
            if guest.iter().any(|taken| own.contains(taken)) {
                seconds.push(core);
            } else {
                guest.push(core);
            }
        }
        guest.extend(seconds);
        guest.truncate(usize::try_from(cpus).unwrap_or(usize::MAX).max(1));
        Self {
            guest,
            device: Some(device),
            free: false,
        }
    }

    /// What the user wants, as far as this process may run there: on `cores`.
    ///
    /// # Errors
    /// Exit 2, when it may not, or when the guest has fewer processors than cores were named.
    pub fn told(pin: &Pin, cores: &[usize], cpus: u32) -> Result<Self, Failure> {
        let Pin::Cores { device, guest } = pin else {
            return Ok(Self::FREE);
        };
        if let Some(core) = guest
            .iter()
            .chain([device])
            .find(|core| !cores.contains(core))
        {
            let may: Vec<String> = cores.iter().map(usize::to_string).collect();
            return Err(Failure::usage(format!(
                "--pin: core {core} is none of those that hipri may use: {}",
                may.join(", ")
            )));
        }
        if guest.len() != usize::try_from(cpus).unwrap_or(usize::MAX) {
            return Err(Failure::usage(format!(
                "--pin names {} cores for the guest, which has {cpus} processors (--cpus): one for \
                 each, behind the device's",
                guest.len()
            )));
        }
        Ok(Self {
            guest: guest.clone(),
            device: Some(*device),
            free: false,
        })
    }

    /// The core of each of the guest's `cpus`; empty where nothing is pinned.
    pub fn of_processors(&self, cpus: u32) -> Vec<usize> {
        let cpus = usize::try_from(cpus).unwrap_or(usize::MAX);
        self.guest.iter().copied().cycle().take(cpus).collect()
    }

    /// One line for the report.
    pub fn describe(&self) -> String {
        match (self.guest.as_slice(), self.device) {
            ([core], Some(device)) => format!("guest on core {core}, device on core {device}"),
            ([_, _, ..], Some(device)) => {
                let cores: Vec<String> = self.guest.iter().map(usize::to_string).collect();
                format!("guest on cores {}, device on core {device}", cores.join(", "))
            }
            _ if self.free => "nothing is pinned".into(),
            _ => "guest and device share one core: the device's poller yields, and every figure below includes that".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cores 0 and 1 are threads of one core, 2 and 3 of another, and so on.
    fn pairs(core: usize) -> Vec<usize> {
        vec![core & !1, core | 1]
    }

    #[test]
    fn choose_avoids_sibling_threads() {
        let placement = Placement::choose_with(&[0, 1, 2, 3], 1, pairs);
        assert_eq!(placement.guest, [0]);
        assert_eq!(placement.device, Some(2));
    }

    #[test]
    fn choose_gives_each_processor_a_core_and_siblings_last() {
        let cores: Vec<usize> = (0..8).collect();
        let placement = Placement::choose_with(&cores, 3, pairs);
        assert_eq!(placement.guest, [0, 4, 6]);
        let placement = Placement::choose_with(&cores, 6, pairs);
        assert_eq!(placement.guest, [0, 4, 6, 1, 5, 7]);
        assert_eq!(placement.device, Some(2));
    }

    #[test]
    fn choose_more_processors_than_cores_take_turns_and_leave_the_device_alone() {
        let placement = Placement::choose_with(&[0, 1, 2, 3], 4, pairs);
        assert_eq!(placement.guest, [0, 1]);
        assert_eq!(placement.of_processors(4), [0, 1, 0, 1]);
        assert!(Placement::FREE.of_processors(4).is_empty());
    }

    #[test]
    fn choose_only_siblings_takes_them() {
        let placement = Placement::choose_with(&[4, 5], 1, |_| vec![4, 5]);
        assert_eq!(placement.guest, [4]);
        assert_eq!(placement.device, Some(5));
    }

    #[test]
    fn choose_one_core_pins_nothing() {
        let placement = Placement::choose_with(&[3], 1, |_| vec![3]);
        assert_eq!(placement, Placement::NONE);
        assert!(placement.describe().contains("share one core"));
    }

    #[test]
    fn told_is_done_or_refused_with_the_reason() {
        let pin = Pin::parse("3,0,1").unwrap();
        let placement = Placement::told(&pin, &[0, 1, 2, 3], 2).unwrap();
        assert_eq!(
            (placement.device, &placement.guest[..]),
            (Some(3), &[0, 1][..])
        );
        let error = Placement::told(&pin, &[0, 1], 2).unwrap_err().to_string();
        assert!(
            error.contains("core 3") && error.contains("0, 1"),
            "{error}"
        );
        let error = Placement::told(&pin, &[0, 1, 3], 1)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("2 cores") && error.contains("--cpus"),
            "{error}"
        );
        assert_eq!(Placement::told(&Pin::None, &[0], 1), Ok(Placement::FREE));
    }

    #[test]
    fn parse_nonsense_is_refused() {
        for text in ["", "3", "a,b", "1,,2", "-1,2"] {
            assert!(Pin::parse(text).is_err(), "{text}");
        }
        assert_eq!(Pin::parse("none"), Ok(Pin::None));
    }
}

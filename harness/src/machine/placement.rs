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
    /// Cores of the device's pollers, in order; for those beyond the list the scheduler decides.
    pub device: Vec<usize>,
    /// Nothing is pinned because there is no need to, not for want of cores.
    #[serde(skip)]
    free: bool,
}

/// What the user wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Nothing is pinned.
    None,
    /// Cores of the device's pollers and then of the guest's processors.
    Cores(Vec<usize>),
}

impl Pin {
    /// From the option's text: `none`, or the device's cores and then the guest's: `3,0,1`.
    ///
    /// # Errors
    /// What it wants instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let cores = text.split(',').map(|core| core.trim().parse());
        match cores.collect::<Result<Vec<usize>, _>>() {
            Ok(cores) if cores.len() > 1 => Ok(Self::Cores(cores)),
            _ => Err(
                "wants none, or a core for each of the device's pollers and then one for each of the \
                 guest's processors, such as 3,0,1"
                    .to_owned(),
            ),
        }
    }
}

impl Placement {
    /// Nothing is pinned: there is one core.
    pub const NONE: Self = Self {
        guest: Vec::new(),
        device: Vec::new(),
        free: false,
    };

    /// The host's scheduler decides.
    pub const FREE: Self = Self {
        guest: Vec::new(),
        device: Vec::new(),
        free: true,
    };

    /// Of these `cores`: one for the device, whose sibling threads stay unused where there are
    /// others, one for each of the guest's `cpus`, no two of them siblings where there are others,
    /// and then those of further pollers. With too few, processors share before pollers do.
    pub fn choose(cores: &[usize], cpus: u32, pollers: u16) -> Self {
        Self::choose_with(cores, cpus, pollers, super::host::siblings)
    }

    fn choose_with(
        cores: &[usize],
        cpus: u32,
        pollers: u16,
        siblings: impl Fn(usize) -> Vec<usize>,
    ) -> Self {
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
        let further = usize::from(pollers).saturating_sub(1);
        let processors = usize::try_from(cpus).unwrap_or(usize::MAX);
        let kept = guest
            .len()
            .saturating_sub(further)
            .clamp(1, processors.max(1));
        let mut rest = guest.split_off(kept.min(guest.len()));
        rest.truncate(further);
        let mut devices = vec![device];
        devices.extend(rest);
        Self {
            guest,
            device: devices,
            free: false,
        }
    }

    /// What the user wants, as far as this process may run there: on `cores`.
    ///
    /// # Errors
    /// Exit 2, when it may not, or when there are more or fewer cores than pollers and processors.
    pub fn told(pin: &Pin, cores: &[usize], cpus: u32, pollers: u16) -> Result<Self, Failure> {
        let Pin::Cores(named) = pin else {
            return Ok(Self::FREE);
        };
        if let Some(core) = named.iter().find(|core| !cores.contains(core)) {
            let may: Vec<String> = cores.iter().map(usize::to_string).collect();
            return Err(Failure::usage(format!(
                "--pin: core {core} is none of those that hipri may use: {}",
                may.join(", ")
            )));
        }
        let pollers = usize::from(pollers);
        let wanted = pollers.saturating_add(usize::try_from(cpus).unwrap_or(usize::MAX));
        if named.len() != wanted {
            return Err(Failure::usage(format!(
                "--pin names {} cores, and {wanted} are wanted: {pollers} for the device's pollers \
                 (--pollers), then {cpus} for the guest's processors (--cpus)",
                named.len()
            )));
        }
        let (device, guest) = named.split_at(pollers);
        Ok(Self {
            guest: guest.to_vec(),
            device: device.to_vec(),
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
        match (self.guest.as_slice(), self.device.as_slice()) {
            ([_, ..], [_, ..]) => format!(
                "guest on {}, device on {}",
                describe_cores(&self.guest),
                describe_cores(&self.device)
            ),
            _ if self.free => "nothing is pinned".into(),
            _ => "guest and device share one core: the device's poller yields, and every figure below includes that".into(),
        }
    }
}

fn describe_cores(cores: &[usize]) -> String {
    let names: Vec<String> = cores.iter().map(usize::to_string).collect();
    let word = if cores.len() == 1 { "core" } else { "cores" };
    format!("{word} {}", names.join(", "))
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
        let placement = Placement::choose_with(&[0, 1, 2, 3], 1, 1, pairs);
        assert_eq!(placement.guest, [0]);
        assert_eq!(placement.device, [2]);
    }

    #[test]
    fn choose_gives_each_processor_a_core_and_siblings_last() {
        let cores: Vec<usize> = (0..8).collect();
        let placement = Placement::choose_with(&cores, 3, 1, pairs);
        assert_eq!(placement.guest, [0, 4, 6]);
        let placement = Placement::choose_with(&cores, 6, 1, pairs);
        assert_eq!(placement.guest, [0, 4, 6, 1, 5, 7]);
        assert_eq!(placement.device, [2]);
    }

    #[test]
    fn choose_further_pollers_get_what_the_guest_leaves() {
        let cores: Vec<usize> = (0..8).collect();
        let placement = Placement::choose_with(&cores, 2, 2, pairs);
        assert_eq!(
            (placement.guest, placement.device),
            (vec![0, 4], vec![2, 6])
        );
        let placement = Placement::choose_with(&[0, 1, 2, 3], 2, 2, |core| vec![core]);
        assert_eq!(
            (placement.guest, placement.device),
            (vec![0, 2], vec![1, 3])
        );
        // Processors share before pollers do.
        let placement = Placement::choose_with(&[0, 1, 2], 2, 2, |core| vec![core]);
        assert_eq!((placement.guest, placement.device), (vec![0], vec![1, 2]));
        let placement = Placement::choose_with(&[0, 1], 2, 3, |core| vec![core]);
        assert_eq!((placement.guest, placement.device), (vec![0], vec![1]));
    }

    #[test]
    fn choose_more_processors_than_cores_take_turns_and_leave_the_device_alone() {
        let placement = Placement::choose_with(&[0, 1, 2, 3], 4, 1, pairs);
        assert_eq!(placement.guest, [0, 1]);
        assert_eq!(placement.of_processors(4), [0, 1, 0, 1]);
        assert!(Placement::FREE.of_processors(4).is_empty());
    }

    #[test]
    fn choose_only_siblings_takes_them() {
        let placement = Placement::choose_with(&[4, 5], 1, 1, |_| vec![4, 5]);
        assert_eq!((placement.guest, placement.device), (vec![4], vec![5]));
    }

    #[test]
    fn choose_one_core_pins_nothing() {
        let placement = Placement::choose_with(&[3], 1, 1, |_| vec![3]);
        assert_eq!(placement, Placement::NONE);
        assert!(placement.describe().contains("share one core"));
    }

    #[test]
    fn told_is_done_or_refused_with_the_reason() {
        let pin = Pin::parse("3,0,1").unwrap();
        let placement = Placement::told(&pin, &[0, 1, 2, 3], 2, 1).unwrap();
        assert_eq!((placement.guest, placement.device), (vec![0, 1], vec![3]));
        let placement = Placement::told(&pin, &[0, 1, 2, 3], 1, 2).unwrap();
        assert_eq!(
            placement.describe(),
            "guest on core 1, device on cores 3, 0"
        );
        let error = Placement::told(&pin, &[0, 1], 2, 1).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("core 3") && error.contains("0, 1"),
            "{error}"
        );
        let error = Placement::told(&pin, &[0, 1, 3], 1, 1).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("3 cores") && error.contains("--cpus"),
            "{error}"
        );
        let free = Placement::told(&Pin::None, &[0], 1, 1).unwrap();
        assert_eq!(free, Placement::FREE);
    }

    #[test]
    fn parse_nonsense_is_refused() {
        for text in ["", "3", "a,b", "1,,2", "-1,2"] {
            assert!(Pin::parse(text).is_err(), "{text}");
        }
        assert_eq!(Pin::parse("none"), Ok(Pin::None));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The emulator's own floor: measured before a guest runs in real time, and subtracted from what the
//! profile says.

use emulator::bench::{BenchError, measure_floor};
use emulator::cli::Doorbells;
use emulator::timing::Floor;

use super::context::{Context, load_profile};
use super::options::FloorChoice;
use crate::exit::Failure;

impl Context {
    /// Refuses a time to subtract where there is nothing to subtract it from.
    ///
    /// # Errors
    /// Exit 2.
    pub(super) fn check_floor_told(&self) -> Result<(), Failure> {
        match (self.settings.floor, self.nothing_to_subtract()) {
            (FloorChoice::Told(_), Some(reason)) => {
                Err(Failure::usage(format!("--floor has no effect: {reason}")))
            }
            _ => Ok(()),
        }
    }

    /// Settles what the device subtracts, by measuring it if need be, which takes some milliseconds,
    /// and checks that the profile is not faster.
    ///
    /// # Errors
    /// Exit 2, when it is; exit 3, when nothing can be measured.
    pub fn settle_floor(&mut self) -> anyhow::Result<()> {
        if self.nothing_to_subtract().is_some() {
            return Ok(());
        }
        let profile = load_profile(&self.device)?;
        let cores = self
            .placement
            .guest
            .first()
            .zip(self.placement.device.first());
        let floor = match (self.settings.floor, cores) {
            (FloorChoice::Told(way), _) => Floor::of_way(way),
            (FloorChoice::Auto, Some((&guest, &poller)))
                if guest != poller && !profile.is_instant() =>
            {
                measure_floor((guest, poller)).map_err(failure)?
            }
            // Nobody knows which cores it will be, or there is one for both, or no time is asked for.
            (FloorChoice::Auto | FloorChoice::Off, _) => return Ok(()),
        };
        profile
            .check_floor(floor)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let of_all_pollers = Floor {
            command: floor.command / u64::from(self.pollers.max(1)),
            ..floor
        };
        self.warnings.extend(profile.outruns(of_all_pollers));
        self.device.floor = floor.way;
        Ok(())
    }

    /// Why the way to the device cannot be subtracted, if it cannot.
    fn nothing_to_subtract(&self) -> Option<String> {
        let device = self.machine_kind().device();
        if !device.has_profile() {
            return Some(format!("{device} has no speed model"));
        }
        if self.virtual_time.is_some() {
            return Some("in virtual time the way to the device takes nothing of its own".into());
        }
        (self.device.doorbells == Some(Doorbells::Exit))
            .then(|| "with --doorbells exit the way to the device is another one".into())
    }
}

/// What was wrong, as an exit code says it.
pub(super) fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Profile(error) => Failure::usage(error.to_string()),
        error => Failure::infrastructure(format!("measuring the device: {error}")),
    }
}

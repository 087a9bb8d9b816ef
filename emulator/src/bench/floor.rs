// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's own floor: what it takes when the profile takes nothing.

use super::{Access, BenchError, Driver, Latencies};
use crate::controller::BlockSize;
use crate::frontend::kvm::micro::{DeviceSetup, Doorbells};
use crate::media::Backing;
use crate::reference::{WINDOW, Windows};
use crate::timing::{Floor, Nanos, Profile, Service};

/// Bytes of the namespace: half of a usual second-level cache, so that it is the device that is
/// measured, not the host's memory.
pub(super) const AREA: u64 = 256 << 10;
/// What is measured.
pub(super) const READ: Access = Access::read(512);
/// Commands in flight where many are served.
const MANY: u16 = 32;
/// Windows of each measurement: some milliseconds on a quiet machine.
const WINDOWS: u64 = 40;

/// A service time far above any floor, and how many such commands are asked for.
const SERVICE: Nanos = 5_000;
const SERVED: u64 = 10_000;

/// Measures the floor between two cores: the driver's and the poller's. Takes some 60 ms on a quiet
/// machine; of medians and of the quietest tenth of many short windows, so that whatever else runs
/// disturbs it as little as it can.
///
/// # Errors
/// When there is one core for both, a core cannot be used, or the host has no memory.
pub fn measure_floor(cores: (usize, usize)) -> Result<Floor, BenchError> {
    if cores.0 == cores.1 {
        return Err(BenchError::Device(format!(
            "driver and poller need a core each, and core {} is the only one",
            cores.0
        )));
    }
    let no_delay = Profile::uniform("floor", 1, 0, &Service::default());
    let mut driver = device(no_delay, 1, 0, cores.1)?;
    let mut each = |depth| -> Result<Nanos, BenchError> {
        let mut windows = Windows::default();
        let commands = WINDOWS * WINDOW;
        driver.run(cores.0, READ, depth, commands, &mut windows, &mut ())?;
        let nanos = windows.nanos_each();
        let nanos = nanos.ok_or_else(|| BenchError::Device("nothing was measured".into()))?;
        Ok(whole(nanos))
    };
    let response = each(1)?;
    let command = each(MANY)?;
    drop(driver);
    Ok(Floor {
        response,
        way: way(cores)?.min(response),
        command,
    })
}

/// What is added to the time of a command that takes some: while the medium is at work, the device
/// does what it has to before its completion.
fn way(cores: (usize, usize)) -> Result<Nanos, BenchError> {
    let service = Service::uniform(SERVICE, 0);
    let profile = Profile::uniform("constant", 1, 0, &service);
    let mut driver = device(profile, 1, 0, cores.1)?;
    let mut latencies = Latencies::default();
    let mut windows = Windows::default();
    driver.run(cores.0, READ, 1, SERVED, &mut windows, &mut latencies)?;
    Ok(latencies.median().saturating_sub(SERVICE))
}

/// A driver of a device of this speed, whose poller is on `core`.
pub(super) fn device(
    profile: Profile,
    seed: u64,
    floor: Nanos,
    core: usize,
) -> Result<Driver, BenchError> {
    let function = setup(profile, seed, floor).build();
    let function = function.map_err(|error| BenchError::Device(error.to_string()))?;
    Driver::start(function, AREA, BlockSize::B512, core)
}

/// A device of this speed, with so much subtracted.
pub(super) fn setup(profile: Profile, seed: u64, floor: Nanos) -> DeviceSetup {
    DeviceSetup {
        doorbells: Doorbells::Shadow,
        media: Backing::Ram,
        bytes: AREA,
        block: BlockSize::B512,
        queue_pairs: 2,
        profile,
        seed,
        floor,
        filled: true,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few nanoseconds to some seconds"
)]
pub(super) fn whole(nanos: f64) -> Nanos {
    nanos.round() as Nanos
}

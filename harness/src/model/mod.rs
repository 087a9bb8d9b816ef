// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The model: one processor or a few, the software paths of the seed, and the emulator's own timing
//! model as the device, in virtual time. `docs/model.md` says what is simulated.
//!
//! What the host costs is one table of eight values ([`Costs`]), the same for every path, depth and
//! device. It can be fitted to figures that somebody has measured ([`calibrate`]).

mod calibrate;
mod compare;
mod costs;
mod grid;
mod lives;
mod predict;
mod search;
mod simulate;
pub mod table;

pub use calibrate::{Calibrated, Device, Effort, calibrate};
pub use compare::{ComparedCell, Comparison, compare};
pub use costs::{Calibration, Costs};
pub use grid::{Axis, Grid, GridCell, axes, points};
pub use lives::Lives;
pub use predict::{PredictedCell, Prediction};
pub use simulate::{DEFAULT_IOS, Outcome, Scenario, Software, Spent, simulate};

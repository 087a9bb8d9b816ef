// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a user gets to see and to keep: the table, the report, the result folder.

mod environment;
mod folder;
mod model;
mod table;

pub use environment::{Environment, revision};
pub use folder::{ResultFolder, make_folder};
pub use model::{comparison_table, grid_csv, grid_table, prediction_table};
pub use table::{Style, counters, depth_table, submission};

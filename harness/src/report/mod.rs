// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a user gets to see and to keep: the table, the report, the result folder.

mod agree;
mod compare;
mod environment;
mod folder;
mod html;
mod model;
mod read;
mod table;

pub use agree::agreement;
pub use compare::{iops_table, latency_table};
pub use environment::{Environment, revision};
pub use folder::{ResultFolder, keep, make_folder};
pub use html::{comparison_page, grid_page, prediction_page, write_page};
pub use model::{comparison_table, grid_csv, grid_table, prediction_table};
pub use read::{Circumstances, Run, runs_of};
pub use table::{Style, counters, depth_table, submission};

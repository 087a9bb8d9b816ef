// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tests of the room, by topic.

mod prp;
mod prp_property;
mod ram;
mod rings;

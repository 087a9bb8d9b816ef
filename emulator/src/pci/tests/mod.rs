// SPDX-License-Identifier: Apache-2.0 OR MIT
mod config_space;
mod msix;

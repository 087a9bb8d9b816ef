// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control socket: profile and counters at run time.

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who owns the loop: the poller (thread, clock, sleep and wake).

// SPDX-License-Identifier: Apache-2.0 OR MIT
mod guest;
mod message;
mod pcidev;
mod server;
mod session;
mod vring;

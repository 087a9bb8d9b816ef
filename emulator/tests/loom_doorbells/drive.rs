// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `crate::drive::Event`: a flag that stays set until it is cleared, as an eventfd.

use std::io;

use loom::sync::{Condvar, Mutex};

pub struct Event {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            is_set: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    pub fn set(&self) {
        *self.is_set.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// For ever: a lost wake-up is a deadlock, which loom reports.
    pub fn wait(&self) {
        let mut is_set = self.is_set.lock().unwrap();
        while !*is_set {
            is_set = self.changed.wait(is_set).unwrap();
        }
    }

    pub fn clear(&self) {
        *self.is_set.lock().unwrap() = false;
    }
}

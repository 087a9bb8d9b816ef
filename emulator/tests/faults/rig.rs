// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A host with one I/O queue, and a device with rules.

use emulator::engine::Engine;
use emulator::fault::Rules;

use crate::host::{Command, Completion, Host, Queue, READ, WRITE, transfer};

/// Entries of the queue.
pub const ENTRIES: u32 = 16;
/// The queue's interrupt vector.
pub const VECTOR: u16 = 1;

pub struct Rig {
    pub host: Host,
    pub queue: Queue,
    /// A page for data.
    pub page: u64,
}

impl Rig {
    /// A queue that interrupts, and then these rules.
    pub fn new(rules: &str) -> Self {
        let mut host = Host::new();
        let queue = host.create_queue(1, ENTRIES, Some(VECTOR));
        let page = host.page();
        let mut rig = Self { host, queue, page };
        rig.host.device.raised();
        rig.load(rules);
        rig
    }

    pub fn load(&mut self, rules: &str) {
        let rules = Rules::parse(rules, "test.toml").unwrap();
        self.host.device.engine().set_faults(rules);
    }

    pub fn engine(&mut self) -> &mut Engine {
        self.host.device.engine()
    }

    /// How often each rule has acted.
    pub fn hits(&mut self) -> Vec<u64> {
        let rules = self.engine().fault_rules();
        rules.iter().map(|rule| rule.hits).collect()
    }

    /// A read of block `slba` of the first namespace, into the page.
    pub fn read_of(&self, slba: u64) -> Command {
        transfer(READ, 1, slba, 1).prp(self.page, 0)
    }

    /// A write of `blocks` blocks of the first namespace from the page.
    pub fn write_of(&self, slba: u64, blocks: u32) -> Command {
        transfer(WRITE, 1, slba, blocks).prp(self.page, 0)
    }

    pub fn submit(&mut self, command: Command) -> u16 {
        self.host.submit(&mut self.queue, command)
    }

    /// Submits and lets the device work; its completion may or may not be there.
    pub fn send(&mut self, command: Command) -> u16 {
        let cid = self.submit(command);
        self.host.settle();
        cid
    }

    pub fn run(&mut self, command: Command) -> Completion {
        self.host.run(&mut self.queue, command)
    }

    pub fn reap(&mut self) -> Option<Completion> {
        self.host.reap(&mut self.queue)
    }

    /// Identifiers of all completions that are there.
    pub fn reap_all(&mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.reap().map(|completion| completion.cid)).collect()
    }

    /// Lets the device work for `milliseconds` of its time.
    pub fn wait(&mut self, milliseconds: u32) {
        for _ in 0..10 * milliseconds {
            self.host.settle();
        }
    }

    /// A controller reset, and the queue made anew.
    pub fn reset(&mut self) {
        self.host.disable();
        self.host.enable();
        self.queue = self.host.create_queue(1, ENTRIES, Some(VECTOR));
        self.host.device.raised();
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device without a front end.

use emulator::controller::InterruptSink;
use emulator::dma::GuestRam;
use emulator::engine::Engine;

use crate::host::Transport;

/// The engine itself, on a clock that only [`Transport::work`] moves.
pub struct InProcess {
    engine: Engine,
    now: u64,
    raised: Vec<u16>,
}

struct Raised<'a>(&'a mut Vec<u16>);

impl InterruptSink for Raised<'_> {
    fn raise(&mut self, vector: u16) {
        self.0.push(vector);
    }
}

impl InProcess {
    pub fn new(mut engine: Engine, ram: &GuestRam) -> Self {
        engine.attach(ram.clone());
        Self {
            engine,
            now: 0,
            raised: Vec::new(),
        }
    }
}

impl Transport for InProcess {
    fn read(&mut self, offset: u64, size: usize) -> u64 {
        self.engine.read_register(offset, size)
    }

    fn write(&mut self, offset: u64, size: usize, value: u64) {
        self.engine.write_register(self.now, offset, size, value);
    }

    fn work(&mut self) {
        self.now += 1000;
        self.engine.step(self.now, &mut Raised(&mut self.raised));
    }

    fn raised(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.raised)
    }

    fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

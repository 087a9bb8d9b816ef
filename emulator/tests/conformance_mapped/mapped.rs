// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The PCI function in the process and on a clock of its own; accesses to the page of doorbells, if
//! there is one, stay in memory while the function says that it is mapped. Perhaps with a lane, as
//! a second poller would have it, that is lent every I/O queue whenever that is possible.

use std::sync::Arc;

use emulator::dma::{DoorbellPage, GuestRam};
use emulator::engine::{Engine, LaneShare};
use emulator::pci::{
    Delivery, FunctionLane, Identity, MSIX_TABLE, MsiMessage, MsiPort, NvmeFunction, Region,
};

use crate::host::{DOORBELLS, Transport};

const BAR0: u64 = 0xFE00_4000;
/// MSI-X control, past the capability's identifier and next pointer.
const MSIX_CONTROL: u64 = 0x52;
const MSI_ADDRESS: u64 = 0xFEE0_0000;

struct Raised(Vec<u16>);

impl MsiPort for Raised {
    fn send(&mut self, vector: u16, message: MsiMessage) -> Delivery {
        // A guest that has written nonsense to the table gets its messages elsewhere.
        if message.address == MSI_ADDRESS && message.data == u32::from(vector) {
            self.0.push(vector);
        }
        Delivery::Sent
    }
}

/// The lane gets every I/O queue.
const ALL: LaneShare = LaneShare { number: 0, of: 1 };

/// The function and its bus.
pub struct Mapped {
    function: NvmeFunction,
    lane: Option<FunctionLane>,
    port: Raised,
    now: u64,
}

impl Mapped {
    /// Gives BAR0 its address and enables memory, bus mastering and MSI-X, as a driver does.
    pub fn new(engine: Engine, guest_ram: &GuestRam) -> Self {
        let vectors = engine.config().vectors;
        let mut function = NvmeFunction::new(engine, &Identity::default(), vectors);
        function.attach(guest_ram.clone());
        function.write(0, Region::Config, 0x10, &BAR0.to_le_bytes());
        function.write(0, Region::Config, 4, &[6, 0]);
        for vector in 0..vectors {
            let entry = MSIX_TABLE + 16 * u64::from(vector);
            function.write(0, Region::Bar0, entry, &MSI_ADDRESS.to_le_bytes());
            let data = u64::from(vector).to_le_bytes();
            function.write(0, Region::Bar0, entry + 8, &data);
        }
        let enable = 0x8000_u16.to_le_bytes();
        function.write(0, Region::Config, MSIX_CONTROL, &enable);
        let lane = crate::LANE.then(|| function.lane().expect("media for several threads"));
        Self {
            function,
            lane,
            port: Raised(Vec::new()),
            now: 0,
        }
    }

    /// The page, when it is what lies at these bytes of BAR0 now.
    fn page_at(&self, offset: u64, size: usize) -> Option<&Arc<DoorbellPage>> {
        let address = BAR0.checked_add(offset)?;
        let within = address.checked_sub(self.function.mapped_doorbells()?)?;
        let end = within.checked_add(size as u64)?;
        (end <= DoorbellPage::BYTES as u64).then(|| self.function.doorbell_page().unwrap())
    }
}

/// Slot and byte in it.
fn slot(offset: u64) -> (u32, usize) {
    let offset = offset - DOORBELLS;
    (u32::try_from(offset / 4).unwrap(), (offset % 4) as usize)
}

impl Transport for Mapped {
    fn read(&mut self, offset: u64, size: usize) -> u64 {
        let mut data = [0; 8];
        if let Some(page) = self.page_at(offset, size) {
            for (offset, byte) in (offset..).zip(&mut data[..size]) {
                let (slot, at) = slot(offset);
                *byte = page.doorbell(slot).to_le_bytes()[at];
            }
        } else {
            self.function.read(Region::Bar0, offset, &mut data[..size]);
        }
        u64::from_le_bytes(data)
    }

    fn write(&mut self, offset: u64, size: usize, value: u64) {
        let data = &value.to_le_bytes()[..size];
        if let Some(page) = self.page_at(offset, size) {
            for (offset, &byte) in (offset..).zip(data) {
                let (slot, at) = slot(offset);
                let mut bytes = page.doorbell(slot).to_le_bytes();
                bytes[at] = byte;
                page.set_doorbell(slot, u32::from_le_bytes(bytes));
            }
        } else {
            self.function.write(self.now, Region::Bar0, offset, data);
        }
    }

    fn work(&mut self) {
        self.now += 1000;
        match &mut self.lane {
            Some(lane) if self.function.can_lend(ALL) => {
                self.function.lend(lane, ALL);
                lane.step(self.now, &mut self.port);
                self.function.step(self.now, &mut self.port);
                self.function.take_back(lane);
            }
            _ => {}
        }
        // With a lane: what it noticed is told by the function.
        self.function.step(self.now, &mut self.port);
    }

    fn raised(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.port.0)
    }

    fn engine(&mut self) -> &mut Engine {
        self.function.engine_mut()
    }
}

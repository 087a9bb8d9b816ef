// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver's side of virtio-pcidev, in the process and on a clock of its own.

use std::fs::File;

use emulator::dma::GuestRam;
use emulator::drive::FrontEnd;
use emulator::engine::Engine;
use emulator::frontend::vhost_user::{Notifier, PciQueues, Queue, Vring, VringLayout};
use emulator::pci::{Identity, MSIX_TABLE, NvmeFunction};
use rustix::event::{EventfdFlags, eventfd};

use crate::host::Transport;

const CFG_WRITE: u8 = 2;
const MMIO_READ: u8 = 3;
const MMIO_WRITE: u8 = 4;
const MSI: u8 = 7;

const READ: u16 = 0;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Memory for the queues, apart from that of the tests.
const BASE: u64 = 0x10_0000;
const ENTRIES: u16 = 64;
/// Bytes of a buffer.
const BUFFER: u64 = 64;
/// MSI-X control, past the capability's identifier and next pointer.
const MSIX_CONTROL: u64 = 0x52;
const MSI_ADDRESS: u64 = 0xA_0000;

/// A queue from the driver's side, with a buffer for each entry.
struct DriverQueue {
    ram: GuestRam,
    base: u64,
    available: u16,
    used: u16,
}

impl DriverQueue {
    fn layout(&self) -> VringLayout {
        VringLayout {
            size: u32::from(ENTRIES),
            descriptors: self.base,
            available: self.base + 0x1000,
            used: self.base + 0x2000,
            next: 0,
        }
    }

    fn buffer(&self, index: u16) -> u64 {
        self.base + 0x3000 + BUFFER * u64::from(index)
    }

    fn describe(&self, index: u16, length: usize, flags: u16, next: u16) {
        let mut bytes = self.buffer(index).to_le_bytes().to_vec();
        bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        let at = self.base + 16 * u64::from(index);
        self.ram.write(at, &bytes).unwrap();
    }

    /// Makes the chain that begins at descriptor `head` available.
    fn offer(&mut self, head: u16) {
        let ring = self.layout().available;
        let slot = ring + 4 + 2 * u64::from(self.available % ENTRIES);
        self.ram.write(slot, &head.to_le_bytes()).unwrap();
        self.available = self.available.wrapping_add(1);
        self.ram
            .write(ring + 2, &self.available.to_le_bytes())
            .unwrap();
    }

    /// The head of the next chain that came back.
    fn take_back(&mut self) -> Option<u16> {
        let ring = self.layout().used;
        let index: [u8; 2] = self.get(ring + 2);
        if u16::from_le_bytes(index) == self.used {
            return None;
        }
        let head: [u8; 2] = self.get(ring + 4 + 8 * u64::from(self.used % ENTRIES));
        self.used = self.used.wrapping_add(1);
        Some(u16::from_le_bytes(head))
    }

    fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram.read(address, &mut bytes).unwrap();
        bytes
    }
}

/// The device behind its queues.
pub struct Pcidev {
    commands: DriverQueue,
    interrupts: DriverQueue,
    queues: PciQueues,
    function: NvmeFunction,
    now: u64,
    raised: Vec<u16>,
}

impl Pcidev {
    /// Enables memory, bus mastering and MSI-X, as a driver does.
    pub fn new(engine: Engine, guest_ram: &GuestRam) -> Self {
        let vectors = engine.config().vectors;
        let mut function = NvmeFunction::new(engine, &Identity::default(), vectors);
        function.attach(guest_ram.clone());
        let ram = GuestRam::anonymous(&[(BASE, 0x1_0000)]).unwrap();
        let [commands, mut interrupts] = [BASE, BASE + 0x8000].map(|base| DriverQueue {
            ram: ram.clone(),
            base,
            available: 0,
            used: 0,
        });
        for index in 0..ENTRIES {
            interrupts.describe(index, 20, WRITE, 0);
            interrupts.offer(index);
        }
        let queue = |queue: &DriverQueue| Queue {
            vring: Vring::new(&ram, &queue.layout()).unwrap(),
            notifier: Notifier::Descriptors {
                kick: File::from(eventfd(0, EventfdFlags::NONBLOCK).unwrap()),
                call: File::from(eventfd(0, EventfdFlags::NONBLOCK).unwrap()),
            },
        };
        let mut device = Self {
            queues: PciQueues::new(queue(&commands), queue(&interrupts)),
            commands,
            interrupts,
            function,
            now: 0,
            raised: Vec::new(),
        };
        device.queues.resume_polling().unwrap();
        device.configure(vectors);
        device
    }

    fn configure(&mut self, vectors: u16) {
        self.access(CFG_WRITE, 4, 2, &6_u64.to_le_bytes());
        for vector in 0..vectors {
            let entry = MSIX_TABLE + 16 * u64::from(vector);
            self.write(entry, 8, MSI_ADDRESS);
            self.write(entry + 8, 8, u64::from(vector));
        }
        self.access(CFG_WRITE, MSIX_CONTROL, 2, &0x8000_u64.to_le_bytes());
    }

    /// One access, with 8 bytes of room for an answer.
    fn access(&mut self, op: u8, address: u64, size: usize, data: &[u8]) -> u64 {
        let mut message = vec![op, 0, 0, 0];
        message.extend(u32::try_from(size).unwrap().to_le_bytes());
        message.extend(address.to_le_bytes());
        message.extend(data);
        let queue = &mut self.commands;
        queue.ram.write(queue.buffer(0), &message).unwrap();
        queue.describe(0, message.len(), READ | NEXT, 1);
        queue.describe(1, 8, WRITE, 0);
        queue.ram.write(queue.buffer(1), &[0; 8]).unwrap();
        queue.offer(0);
        assert!(self.queues.serve(self.now, &mut self.function).unwrap());
        assert_eq!(self.commands.take_back(), Some(0));
        u64::from_le_bytes(self.commands.get(self.commands.buffer(1)))
    }

    /// Takes the messages that have come, and offers their buffers again.
    fn collect(&mut self) {
        while let Some(head) = self.interrupts.take_back() {
            let message: [u8; 20] = self.interrupts.get(self.interrupts.buffer(head));
            assert_eq!(message[0], MSI);
            // A guest that has written nonsense to the table gets its messages elsewhere.
            if message[8..16] == MSI_ADDRESS.to_le_bytes() {
                self.raised
                    .push(u16::from_le_bytes([message[16], message[17]]));
            }
            self.interrupts.offer(head);
        }
    }
}

impl Transport for Pcidev {
    fn read(&mut self, offset: u64, size: usize) -> u64 {
        self.access(MMIO_READ, offset, size, &[])
    }

    fn write(&mut self, offset: u64, size: usize, value: u64) {
        let bytes = value.to_le_bytes();
        self.access(MMIO_WRITE, offset, size, &bytes[..size]);
    }

    fn work(&mut self) {
        self.now += 1000;
        self.function.step(self.now, &mut self.queues);
        self.queues.flush(&mut self.function).unwrap();
        self.collect();
    }

    fn raised(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.raised)
    }

    fn engine(&mut self) -> &mut Engine {
        self.function.engine_mut()
    }
}

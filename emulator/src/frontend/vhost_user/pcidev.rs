// SPDX-License-Identifier: Apache-2.0 OR MIT
//! virtio-pcidev: PCI accesses on one queue, interrupts on another (Linux,
//! `include/uapi/linux/virtio_pcidev.h`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::vring::{Chain, Vring, VringError};
use crate::drive::FrontEnd;
use crate::pci::{Delivery, MsiMessage, MsiPort, NvmeFunction, Region};
use crate::timing::Nanos;

/// The longest access that is served: a page. Drivers that copy more from or to a BAR in one go
/// have no business with this device.
const MAX_ACCESS: usize = 4096;
/// The widest access to configuration space.
const MAX_CONFIG_ACCESS: usize = 8;
/// How many accesses are served in one turn, so that completions do not wait behind a guest that
/// floods us.
const BURST: usize = 32;
/// After how many served accesses the guest is told, so that it frees them; its ring holds 256. It
/// looks by itself whenever it waits for a read. Telling it seldom is a kindness: UML's driver (6.12)
/// frees them in an interrupt without a lock, which may hit it in the middle of adding one.
const CALL_EVERY: usize = 128;

const HEADER: usize = size_of::<AccessHeader>();

const OP_CFG_READ: u8 = 1;
const OP_CFG_WRITE: u8 = 2;
const OP_MMIO_READ: u8 = 3;
const OP_MMIO_WRITE: u8 = 4;
const OP_MMIO_MEMSET: u8 = 5;
const OP_MSI: u8 = 7;

/// `struct virtio_pcidev_msg`: 16 bytes, then the data.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AccessHeader {
    op: u8,
    bar: u8,
    reserved: U16,
    size: U32,
    address: U64,
}

#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MsiMessageWire {
    header: AccessHeader,
    data: U32,
}

/// What ends a guest's session.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A queue is broken.
    #[error("{queue} queue: {source}")]
    Vring {
        /// Which one.
        queue: &'static str,
        /// What is wrong.
        source: VringError,
    },
    /// An access that virtio-pcidev does not know, or whose data is missing.
    #[error("an access with operation {op}, BAR {bar} and {size} bytes is not possible")]
    Access {
        /// Operation.
        op: u8,
        /// BAR.
        bar: u8,
        /// Announced length.
        size: u32,
    },
}

/// The two queues, with their notifications.
pub struct PciQueues {
    commands: Queue,
    interrupts: Queue,
    scratch: Box<[u8; HEADER + MAX_ACCESS]>,
    /// Accesses served since the guest was last told.
    untold: usize,
    /// Messages were put on the interrupt queue in this turn.
    interrupts_added: bool,
    /// The interrupt queue turned out to be broken while a message was sent.
    broken: Option<QueueError>,
    warned: bool,
}

/// A queue with the file descriptors of its notifications.
pub struct Queue {
    /// The queue.
    pub vring: Vring,
    /// How the two sides tell each other that there is something in it.
    pub notifier: Notifier,
}

/// How driver and device notify each other.
pub enum Notifier {
    /// By file descriptors.
    Descriptors {
        /// Signalled by the driver: an eventfd.
        kick: File,
        /// Signals the driver: an eventfd, or with UML one end of a socket pair.
        call: File,
    },
    /// By messages of the session, which asks for those to the driver ([`PciQueues::take_calls`]).
    InBand {
        /// The driver is to be told.
        call: bool,
    },
}

impl PciQueues {
    /// Serves `commands` and sends messages on `interrupts`. The file descriptors must not block.
    pub fn new(commands: Queue, interrupts: Queue) -> Self {
        Self {
            commands,
            interrupts,
            scratch: Box::new([0; HEADER + MAX_ACCESS]),
            untold: 0,
            interrupts_added: false,
            broken: None,
            warned: false,
        }
    }

    /// Where each queue stands, to go on later.
    pub fn positions(&self) -> [u16; 2] {
        [&self.commands, &self.interrupts].map(|queue| queue.vring.next_available())
    }

    /// The descriptors that the driver signals.
    fn kicks(&self) -> impl Iterator<Item = &File> {
        [&self.commands, &self.interrupts]
            .into_iter()
            .filter_map(|queue| match &queue.notifier {
                Notifier::Descriptors { kick, .. } => Some(kick),
                Notifier::InBand { .. } => None,
            })
    }

    /// Executes one access; returns how many bytes were written into the chain.
    fn access(
        &mut self,
        now: Nanos,
        chain: &Chain,
        function: &mut NvmeFunction,
    ) -> Result<usize, QueueError> {
        let vring = &self.commands.vring;
        let got = vring
            .read(chain, &mut self.scratch[..])
            .map_err(on_commands)?;
        let (header, data) = self.scratch.split_at_mut(HEADER);
        let data_sent = got.saturating_sub(HEADER);
        let header = AccessHeader::read_from_bytes(header).unwrap_or_default();
        let size = usize::try_from(header.size.get()).unwrap_or(usize::MAX);
        let address = header.address.get();
        let impossible = || QueueError::Access {
            op: header.op,
            bar: header.bar,
            size: header.size.get(),
        };
        if got < HEADER {
            return Err(impossible());
        }
        match header.op {
            OP_CFG_READ | OP_MMIO_READ => {
                let data = data.get_mut(..size).ok_or_else(impossible)?;
                match region(header.op == OP_CFG_READ, header.bar) {
                    Some(region) => function.read(region, address, data),
                    None => data.fill(0xFF),
                }
                vring.write(chain, data).map_err(on_commands)?;
                return Ok(size);
            }
            // UML sends memset_io() as a configuration write of the whole length (all versions so
            // far). No NVMe driver uses it; refusing is safe, obeying would be harmful.
            OP_CFG_WRITE if size > MAX_CONFIG_ACCESS => {
                if !self.warned {
                    log::warn!("memset of {size} bytes in BAR {} ignored", header.bar);
                    self.warned = true;
                }
            }
            OP_CFG_WRITE | OP_MMIO_WRITE => {
                let data = data
                    .get(..size)
                    .filter(|data| data.len() <= data_sent)
                    .ok_or_else(impossible)?;
                if let Some(region) = region(header.op == OP_CFG_WRITE, header.bar) {
                    function.write(now, region, address, data);
                }
            }
            OP_MMIO_MEMSET => {
                let value = data[0];
                let data = data
                    .get_mut(..size)
                    .filter(|_| data_sent >= 1)
                    .ok_or_else(impossible)?;
                data.fill(value);
                if let Some(region) = region(false, header.bar) {
                    function.write(now, region, address, data);
                }
            }
            _ => return Err(impossible()),
        }
        Ok(0)
    }

    fn try_send(&mut self, message: MsiMessage) -> Result<Delivery, VringError> {
        let vring = &mut self.interrupts.vring;
        let Some(chain) = vring.take()? else {
            return Ok(Delivery::Busy);
        };
        let wire = MsiMessageWire {
            header: AccessHeader {
                op: OP_MSI,
                bar: 0,
                reserved: U16::ZERO,
                size: U32::new(4),
                address: U64::new(message.address),
            },
            data: U32::new(message.data),
        };
        vring.write(&chain, wire.as_bytes())?;
        vring.give_back(&chain, size_of::<MsiMessageWire>())?;
        self.interrupts_added = true;
        Ok(Delivery::Sent)
    }

    /// The queues whose driver is to be told in-band that there is something for it; once.
    pub fn take_calls(&mut self) -> impl Iterator<Item = u32> {
        let calls =
            [&mut self.commands, &mut self.interrupts].map(|queue| match &mut queue.notifier {
                Notifier::InBand { call } => std::mem::take(call),
                Notifier::Descriptors { .. } => false,
            });
        (0..)
            .zip(calls)
            .filter_map(|(index, call)| call.then_some(index))
    }

    /// Whether [`PciQueues::take_calls`] would give any.
    pub fn has_calls(&self) -> bool {
        [&self.commands, &self.interrupts]
            .iter()
            .any(|queue| matches!(queue.notifier, Notifier::InBand { call: true }))
    }

    fn call(queue: &mut Queue) -> Result<(), VringError> {
        if queue.vring.wants_call()? {
            match &mut queue.notifier {
                Notifier::Descriptors { call, .. } => {
                    // Full means that the guest has not yet read the last call; gone is noticed
                    // elsewhere.
                    let _ = call.write(&1_u64.to_ne_bytes());
                }
                Notifier::InBand { call } => *call = true,
            }
        }
        Ok(())
    }

    fn call_commands(&mut self) -> Result<(), QueueError> {
        self.untold = 0;
        Self::call(&mut self.commands).map_err(on_commands)
    }
}

impl MsiPort for PciQueues {
    fn send(&mut self, _vector: u16, message: MsiMessage) -> Delivery {
        if self.broken.is_some() {
            return Delivery::Sent;
        }
        self.try_send(message).unwrap_or_else(|source| {
            // Reported by the next serve(); until then messages have nowhere to go.
            self.broken = Some(on_interrupts(source));
            Delivery::Sent
        })
    }
}

impl FrontEnd for PciQueues {
    type Error = QueueError;

    fn serve(&mut self, now: Nanos, function: &mut NvmeFunction) -> Result<bool, QueueError> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        for served in 0..BURST {
            let Some(chain) = self.commands.vring.take().map_err(on_commands)? else {
                return Ok(served > 0);
            };
            let written = self.access(now, &chain, function)?;
            self.commands
                .vring
                .give_back(&chain, written)
                .map_err(on_commands)?;
            self.untold += 1;
        }
        Ok(true)
    }

    fn flush(&mut self, _function: &mut NvmeFunction) -> Result<(), QueueError> {
        if self.interrupts_added {
            self.interrupts_added = false;
            Self::call(&mut self.interrupts).map_err(on_interrupts)?;
        }
        if self.untold >= CALL_EVERY {
            self.call_commands()?;
        }
        Ok(())
    }

    fn prepare_sleep(&mut self) -> Result<bool, QueueError> {
        let vring = &self.commands.vring;
        vring.set_notifications(true).map_err(on_commands)?;
        Ok(!vring.has_work().map_err(on_commands)?)
    }

    fn resume_polling(&mut self) -> Result<(), QueueError> {
        self.commands
            .vring
            .set_notifications(false)
            .map_err(on_commands)?;
        // Buffers come back to the interrupt queue while nobody waits for them.
        self.interrupts
            .vring
            .set_notifications(false)
            .map_err(on_interrupts)
    }

    fn notifiers(&self) -> Vec<BorrowedFd<'_>> {
        self.kicks().map(AsFd::as_fd).collect()
    }

    fn clear_notifications(&mut self) {
        for mut kick in self.kicks() {
            // Empty is as good as cleared.
            let _: io::Result<usize> = kick.read(&mut [0; 8]);
        }
    }
}

fn region(config: bool, bar: u8) -> Option<Region> {
    if config {
        return Some(Region::Config);
    }
    // A PCI device's BARs are the first regions in VFIO's numbering too.
    Region::from_vfio_index(u32::from(bar)).filter(|region| *region == Region::Bar0)
}

fn on_commands(source: VringError) -> QueueError {
    QueueError::Vring {
        queue: "command",
        source,
    }
}

fn on_interrupts(source: VringError) -> QueueError {
    QueueError::Vring {
        queue: "interrupt",
        source,
    }
}

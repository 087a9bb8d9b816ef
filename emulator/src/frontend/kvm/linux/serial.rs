// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A 16550 serial port: output to a file, input from whoever has some.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kvm_ioctls::VmFd;
use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::frontend::kvm::vm::{VmError, host_error, kvm_error};

/// Input that the guest has not taken yet is kept up to this many bytes; more is refused.
const MOST_INPUT: usize = 64 << 10;

/// The port's interrupt line: an irqfd.
struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        match self.0.write(1) {
            // KVM has not taken the last one yet, which will do.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }
}

/// Where output goes. The guest does not end because nobody reads any more.
struct Output {
    file: Option<File>,
}

impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(data)
        {
            log::warn!("output of a serial port is lost from here on: {error}");
            self.file = None;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Port {
    uart: Serial<Line, NoEvents, Output>,
    waiting: VecDeque<u8>,
}

/// The port, shared by vCPUs and whoever gives it input.
pub struct SerialPort {
    port: Mutex<Port>,
}

impl SerialPort {
    /// A port on interrupt `irq` that writes to `output`.
    ///
    /// # Errors
    /// When KVM or the host refuses.
    pub fn new(vm: &VmFd, irq: u32, output: Option<File>) -> Result<Self, VmError> {
        let event = EventFd::new(EFD_NONBLOCK).map_err(host_error("an eventfd"))?;
        vm.register_irqfd(&event, irq)
            .map_err(kvm_error("raise interrupts by an eventfd"))?;
        Ok(Self {
            port: Mutex::new(Port {
                uart: Serial::new(Line(event), Output { file: output }),
                waiting: VecDeque::new(),
            }),
        })
    }

    /// Each use is one step, so a thread that panicked in between left the port whole.
    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads register `offset`, 0 to 7.
    pub fn read(&self, offset: u8) -> u8 {
        let mut port = self.port();
        let value = port.uart.read(offset);
        port.refill();
        value
    }

    /// Writes register `offset`, 0 to 7.
    pub fn write(&self, offset: u8, value: u8) {
        let mut port = self.port();
        if let Err(error) = port.uart.write(offset, value) {
            log::debug!("serial port: {error:?}");
        }
        port.refill();
    }

    /// Gives the guest input. Returns how many bytes were taken.
    pub fn input(&self, data: &[u8]) -> usize {
        let mut port = self.port();
        let room = MOST_INPUT - port.waiting.len();
        let taken = &data[..data.len().min(room)];
        port.waiting.extend(taken);
        port.refill();
        taken.len()
    }
}

impl Port {
    /// Moves input into the port's queue as far as there is room.
    fn refill(&mut self) {
        let room = self.uart.fifo_capacity().min(self.waiting.len());
        if room == 0 {
            return;
        }
        let bytes: Vec<u8> = self.waiting.drain(..room).collect();
        if let Err(error) = self.uart.enqueue_raw_bytes(&bytes) {
            log::debug!("serial port: input is lost: {error:?}");
        }
    }
}

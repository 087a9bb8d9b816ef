// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine that boots Linux: puts the parts together and runs them.

use std::fs::File;
use std::sync::Arc;

use super::acpi::{self, AcpiError};
use super::boot::{self, BootError, BootOptions};
use super::chipset::Chipset;
use super::cpu::{self, Features};
use super::interpreter::Interpreter;
use super::layout::{COM1_IRQ, COM2_IRQ, ECAM};
use super::serial::SerialPort;
use crate::drive::PollerOptions;
use crate::frontend::kvm::vm::kvm_error;
use crate::frontend::kvm::{
    Device, DeviceOptions, Irqchip, MemoryOptions, PciBus, Vcpus, Vm, VmError,
};
use crate::pci::NvmeFunction;

/// The most processors.
pub const MOST_CPUS: u8 = 16;

/// A machine, as asked for.
#[derive(Debug)]
pub struct MachineOptions {
    /// Kernel, RAM disks, command line.
    pub boot: BootOptions,
    /// Guest RAM.
    pub memory: MemoryOptions,
    /// Processors, 1 to [`MOST_CPUS`].
    pub cpus: u8,
    /// Which features they show.
    pub features: Features,
    /// Cores of the host for the processors, in order; those that have none may run anywhere.
    pub cores: Vec<usize>,
    /// Output of the console.
    pub console: Option<File>,
    /// Output of the second serial port.
    pub channel: Option<File>,
    /// Vectors of the NVMe function.
    pub vectors: u16,
    /// Its poller.
    pub poller: PollerOptions,
}

/// A machine that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// KVM or the host.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The kernel, its RAM disk or command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The tables.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// Too many processors, or none.
    #[error("{cpus} processors are not possible: 1 to {MOST_CPUS} are")]
    Cpus {
        /// What was asked for.
        cpus: u8,
    },
}

impl MachineError {
    /// Whether the user's files or options are at fault, and not the host.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Boot(_) | Self::Cpus { .. } | Self::Acpi(_) => true,
            Self::Vm(error) => matches!(error, VmError::Memory(error) if error.is_usage()),
        }
    }
}

/// A machine whose guest runs. Dropping it ends the guest.
pub struct Machine {
    // The guest ends before its device does.
    vcpus: Vcpus,
    device: Device,
    console: Arc<SerialPort>,
    _vm: Vm,
}

impl Machine {
    /// Builds the machine around `function` and starts the guest.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub fn start(
        options: MachineOptions,
        function: NvmeFunction,
        enter: fn() -> std::io::Result<()>,
    ) -> Result<Self, MachineError> {
        let cpus = options.cpus;
        if !(1..=MOST_CPUS).contains(&cpus) {
            return Err(MachineError::Cpus { cpus });
        }
        let vm = Vm::new(options.memory, Irqchip::Kernel)?;
        let rsdp = acpi::write(vm.memory(), cpus)?;
        let entry = boot::load(vm.memory(), options.memory.bytes, rsdp, &options.boot)?;
        let device = Device::attach(
            &vm,
            function,
            DeviceOptions {
                vcpus: cpus.into(),
                vectors: options.vectors,
                poller: options.poller,
            },
        )?;
        let console = Arc::new(SerialPort::new(vm.fd(), COM1_IRQ, options.console)?);
        let channel = Arc::new(SerialPort::new(vm.fd(), COM2_IRQ, options.channel)?);
        let interpreter = (options.features == Features::Interpretable)
            .then(|| Interpreter::new(vm.memory().clone()));
        let pci = PciBus::new(device.port().clone(), ECAM);
        let chipset = Arc::new(Chipset::new(
            pci,
            Arc::clone(&console),
            channel,
            interpreter,
        ));
        let mut fds = Vec::with_capacity(cpus.into());
        for index in 0..cpus {
            let fd = vm
                .fd()
                .create_vcpu(index.into())
                .map_err(kvm_error("make a processor"))?;
            cpu::set_up(vm.kvm(), &fd, index, cpus, options.features)?;
            if index == 0 {
                cpu::set_entry(vm.memory(), &fd, entry)?;
            }
            fds.push(fd);
        }
        let vcpus = Vcpus::start(fds, &chipset, &options.cores, enter)?;
        Ok(Self {
            vcpus,
            device,
            console,
            _vm: vm,
        })
    }

    /// The guest's processors, to wait for or to stop.
    pub fn vcpus(&self) -> &Vcpus {
        &self.vcpus
    }

    /// Its NVMe function.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The console, to give it input.
    pub fn console(&self) -> &Arc<SerialPort> {
        &self.console
    }

    /// Ends the guest if it still runs, and gives the function back.
    ///
    /// # Errors
    /// When the poller's thread has panicked.
    pub fn end(
        self,
    ) -> Result<(NvmeFunction, crate::drive::PollerCounters), MachineError> {
        drop(self.vcpus);
        Ok(self.device.end()?)
    }
}

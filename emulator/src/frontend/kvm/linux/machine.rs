// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine that boots Linux: puts the parts together and runs them.

use std::fs::File;
use std::sync::Arc;

use kvm_ioctls::VcpuFd;

use super::acpi::{self, AcpiError};
use super::boot::{self, BootError, BootOptions};
use super::chipset::Chipset;
use super::cpu::{self, Features};
use super::interpreter::Interpreter;
use super::layout::{COM1_IRQ, COM2_IRQ, ECAM};
use super::serial::SerialPort;
use crate::drive::{PollerCounters, PollerOptions};
use crate::frontend::kvm::vm::{host_error, kvm_error};
use crate::frontend::kvm::{
    ConfinementError, Device, DeviceOptions, Enforcement, Irqchip, MemoryOptions, PciBus, Role,
    Vcpus, Vm, VmError, confine_process, confine_thread,
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
    /// System call filters.
    #[error(transparent)]
    Confinement(#[from] ConfinementError),
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
            Self::Confinement(_) => false,
        }
    }
}

/// A machine whose guest has not begun.
pub struct Machine {
    fds: Vec<VcpuFd>,
    chipset: Arc<Chipset>,
    cores: Vec<usize>,
    device: Device,
    vm: Vm,
}

/// A machine whose guest runs. Dropping it ends the guest.
pub struct RunningMachine {
    // The guest ends before its device does.
    vcpus: Vcpus,
    device: Device,
    _vm: Vm,
}

impl Machine {
    /// Builds the machine around `function`, with the kernel in its memory.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub fn build(options: MachineOptions, function: NvmeFunction) -> Result<Self, MachineError> {
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
        let chipset = Arc::new(Chipset::new(pci, console, channel, interpreter));
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
        Ok(Self {
            fds,
            chipset,
            cores: options.cores,
            device,
            vm,
        })
    }

    /// Its NVMe function.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The console, to give it input.
    pub fn console(&self) -> &Arc<SerialPort> {
        &self.chipset.console
    }

    /// Starts the guest. From here on every thread of the process may ask of the host only what its
    /// role needs: whatever else is to be opened or started must have been before.
    ///
    /// # Errors
    /// When the host gives no thread or no filter.
    pub fn start(self, enforcement: Enforcement) -> Result<RunningMachine, MachineError> {
        confine_process(enforcement)?;
        let poller = self.device.poller().handle();
        let confined = poller
            .on_each_poller(move || confine_thread(Role::Poller, enforcement))
            .map_err(std::io::Error::other)
            .map_err(host_error("the pollers"))?;
        confined.into_iter().collect::<Result<(), _>>()?;
        let enter = move || Ok(confine_thread(Role::Vcpu, enforcement)?);
        let vcpus = Vcpus::start(
            self.fds,
            &self.chipset,
            self.device.exits(),
            &self.cores,
            enter,
        )?;
        Ok(RunningMachine {
            vcpus,
            device: self.device,
            _vm: self.vm,
        })
    }
}

impl RunningMachine {
    /// The guest's processors, to wait for or to stop.
    pub fn vcpus(&self) -> &Vcpus {
        &self.vcpus
    }

    /// Ends the guest if it still runs, and gives the function back.
    ///
    /// # Errors
    /// When the poller's thread has panicked.
    pub fn end(self) -> Result<(NvmeFunction, PollerCounters), MachineError> {
        drop(self.vcpus);
        Ok(self.device.end()?)
    }
}

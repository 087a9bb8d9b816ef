// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The NVMe function of a virtual machine: its poller, and what ties it to the vCPUs.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::access::{self, Access, AccessPort, AccessQueue};
use super::interrupts::MsiRoutes;
use super::vm::{DoorbellSlot, Vm, VmError, host_error};
use crate::drive::{Clock, FrontEnd, Poller, PollerCounters, PollerOptions};
use crate::observe::VmExits;
use crate::pci::{Delivery, MsiMessage, MsiPort, NvmeFunction};
use crate::timing::Nanos;

/// How the device is attached.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// vCPUs that may access it.
    pub vcpus: usize,
    /// Vectors of the function.
    pub vectors: u16,
    /// Its poller.
    pub poller: PollerOptions,
}

/// The function's side of a virtual machine, on the poller's thread.
pub struct KvmFront {
    accesses: AccessQueue,
    routes: MsiRoutes,
    /// In doorbell mode `mapped`.
    doorbells: Option<DoorbellSlot>,
}

/// What ends the poller's service: nothing that a guest can do.
#[derive(Debug, thiserror::Error)]
pub enum KvmFrontError {}

/// A function that is served.
pub struct Device {
    poller: Poller<KvmFront>,
    port: AccessPort,
    exits: Arc<VmExits>,
}

impl Device {
    /// Attaches `function` to the machine and begins to serve it.
    ///
    /// # Errors
    /// When KVM or the host refuses.
    pub fn attach(
        vm: &Vm,
        mut function: NvmeFunction,
        options: DeviceOptions,
    ) -> Result<Self, VmError> {
        let (port, accesses) = access::channel(options.vcpus).map_err(host_error("an eventfd"))?;
        let front = KvmFront {
            accesses,
            routes: MsiRoutes::new(vm.fd().clone(), vm.irqchip(), options.vectors)?,
            doorbells: function
                .doorbell_page()
                .map(|page| vm.doorbell_slot(page.clone())),
        };
        let exits = Arc::new(VmExits::new(options.vcpus));
        function.set_exits(Arc::clone(&exits));
        function.attach(vm.ram());
        let poller = Poller::spawn(function, Clock::new(), options.poller)
            .map_err(host_error("the poller's thread"))?;
        poller
            .handle()
            .start(front)
            .map_err(std::io::Error::other)
            .map_err(host_error("the poller"))?;
        Ok(Self {
            poller,
            port,
            exits,
        })
    }

    /// For the vCPUs to access it.
    pub fn port(&self) -> &AccessPort {
        &self.port
    }

    /// Where the vCPUs count why they left the guest.
    pub fn exits(&self) -> &Arc<VmExits> {
        &self.exits
    }

    /// Its poller, for control and questions.
    pub fn poller(&self) -> &Poller<KvmFront> {
        &self.poller
    }

    /// Ends the service; the guest must not run any more.
    ///
    /// # Errors
    /// When the poller's thread has panicked.
    pub fn end(self) -> Result<(NvmeFunction, PollerCounters), VmError> {
        let (mut function, counters) = self
            .poller
            .end()
            .map_err(std::io::Error::other)
            .map_err(host_error("the poller"))?;
        function.detach();
        Ok((function, counters))
    }
}

impl KvmFront {
    /// Follows what the function says about where it answers.
    fn follow(
        accesses: &AccessQueue,
        doorbells: Option<&mut DoorbellSlot>,
        function: &NvmeFunction,
    ) {
        accesses.publish_bar0(function.bar0());
        if let Some(doorbells) = doorbells {
            doorbells.lay(function.mapped_doorbells());
        }
    }

    fn answer(now: Nanos, function: &mut NvmeFunction, access: &Access) -> u64 {
        let mut bytes = [0; 8];
        match access.data {
            Some(data) => {
                bytes = data.to_le_bytes();
                let data = &bytes[..access.size];
                function.write(now, access.region, access.offset, data);
                0
            }
            None => {
                function.read(access.region, access.offset, &mut bytes[..access.size]);
                u64::from_le_bytes(bytes)
            }
        }
    }
}

impl MsiPort for KvmFront {
    fn send(&mut self, vector: u16, message: MsiMessage) -> Delivery {
        self.routes.send(vector, message)
    }
}

impl FrontEnd for KvmFront {
    type Error = KvmFrontError;

    fn serve(&mut self, now: Nanos, function: &mut NvmeFunction) -> Result<bool, KvmFrontError> {
        if self.accesses.is_empty() {
            return Ok(false);
        }
        let Self {
            accesses,
            doorbells,
            ..
        } = self;
        accesses.serve(|accesses, access| {
            let answer = Self::answer(now, function, access);
            // Before the vCPU goes on.
            Self::follow(accesses, doorbells.as_mut(), function);
            answer
        });
        Ok(true)
    }

    fn flush(&mut self, function: &mut NvmeFunction) -> Result<(), KvmFrontError> {
        Self::follow(&self.accesses, self.doorbells.as_mut(), function);
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.accesses.is_empty()
    }

    fn lane_port(&self) -> Option<Box<dyn MsiPort + Send>> {
        Some(Box::new(self.routes.clone()))
    }

    fn prepare_sleep(&mut self) -> Result<bool, KvmFrontError> {
        Ok(self.accesses.prepare_sleep())
    }

    fn resume_polling(&mut self) -> Result<(), KvmFrontError> {
        self.accesses.resume_polling();
        Ok(())
    }

    fn notifiers(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.accesses.wake().as_fd()]
    }

    fn clear_notifications(&mut self) {
        self.accesses.wake().clear();
    }
}

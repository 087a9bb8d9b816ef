// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starts a guest and waits for its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bus::MicroBus;
use super::device::DeviceError;
use super::layout::{ECAM, LEAST_RAM, MAGIC, MAX_VCPUS, Parameters, RAM_LIMIT, Results};
use super::program::{Program, ProgramError};
use super::report::{Measured, Report, VcpuReport, Verdict};
use super::scenario::{Doorbells, Scenario, ticks};
use super::start;
use super::watch::{self, Marks, Progress};
use crate::drive::PollerOptions;
use crate::frontend::kvm::vm::kvm_error;
use crate::frontend::kvm::{
    Device, DeviceOptions, HugePages, Irqchip, MemoryOptions, PciBus, Vcpus, Vm, VmError,
};
use crate::pci::NvmeFunction;

/// A guest to be.
#[derive(Clone, Debug)]
pub struct MicroGuest {
    /// What it is to do.
    pub scenario: Scenario,
    /// How it rings; the device must offer it.
    pub doorbells: Doorbells,
    /// vCPUs, 1 to 16.
    pub vcpus: u8,
    /// Bytes of RAM, a multiple of 2 MiB, 32 MiB or more and less than 3 GiB.
    pub ram: u64,
    /// I/O queue pairs that it makes use of; at least as many as vCPUs.
    pub queue_pairs: u16,
    /// Commands in flight on a queue.
    pub depth: u16,
    /// Seed of all that it draws.
    pub seed: u64,
    /// Bytes of a block of namespace 1.
    pub block_bytes: u32,
    /// Blocks of namespace 1.
    pub blocks: u64,
    /// Who emulates interrupt controllers.
    pub irqchip: Irqchip,
    /// Cores for the vCPUs, in order; those that have none may run anywhere.
    pub cores: Vec<usize>,
    /// The device's poller.
    pub poller: PollerOptions,
    /// How long the device may take for anything.
    pub patience: Duration,
    /// How long the guest may run; then it is stopped.
    pub limit: Duration,
}

/// A run that did not take place. What the guest did wrong is in the report, not here.
#[derive(Debug, thiserror::Error)]
pub enum MicroError {
    /// KVM or the host.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The guest's memory.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A value that cannot be.
    #[error("{what} = {value} is not possible for a micro-guest: it must be {allowed}")]
    Option {
        /// Which one.
        what: &'static str,
        /// What it was.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },
    /// The host measures nothing.
    #[error("the yardsticks cannot be measured: {0}")]
    Reference(std::io::Error),
    /// A measurement's guest did not do what it should.
    #[error("{0}")]
    Failed(String),
}

impl MicroGuest {
    /// A guest for a namespace of `blocks` blocks of `block_bytes` bytes: one vCPU, 64 MiB, two
    /// queue pairs, 16 commands in flight, a minute.
    pub fn new(scenario: Scenario, doorbells: Doorbells, block_bytes: u32, blocks: u64) -> Self {
        Self {
            scenario,
            doorbells,
            vcpus: 1,
            ram: 64 << 20,
            queue_pairs: 2,
            depth: 16,
            seed: 1,
            block_bytes,
            blocks,
            irqchip: Irqchip::None,
            cores: Vec::new(),
            poller: PollerOptions {
                cpu: None,
                lanes: Vec::new(),
                idle_sleep: None,
            },
            patience: Duration::from_secs(20),
            limit: Duration::from_secs(60),
        }
    }

    /// Runs the guest with `function` until it has ended; gives the function back. `follow` is told
    /// every millisecond or so how far the guest has got.
    ///
    /// # Errors
    /// See [`MicroError`]: the guest did not run.
    pub fn run(
        &self,
        function: NvmeFunction,
        follow: impl FnMut(Progress),
    ) -> Result<(Report, NvmeFunction), MicroError> {
        self.check()?;
        let memory = MemoryOptions {
            bytes: self.ram,
            huge_pages: HugePages::Transparent,
        };
        let vm = Vm::new(memory, self.irqchip)?;
        let vectors = function.engine().config().vectors;
        let options = DeviceOptions {
            vcpus: self.vcpus.into(),
            vectors,
            poller: self.poller.clone(),
        };
        let device = Device::attach(&vm, function, options)?;
        let bus = Arc::new(MicroBus::new(PciBus::new(device.port().clone(), ECAM)));
        let exits = Arc::clone(device.exits());
        let (program, fds) = self.load(&vm)?;
        let begun = Instant::now();
        let vcpus = Vcpus::start(fds, &bus, &exits, &self.cores, || Ok(()))?;
        let count = self.vcpus.into();
        let marks = watch::watch(&program, &exits, &vcpus, count, self.limit, follow)?;
        let ending = vcpus.wait(Some(Duration::ZERO));
        let elapsed = begun.elapsed();
        let (function, poller) = device.end()?;
        let report = Report {
            scenario: self.scenario,
            doorbells: self.doorbells,
            ending,
            vcpus: self.collect(&program, &marks)?,
            exits: exits.snapshot(),
            measured_exits: marks.span().map(|(_, exits)| exits),
            elapsed,
            device: function.engine().counters().clone(),
            poller,
        };
        Ok((report, function))
    }

    fn check(&self) -> Result<(), MicroError> {
        let fits = |ok: bool, what, value: u64, allowed| {
            if ok {
                Ok(())
            } else {
                Err(MicroError::Option {
                    what,
                    value,
                    allowed,
                })
            }
        };
        let vcpus = u64::from(self.vcpus);
        fits((1..=MAX_VCPUS).contains(&vcpus), "vCPUs", vcpus, "1 to 16")?;
        fits(
            (LEAST_RAM..RAM_LIMIT).contains(&self.ram),
            "RAM",
            self.ram,
            "32 MiB or more and less than 3 GiB",
        )?;
        fits(
            u64::from(self.queue_pairs) >= vcpus,
            "queue pairs",
            self.queue_pairs.into(),
            "as many as vCPUs, or more",
        )
    }

    /// Fills the memory and makes the vCPUs.
    fn load(&self, vm: &Vm) -> Result<(Program, Vec<kvm_ioctls::VcpuFd>), MicroError> {
        // The entry point is known only when the program is loaded, and its parameters tell of
        // vCPUs' clocks: so a vCPU first.
        let first = start::make(vm, 0)?;
        let hertz = 1000 * u64::from(first.get_tsc_khz().map_err(kvm_error("tell its clock"))?);
        let program = Program::load(vm.memory().clone(), self.ram, &self.parameters(hertz))?;
        let mut fds = vec![first];
        for index in 1..self.vcpus.into() {
            fds.push(start::make(vm, index)?);
        }
        for (index, fd) in (0..).zip(&fds) {
            start::set_up(vm, fd, index, program.entry)?;
        }
        Ok((program, fds))
    }

    fn parameters(&self, hertz: u64) -> Parameters {
        let mut parameters = Parameters {
            magic: MAGIC,
            vcpus: self.vcpus.into(),
            seed: self.seed,
            ram_bytes: self.ram,
            patience_ticks: ticks(self.patience, hertz),
            block_bytes: self.block_bytes.into(),
            blocks: self.blocks,
            queue_pairs: self.queue_pairs.into(),
            depth: self.depth.into(),
            ..Parameters::default()
        };
        self.scenario
            .describe(self.doorbells, hertz, &mut parameters);
        parameters
    }

    fn collect(&self, program: &Program, marks: &Marks) -> Result<Vec<VcpuReport>, MicroError> {
        (0..self.vcpus.into())
            .map(|vcpu| {
                let results = program.results(vcpu)?;
                Ok(VcpuReport {
                    verdict: Verdict::of(&results),
                    counts: results.counts,
                    measured: measured(program, vcpu, &results, marks)?,
                })
            })
            .collect()
    }
}

/// A vCPU's measurement. Its ticks get their length from the host's clock: both saw begin and end.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measured(
    program: &Program,
    vcpu: u64,
    results: &Results,
    marks: &Marks,
) -> Result<Option<Measured>, MicroError> {
    let ticks = results.end_ticks.wrapping_sub(results.start_ticks);
    let Some((span, _)) = marks.span().filter(|_| ticks > 0) else {
        return Ok(None);
    };
    let tick_ns = span.as_nanos() as f64 / ticks as f64;
    let latencies = program.latencies(vcpu)?;
    let windows = program.windows(vcpu, results.windows)?;
    Ok(Measured::new(results, &latencies, &windows, tick_ns))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program, and the memory that it shares with its host.

use std::io::Cursor;
use std::sync::atomic::Ordering;

use linux_loader::loader::{self, Elf, KernelLoader};
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::layout::{
    HOST_WORDS, HostWords, LATENCY_BUCKETS, MAX_WINDOWS, PARAMETERS, Parameters, Results,
    latencies, results, windows,
};
use super::paging;

/// The program, an ELF file linked at a fixed address.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/micro-guest.elf"));

// SAFETY: 64-bit words without padding: any bytes are a value.
unsafe impl ByteValued for Parameters {}
// SAFETY: 64-bit words and bytes, a multiple of 8 of them in a row: no padding.
unsafe impl ByteValued for Results {}

/// A guest's memory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The program.
    #[error("the micro-guest's program cannot be loaded: {0}")]
    Program(#[from] loader::Error),
    /// Anything else: too little RAM.
    #[error("the micro-guest's memory: {0}")]
    Memory(#[from] GuestMemoryError),
}

/// The memory of a guest that has this program in it.
#[derive(Clone)]
pub struct Program {
    memory: GuestMemoryMmap,
    /// Where it begins.
    pub entry: u64,
}

impl Program {
    /// Fills fresh RAM of `bytes` bytes: page tables, program, parameters.
    ///
    /// # Errors
    /// When there is too little RAM.
    pub fn load(
        memory: GuestMemoryMmap,
        bytes: u64,
        parameters: &Parameters,
    ) -> Result<Self, ProgramError> {
        paging::write(&memory, bytes)?;
        let loaded = Elf::load(&memory, None, &mut Cursor::new(PROGRAM), None)?;
        memory.write_obj(*parameters, GuestAddress(PARAMETERS))?;
        Ok(Self {
            memory,
            entry: loaded.kernel_load.0,
        })
    }

    /// What a vCPU has noted.
    ///
    /// # Errors
    /// None in RAM that [`Program::load`] was content with, as below.
    pub fn results(&self, vcpu: u64) -> Result<Results, ProgramError> {
        Ok(self.memory.read_obj(GuestAddress(results(vcpu)))?)
    }

    /// A vCPU's verdict so far.
    ///
    /// # Errors
    /// As above.
    pub fn verdict(&self, vcpu: u64) -> Result<u64, ProgramError> {
        self.word(results(vcpu), std::mem::offset_of!(Results, verdict))
    }

    /// The phase that a vCPU has reached.
    ///
    /// # Errors
    /// As above.
    pub fn phase(&self, vcpu: u64) -> Result<u64, ProgramError> {
        self.word(results(vcpu), std::mem::offset_of!(Results, phase))
    }

    /// How far a vCPU has got.
    ///
    /// # Errors
    /// As above.
    pub fn progress(&self, vcpu: u64) -> Result<u64, ProgramError> {
        self.word(results(vcpu), std::mem::offset_of!(Results, progress))
    }

    fn word(&self, page: u64, offset: usize) -> Result<u64, ProgramError> {
        let address = GuestAddress(page + offset as u64);
        Ok(self.memory.load(address, Ordering::Acquire)?)
    }

    fn tell(&self, offset: usize, value: u64) -> Result<(), ProgramError> {
        let address = GuestAddress(HOST_WORDS + offset as u64);
        Ok(self.memory.store(value, address, Ordering::Release)?)
    }

    /// Lets the guest go on from `phase`.
    ///
    /// # Errors
    /// As above.
    pub fn acknowledge(&self, phase: u64) -> Result<(), ProgramError> {
        self.tell(std::mem::offset_of!(HostWords, acknowledged), phase)
    }

    /// Tells the guest to come to an end.
    ///
    /// # Errors
    /// As above.
    pub fn stop(&self) -> Result<(), ProgramError> {
        self.tell(std::mem::offset_of!(HostWords, stop), 1)
    }

    /// A vCPU's latency histogram.
    ///
    /// # Errors
    /// As above.
    pub fn latencies(&self, vcpu: u64) -> Result<Vec<u64>, ProgramError> {
        (0..LATENCY_BUCKETS)
            .map(|bucket| {
                Ok(self
                    .memory
                    .read_obj(GuestAddress(latencies(vcpu) + 8 * bucket))?)
            })
            .collect()
    }

    /// How many ticks each of a vCPU's first `count` windows took.
    ///
    /// # Errors
    /// As above.
    pub fn windows(&self, vcpu: u64, count: u64) -> Result<Vec<u32>, ProgramError> {
        (0..count.min(MAX_WINDOWS))
            .map(|window| {
                Ok(self
                    .memory
                    .read_obj(GuestAddress(windows(vcpu) + 4 * window))?)
            })
            .collect()
    }
}

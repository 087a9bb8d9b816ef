// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What KVM is on this host, found out by trying.
//!
//! Some hosts offer `/dev/kvm` and every capability, and yet interpret supervisor code in software:
//! user code of a guest runs natively there, its kernel a thousand times slower. A throw-away
//! machine that runs a short loop in supervisor mode tells the two apart in a few milliseconds.

use std::time::{Duration, Instant};

use kvm_ioctls::{Cap, Kvm, VcpuExit};
use serde::Serialize;
use vm_memory::{Bytes, GuestAddress};

use super::linux::{Entry, set_entry};
use super::memory::{HugePages, MemoryOptions};
use super::vm::{Irqchip, Vm, VmError, kvm_error};

/// Below this many nanoseconds an iteration, supervisor code is executed by the processor: 0.3 there,
/// 600 and more where it is interpreted.
pub const NATIVE_BELOW_NS: f64 = 100.0;
/// Iterations of the loop: a few milliseconds where they are interpreted.
const ITERATIONS: u32 = 2000;
/// Runs, of which the median counts.
const RUNS: usize = 5;
/// Where the loop is.
const CODE: u64 = 0x10_0000;

/// What was found. Without KVM, `error` says why there is none.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KvmProbe {
    /// `/dev/kvm` opens and makes machines.
    pub kvm: bool,
    /// Nanoseconds for an iteration of a loop in supervisor mode, median of five; `None` without
    /// KVM.
    pub supervisor_ns_per_iteration: Option<f64>,
    /// Supervisor code is executed, not interpreted.
    pub native: bool,
    /// Writes of the guest can be turned into signals without leaving the kernel.
    pub ioeventfd: bool,
    /// Signals can be turned into interrupts without a system call for each.
    pub irqfd: bool,
    /// The most processors of a guest that KVM recommends.
    pub recommended_vcpus: usize,
    /// The most processors of a guest.
    pub max_vcpus: usize,
    /// KVM counts exits itself.
    pub statistics: bool,
    /// Why there is no KVM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Tries it.
pub fn probe() -> KvmProbe {
    let mut found = KvmProbe::default();
    match supervisor_loop() {
        Ok(nanos) => {
            found.kvm = true;
            found.supervisor_ns_per_iteration = Some(nanos);
            found.native = nanos < NATIVE_BELOW_NS;
        }
        Err(error) => {
            found.error = Some(error.to_string());
            return found;
        }
    }
    if let Ok(kvm) = Kvm::new() {
        found.ioeventfd = kvm.check_extension(Cap::Ioeventfd);
        found.irqfd = kvm.check_extension(Cap::Irqfd);
        found.recommended_vcpus = kvm.get_nr_vcpus();
        found.max_vcpus = kvm.get_max_vcpus();
        found.statistics =
            kvm.check_extension_raw(kvm_bindings::KVM_CAP_BINARY_STATS_FD.into()) > 0;
    }
    found
}

/// Nanoseconds for an iteration, median of [`RUNS`].
fn supervisor_loop() -> Result<f64, VmError> {
    let vm = Vm::new(
        MemoryOptions {
            bytes: 2 << 20,
            huge_pages: HugePages::Off,
        },
        Irqchip::None,
    )?;
    let [a, b, c, d] = ITERATIONS.to_le_bytes();
    // mov ecx, ITERATIONS; again: dec ecx; jnz again; hlt
    let code = [0xB9, a, b, c, d, 0xFF, 0xC9, 0x75, 0xFC, 0xF4];
    vm.memory()
        .write_slice(&code, GuestAddress(CODE))
        .map_err(|error| VmError::Host {
            what: "writing guest memory",
            source: std::io::Error::other(error),
        })?;
    let mut vcpu = vm
        .fd()
        .create_vcpu(0)
        .map_err(kvm_error("make a processor"))?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        set_entry(vm.memory(), &vcpu, Entry::Long(CODE))?;
        let begun = Instant::now();
        loop {
            match vcpu.run() {
                Ok(VcpuExit::Hlt) => break,
                // A signal.
                Ok(VcpuExit::Intr) => {}
                Err(error) if error.errno() == libc::EINTR => {}
                Ok(other) => {
                    log::debug!("the probe's guest ended with {other:?}");
                    return Err(VmError::Kvm {
                        what: "run a loop in supervisor mode",
                        source: kvm_ioctls::Error::new(libc::ENOSYS),
                    });
                }
                Err(source) => {
                    return Err(VmError::Kvm {
                        what: "run a guest",
                        source,
                    });
                }
            }
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let median = times.get(RUNS / 2).copied().unwrap_or(Duration::MAX);
    Ok(median.as_secs_f64() * 1e9 / f64::from(ITERATIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_is_consistent_with_itself() {
        let found = probe();
        assert_eq!(found.kvm, found.error.is_none());
        assert_eq!(found.kvm, found.supervisor_ns_per_iteration.is_some());
        let fast = found
            .supervisor_ns_per_iteration
            .is_some_and(|nanos| nanos < NATIVE_BELOW_NS);
        assert_eq!(found.native, fast);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! vCPU threads: they run the guest, hand what leaves it to a [`Bus`], and end together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kvm_bindings::{KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};
use libc::c_int;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use super::statistics::KvmExits;
use super::vm::{VmError, host_error};
use crate::drive::{Event, pin_thread};
use crate::observe::{ExitReason, VcpuExits, VmExits};

/// How long a kicked vCPU may take to leave the guest before it is kicked again: a kick may come
/// just before the guest is entered, and is then lost.
const KICK_EVERY: Duration = Duration::from_millis(1);

/// How a guest ended. The first vCPU that ends decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest switched itself off.
    PowerOff,
    /// The guest reset itself.
    Reset,
    /// A processor could not even report a fault.
    TripleFault,
    /// KVM cannot go on; what it told.
    InternalError(String),
    /// A guest without power management ended with this code.
    Exit(u32),
    /// Somebody here stopped it.
    Stopped,
}

/// Why a vCPU left the guest, for the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// An access to BAR0.
    Bar0 {
        /// Bytes from its start.
        offset: u64,
        /// Whether it was a write.
        write: bool,
    },
    /// Anything else that the guest did.
    Guest(ExitReason),
    /// Not the guest's doing: a signal of the host.
    Interruption,
}

impl ExitKind {
    fn count(self, exits: &VcpuExits) {
        match self {
            Self::Bar0 { offset, write } => exits.count_bar0(offset, write),
            Self::Guest(reason) => exits.count(reason),
            Self::Interruption => exits.count_interruption(),
        }
    }
}

/// What became of an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    /// What it went to.
    pub kind: ExitKind,
    /// The guest is to end.
    pub ending: Option<Ending>,
}

impl Handled {
    /// It went to `kind`, and the guest goes on.
    pub fn by(kind: ExitKind) -> Self {
        Self { kind, ending: None }
    }
}

/// Where accesses go that are not to RAM. Called from all vCPU threads at the same time.
pub trait Bus: Send + Sync + 'static {
    /// A read of 1 to 8 bytes of guest physical memory; `data` is all ones before.
    fn mmio_read(&self, vcpu: usize, address: u64, data: &mut [u8]) -> Handled;

    /// A write of 1 to 8 bytes.
    fn mmio_write(&self, vcpu: usize, address: u64, data: &[u8]) -> Handled;

    /// A read of 1, 2 or 4 bytes from a port; `data` is all ones before.
    fn port_read(&self, vcpu: usize, port: u16, data: &mut [u8]) -> Handled;

    /// A write of 1, 2 or 4 bytes to a port.
    fn port_write(&self, vcpu: usize, port: u16, data: &[u8]) -> Handled;

    /// KVM could not go on with an instruction. Returns true when the guest may continue because
    /// the state has been mended.
    fn mend(&self, vcpu: usize, fd: &mut VcpuFd) -> bool {
        let _ = (vcpu, fd);
        false
    }
}

/// The threads of a guest's vCPUs. Dropping it stops them.
pub struct Vcpus {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// Stops a guest from elsewhere.
#[derive(Clone)]
pub struct VcpusHandle(Arc<Shared>);

struct Shared {
    stop: AtomicBool,
    running: AtomicUsize,
    ending: Mutex<Option<Ending>>,
    /// Set when the guest has ended.
    ended: Event,
}

impl Shared {
    /// Notes how the guest ends; only the first one counts.
    fn end(&self, ending: Ending) {
        let mut slot = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(ending);
        drop(slot);
        self.stop.store(true, Ordering::Release);
        self.ended.set();
    }
}

impl VcpusHandle {
    /// Ends the guest as [`Ending::Stopped`], unless it has ended already.
    pub fn stop(&self) {
        self.0.end(Ending::Stopped);
    }
}

impl Vcpus {
    /// Runs vCPUs that are set up, each on a thread of its own, kept on the core that stands at its
    /// place in `cores` if there is one, and counted in `exits`, which has a place for each. `enter`
    /// runs in each thread before the guest does.
    ///
    /// # Errors
    /// When the host gives no thread, eventfd or signal handler, or a core does not exist.
    pub fn start(
        fds: Vec<VcpuFd>,
        bus: &Arc<impl Bus>,
        exits: &Arc<VmExits>,
        cores: &[usize],
        enter: impl Fn() -> std::io::Result<()> + Clone + Send + 'static,
    ) -> Result<Self, VmError> {
        install_kick_handler()?;
        let kernels: Vec<_> = fds.iter().filter_map(KvmExits::of).collect();
        if !kernels.is_empty() {
            exits.set_kernel_exits(move || kernels.iter().map(|count| count.read().ok()).sum());
        }
        let mut vcpus = Self {
            threads: Vec::with_capacity(fds.len()),
            shared: Arc::new(Shared {
                stop: AtomicBool::new(false),
                running: AtomicUsize::new(0),
                ending: Mutex::new(None),
                ended: Event::new().map_err(host_error("an eventfd"))?,
            }),
        };
        for (index, fd) in fds.into_iter().enumerate() {
            let thread = VcpuThread {
                index,
                fd,
                bus: Arc::clone(bus),
                exits: Arc::clone(exits),
                shared: Arc::clone(&vcpus.shared),
            };
            let core = cores.get(index).copied();
            let enter = enter.clone();
            vcpus.shared.running.fetch_add(1, Ordering::Relaxed);
            let spawned = std::thread::Builder::new()
                .name(format!("vcpu{index}"))
                .spawn(move || thread.run(core, enter))
                .map_err(host_error("a vCPU's thread"))?;
            vcpus.threads.push(spawned);
        }
        Ok(vcpus)
    }

    /// For others to stop the guest.
    pub fn handle(&self) -> VcpusHandle {
        VcpusHandle(Arc::clone(&self.shared))
    }

    /// Becomes readable when the guest has ended.
    pub fn ended(&self) -> &Event {
        &self.shared.ended
    }

    /// How the guest ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        let slot = self.shared.ending.lock();
        slot.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the guest's end, at most for `patience`; then stops it. Returns when every vCPU
    /// has left the guest.
    pub fn wait(self, patience: Option<Duration>) -> Ending {
        let begun = Instant::now();
        while self.ending().is_none() {
            let left = patience.map(|patience| patience.saturating_sub(begun.elapsed()));
            if left == Some(Duration::ZERO) {
                self.shared.end(Ending::Stopped);
                break;
            }
            self.shared.ended.wait(left);
        }
        self.join();
        self.ending().unwrap_or(Ending::Stopped)
    }

    /// Kicks every vCPU until all have ended.
    fn join(&self) {
        while self.shared.running.load(Ordering::Acquire) > 0 {
            for thread in &self.threads {
                // A thread that has ended takes no signal.
                let _ = thread.kill(kick());
            }
            std::thread::sleep(KICK_EVERY);
        }
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        self.shared.end(Ending::Stopped);
        self.join();
        for thread in self.threads.drain(..) {
            // A panic has been printed; the guest has ended.
            let _ = thread.join();
        }
    }
}

/// The signal that makes a vCPU leave the guest: the first of those that nobody else uses.
fn kick() -> c_int {
    SIGRTMIN()
}

fn install_kick_handler() -> Result<(), VmError> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    extern "C" fn nothing(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    INSTALLED
        .get_or_init(|| register_signal_handler(kick(), nothing).map_err(|error| error.errno()))
        .map_err(std::io::Error::from_raw_os_error)
        .map_err(host_error("a signal handler"))
}

struct VcpuThread<B> {
    index: usize,
    fd: VcpuFd,
    bus: Arc<B>,
    exits: Arc<VmExits>,
    shared: Arc<Shared>,
}

/// Counts a vCPU as ended when its thread ends, however it does.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .end(Ending::InternalError("a vCPU's thread panicked".into()));
        }
        self.0.running.fetch_sub(1, Ordering::Release);
    }
}

impl<B: Bus> VcpuThread<B> {
    fn run(mut self, core: Option<usize>, enter: impl Fn() -> std::io::Result<()>) {
        let shared = Arc::clone(&self.shared);
        let _running = Running(Arc::clone(&shared));
        let ready = core.map_or(Ok(()), pin_thread).and_then(|()| enter());
        let ending = match ready {
            Ok(()) => self.until_end(),
            Err(error) => Some(Ending::InternalError(format!(
                "vCPU {} cannot start: {error}",
                self.index
            ))),
        };
        if let Some(ending) = ending {
            shared.end(ending);
        }
    }

    /// Runs the guest until this vCPU ends it, or another one did.
    fn until_end(&mut self) -> Option<Ending> {
        while !self.shared.stop.load(Ordering::Acquire) {
            let handled = self.enter_guest();
            handled.kind.count(self.exits.vcpu(self.index));
            if handled.ending.is_some() {
                return handled.ending;
            }
        }
        None
    }

    /// Once into the guest and out again.
    fn enter_guest(&mut self) -> Handled {
        let (bus, vcpu) = (&*self.bus, self.index);
        let exit = match self.fd.run() {
            Ok(exit) => exit,
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
                return Handled::by(ExitKind::Interruption);
            }
            Err(error) => return fatal(Ending::InternalError(format!("KVM_RUN: {error}"))),
        };
        match exit {
            VcpuExit::MmioRead(address, data) => {
                data.fill(0xFF);
                bus.mmio_read(vcpu, address, data)
            }
            VcpuExit::MmioWrite(address, data) => bus.mmio_write(vcpu, address, data),
            VcpuExit::IoIn(port, data) => {
                data.fill(0xFF);
                bus.port_read(vcpu, port, data)
            }
            VcpuExit::IoOut(port, data) => bus.port_write(vcpu, port, data),
            // With interrupt controllers in KVM a halt stays there; without, nothing can end it.
            VcpuExit::Hlt => Handled::by(ExitKind::Guest(ExitReason::Halt)),
            VcpuExit::Intr => Handled::by(ExitKind::Interruption),
            VcpuExit::Shutdown => fatal(Ending::TripleFault),
            VcpuExit::SystemEvent(kind, _) => fatal(system_event(kind)),
            VcpuExit::InternalError => self.mend(),
            VcpuExit::FailEntry(reason, _) => fatal(Ending::InternalError(format!(
                "the processor refuses the guest's state, reason {reason:#x}"
            ))),
            other => {
                let other = format!("{other:?}");
                log::debug!("vCPU {vcpu}: {other}");
                Handled::by(ExitKind::Guest(ExitReason::Other))
            }
        }
    }

    /// KVM could not emulate an instruction: perhaps the bus can.
    fn mend(&mut self) -> Handled {
        if self.bus.mend(self.index, &mut self.fd) {
            return Handled::by(ExitKind::Guest(ExitReason::Other));
        }
        fatal(Ending::InternalError(describe_internal_error(&mut self.fd)))
    }
}

fn fatal(ending: Ending) -> Handled {
    let reason = match ending {
        Ending::TripleFault => ExitReason::Shutdown,
        Ending::InternalError(_) => ExitReason::Internal,
        _ => ExitReason::Other,
    };
    Handled {
        kind: ExitKind::Guest(reason),
        ending: Some(ending),
    }
}

fn system_event(kind: u32) -> Ending {
    match kind {
        KVM_SYSTEM_EVENT_SHUTDOWN => Ending::PowerOff,
        KVM_SYSTEM_EVENT_RESET => Ending::Reset,
        KVM_SYSTEM_EVENT_CRASH => Ending::TripleFault,
        other => Ending::InternalError(format!("system event {other}")),
    }
}

/// What KVM tells of an error of its own: which one, and where the guest was.
fn describe_internal_error(fd: &mut VcpuFd) -> String {
    let run = fd.get_kvm_run();
    // SAFETY: KVM has filled this member: the exit's reason is "internal error".
    let (suberror, count, data) = unsafe {
        let internal = &run.__bindgen_anon_1.internal;
        (internal.suberror, internal.ndata, internal.data)
    };
    let count = usize::try_from(count).unwrap_or(0).min(data.len());
    let place = match fd.get_regs() {
        Ok(regs) => format!("rip {:#x}, rsp {:#x}", regs.rip, regs.rsp),
        Err(error) => format!("no registers: {error}"),
    };
    let kind = match suberror {
        1 => "an instruction that KVM cannot emulate",
        2 => "simultaneous exceptions",
        3 => "a fault while delivering an event",
        _ => "an unknown error",
    };
    format!(
        "KVM reports {kind} (suberror {suberror}, data {:x?}) at {place}",
        &data[..count]
    )
}

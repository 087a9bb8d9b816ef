// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the process may still ask of the host once the guest runs: system call filters.
//!
//! A guest that found a mistake in a device model would run code in this process. Three filters,
//! each a list of what is allowed and nothing else, leave it little: [`Role::Process`] for all
//! threads, and on top of it one that is much shorter for each vCPU and one for the poller. What is
//! not on the list ends the process.
//!
//! No thread may execute a program, open a file for writing, make a socket, change credentials or
//! trace another process.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, apply_filter_all_threads,
};

/// Whose filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Every thread: the union of what all of them need, the control socket's service included.
    Process,
    /// A thread that runs the guest.
    Vcpu,
    /// The thread that serves the device.
    Poller,
}

/// What happens at a system call that is not allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// The process ends with SIGSYS.
    #[default]
    Enforce,
    /// The kernel's audit log tells, and the call goes on.
    Log,
    /// There is no filter.
    Off,
}

/// A filter that cannot be made or applied.
#[derive(Debug, thiserror::Error)]
#[error("the system call filter for {role:?} cannot be applied: {reason}")]
pub struct ConfinementError {
    role: Role,
    reason: String,
}

/// What any thread of a Rust program may need at any time: memory, locks, time, signals, its end.
const COMMON: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    // A panic aborts by a signal to itself.
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Events, and KVM.
const VCPU: &[i64] = &[libc::SYS_ioctl, libc::SYS_read];

/// Events, KVM's memory slots and routes, and the media: RAM and files that are open.
const POLLER: &[i64] = &[
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_ioctl,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_sched_getaffinity,
    libc::SYS_statx,
];

/// The control socket: it accepts, answers, reads profiles, and removes itself at the end. Threads
/// for its clients. And more filters, which only ever allow less.
const SERVICE: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_clone3,
    libc::SYS_eventfd2,
    libc::SYS_fstat,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_prctl,
    libc::SYS_readlink,
    libc::SYS_recvfrom,
    libc::SYS_rseq,
    libc::SYS_sched_setaffinity,
    libc::SYS_seccomp,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_unlink,
    libc::SYS_wait4,
];

// What the ioctls of a terminal are good for: its settings are put back at the end.
const TCGETS: u64 = libc::TCGETS;
const TCSETS_FIRST: u64 = libc::TCSETS;
/// The type byte of KVM's own ioctls, in bits 15:8.
const KVM_IOCTL_TYPE: u64 = 0xAE00;
const IOCTL_TYPE_MASK: u64 = 0xFF00;
/// Open flags that could change anything.
const OPEN_CHANGES: u64 = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u64;

/// Confines all threads of the process.
///
/// # Errors
/// [`ConfinementError`].
pub fn confine_process(enforcement: Enforcement) -> Result<(), ConfinementError> {
    confine(Role::Process, enforcement)
}

/// Confines the calling thread.
///
/// # Errors
/// [`ConfinementError`].
pub fn confine_thread(role: Role, enforcement: Enforcement) -> Result<(), ConfinementError> {
    confine(role, enforcement)
}

impl From<ConfinementError> for io::Error {
    fn from(error: ConfinementError) -> Self {
        Self::other(error)
    }
}

fn confine(role: Role, enforcement: Enforcement) -> Result<(), ConfinementError> {
    let action = match enforcement {
        Enforcement::Enforce => SeccompAction::KillProcess,
        Enforcement::Log => SeccompAction::Log,
        Enforcement::Off => return Ok(()),
    };
    let failed = |error: &dyn std::fmt::Display| ConfinementError {
        role,
        reason: error.to_string(),
    };
    let program = program(role, action).map_err(|error| failed(&error))?;
    let applied = match role {
        Role::Process => apply_filter_all_threads(&program),
        Role::Vcpu | Role::Poller => apply_filter(&program),
    };
    applied.map_err(|error| failed(&error))
}

fn program(role: Role, otherwise: SeccompAction) -> Result<BpfProgram, seccompiler::BackendError> {
    let lists: &[&[i64]] = match role {
        Role::Process => &[COMMON, VCPU, POLLER, SERVICE],
        Role::Vcpu => &[COMMON, VCPU],
        Role::Poller => &[COMMON, POLLER],
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = lists
        .iter()
        .flat_map(|list| list.iter())
        .map(|call| (*call, Vec::new()))
        .collect();
    rules.insert(libc::SYS_ioctl, ioctl_rules(role)?);
    // Memory that is both written and executed is of no use to us.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let not_executable = argument(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
        rules.insert(call, vec![not_executable]);
    }
    if role == Role::Process {
        let read_only = argument(2, SeccompCmpOp::MaskedEq(OPEN_CHANGES), 0)?;
        rules.insert(libc::SYS_openat, vec![read_only]);
    }
    SeccompFilter::new(rules, otherwise, SeccompAction::Allow, TargetArch::x86_64)?.try_into()
}

/// KVM's ioctls; for the process as a whole those of its terminal too.
fn ioctl_rules(role: Role) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mut rules = vec![argument(
        1,
        SeccompCmpOp::MaskedEq(IOCTL_TYPE_MASK),
        KVM_IOCTL_TYPE,
    )?];
    if role == Role::Process {
        for request in TCGETS..=TCSETS_FIRST + 2 {
            rules.push(argument(1, SeccompCmpOp::Eq, request)?);
        }
    }
    Ok(rules)
}

fn argument(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)?;
    SeccompRule::new(vec![condition])
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Runs this test again in a process of its own, which may be ended by a filter.
    fn in_child(name: &str) -> std::process::ExitStatus {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", &format!("{}::{name}", module())])
            .env(CHILD, name)
            .output()
            .unwrap()
            .status
    }

    const CHILD: &str = "HIPRI_TEST_CONFINED";

    fn module() -> &'static str {
        module_path!().split_once("::").unwrap().1
    }

    fn is_child(name: &str) -> bool {
        std::env::var(CHILD).is_ok_and(|child| child == name)
    }

    #[test]
    fn vcpu_that_makes_a_socket_is_ended() {
        let name = "vcpu_that_makes_a_socket_is_ended";
        if is_child(name) {
            confine_thread(Role::Vcpu, Enforcement::Enforce).unwrap();
            let _ = std::net::UdpSocket::bind("127.0.0.1:0");
            unreachable!("the filter has let a socket through");
        }
        assert_eq!(in_child(name).signal(), Some(libc::SIGSYS));
    }

    #[test]
    fn process_that_opens_a_file_for_writing_is_ended() {
        let name = "process_that_opens_a_file_for_writing_is_ended";
        if is_child(name) {
            confine_process(Enforcement::Enforce).unwrap();
            assert!(std::fs::read("/proc/self/status").is_ok());
            let _ = std::fs::OpenOptions::new().append(true).open("/dev/null");
            unreachable!("the filter has let a file be opened for writing");
        }
        assert_eq!(in_child(name).signal(), Some(libc::SIGSYS));
    }

    #[test]
    fn process_that_executes_a_program_is_ended() {
        let name = "process_that_executes_a_program_is_ended";
        if is_child(name) {
            use std::os::unix::process::CommandExt;
            confine_process(Enforcement::Enforce).unwrap();
            let error = Command::new("/bin/true").exec();
            unreachable!("the filter has let a program be executed: {error}");
        }
        assert_eq!(in_child(name).signal(), Some(libc::SIGSYS));
    }

    #[test]
    fn poller_may_do_its_work() {
        let name = "poller_may_do_its_work";
        if is_child(name) {
            let mut file = tempfile::tempfile().unwrap();
            let worker = std::thread::spawn(move || {
                use std::io::Write;
                confine_thread(Role::Poller, Enforcement::Enforce).unwrap();
                file.write_all(b"data").unwrap();
                file.sync_data().unwrap();
                std::thread::yield_now();
                vec![0_u8; 4 << 20].len()
            });
            assert_eq!(worker.join().unwrap(), 4 << 20);
            return;
        }
        assert!(in_child(name).success());
    }
}

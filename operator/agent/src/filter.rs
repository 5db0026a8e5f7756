//! The system calls that nothing in a workspace may make.
//!
//! The agent puts the filter on itself, so everything it starts has it. It is a second wall beside the runtime's own profile
//! and the missing capabilities: it holds where the runtime's profile is off, and it takes away the parts of the kernel
//! whose bugs have been the way out of containers. What is denied fails with `EPERM`, so that programs which probe for a
//! feature go on without it.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("compiling the system-call filter")]
    Compile(#[from] BackendError),
    #[error("installing the system-call filter")]
    Install(#[from] seccompiler::Error),
}

/// Puts the filter on the calling thread and all it starts. There is no way back. Sets `no_new_privs`.
pub fn install() -> Result<(), FilterError> {
    for program in programs()? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

/// Denied outright.
const DENIED: &[i64] = &[
    // Kernel subsystems with a history of escapes.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // New namespaces, which give back capabilities and with them most of the kernel.
    libc::SYS_unshare,
    libc::SYS_setns,
    // Mounts, by the old and the new interface.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    // Files by handle, past every directory permission.
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // The machine itself.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Namespaces that clone(2) can make; the time namespace's bit means something else there.
const NEW_NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Terminal requests that type into another program's terminal, or control the console.
const TERMINAL_INJECTION: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

const UNIX: i32 = libc::AF_UNIX;
const INET: [i32; 2] = [libc::AF_INET, libc::AF_INET6];
const NETLINK: i32 = libc::AF_NETLINK;

/// The filter: it takes two programs because each has one error to answer with. The kernel runs both and obeys the stricter.
fn programs() -> Result<[BpfProgram; 2], BackendError> {
    let denied = DENIED.iter().map(|call| (*call, Vec::new()));
    let conditional = [
        (libc::SYS_socket, socket()?),
        (libc::SYS_socketpair, vec![rule(&[(0, SeccompCmpOp::Ne, number(UNIX))])?]),
        (libc::SYS_clone, clone()?),
        (libc::SYS_ioctl, ioctl()?),
    ];
    // A filter sees only the address of clone3's flags. Callers that are told it does not exist use clone.
    let missing = [(libc::SYS_clone3, Vec::new())];
    Ok([
        program(denied.chain(conditional).collect(), libc::EPERM)?,
        program(missing.into_iter().collect(), libc::ENOSYS)?,
    ])
}

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let filter: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()?;
    Ok(foreign_calls().into_iter().chain(filter).collect())
}

/// Kills programs that use x86-64's second set of numbers (x32), which names the same calls and so would pass the filter.
/// Calls of another architecture are killed by what [`SeccompFilter`] compiles to.
fn foreign_calls() -> Vec<sock_filter> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ARCHITECTURE_OFFSET: u32 = 4;
    const NUMBER_OFFSET: u32 = 0;
    const X86_64: u32 = 0xC000_003E;
    const X32: u32 = 0x4000_0000;
    // The number that a tracer sets to skip a call.
    const NONE: u32 = u32::MAX;
    if cfg!(not(target_arch = "x86_64")) {
        return Vec::new();
    }
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, ARCHITECTURE_OFFSET),
        step(JUMP_IF_EQUAL, 0, 4, X86_64),
        step(LOAD, 0, 0, NUMBER_OFFSET),
        step(JUMP_IF_EQUAL, 2, 0, NONE),
        step(JUMP_IF_AT_LEAST, 0, 1, X32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ]
}

/// Denies all but local sockets, TCP, UDP and the route table's netlink: not even echo requests.
fn socket() -> Result<Vec<SeccompRule>, BackendError> {
    let [inet, inet6] = INET;
    let differs = |from: i32| (0, SeccompCmpOp::Ne, number(from));
    let mut rules = vec![
        rule(&[differs(UNIX), differs(inet), differs(inet6), differs(NETLINK)])?,
        rule(&[(0, SeccompCmpOp::Eq, number(NETLINK)), (2, SeccompCmpOp::Ne, number(libc::NETLINK_ROUTE))])?,
    ];
    for family in INET {
        let is_family = (0, SeccompCmpOp::Eq, number(family));
        let protocols = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];
        let other = protocols.map(|protocol| (2, SeccompCmpOp::Ne, number(protocol)));
        rules.push(rule(&[[is_family.clone()].as_slice(), &other].concat())?);
        for kind in (0..=SOCKET_KIND).filter(|kind| ![libc::SOCK_STREAM, libc::SOCK_DGRAM].contains(kind)) {
            let is_kind = (1, SeccompCmpOp::MaskedEq(number(SOCKET_KIND)), number(kind));
            rules.push(rule(&[is_family.clone(), is_kind])?);
        }
    }
    Ok(rules)
}

/// The bits of socket(2)'s type that are not flags.
const SOCKET_KIND: i32 = 0xF;

fn clone() -> Result<Vec<SeccompRule>, BackendError> {
    let has = |bit: i32| rule(&[(0, SeccompCmpOp::MaskedEq(number(bit)), number(bit))]);
    NEW_NAMESPACES.into_iter().map(has).collect()
}

fn ioctl() -> Result<Vec<SeccompRule>, BackendError> {
    TERMINAL_INJECTION.into_iter().map(|request| rule(&[(1, SeccompCmpOp::Eq, request)])).collect()
}

fn number(constant: i32) -> u64 {
    u64::from(constant.cast_unsigned())
}

/// A rule that holds when every condition (argument, comparison, value) on the lower 32 bits holds.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.iter().map(|(argument, operation, value)| {
        SeccompCondition::new(*argument, Dword, operation.clone(), *value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;

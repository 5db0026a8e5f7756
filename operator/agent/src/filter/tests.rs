//! The programs are run here on calls that no test may make for real.

use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const PERMISSION: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const MISSING: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const X86_64: u32 = 0xC000_003E;
const I386: u32 = 0x4000_0003;

struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn new(number: i64, arguments: &[u64]) -> Self {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        Self { architecture: X86_64, number: u32::try_from(number).unwrap(), arguments: all }
    }

    /// The word at an offset of `struct seccomp_data` (seccomp(2)).
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16.. => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                u32::try_from(argument >> (offset % 8 * 8) & u64::from(u32::MAX)).unwrap()
            }
            _ => panic!("offset {offset}"),
        }
    }

    /// What the kernel does: the strictest of what the programs say.
    fn verdict(&self) -> u32 {
        let verdicts = programs().unwrap().map(|program| run(&program, self));
        verdicts.into_iter().min_by_key(|verdict| (verdict & 0xFFFF_0000).cast_signed()).unwrap()
    }
}

/// Classic BPF, as much of it as seccompiler and this module use.
fn run(program: &[sock_filter], call: &Call) -> u32 {
    let (mut at, mut word) = (0, 0u32);
    loop {
        let step = &program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
        match step.code {
            0x20 => word = call.word(step.k),
            0x54 => word &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += jump(word == step.k),
            0x25 => at += jump(word > step.k),
            0x35 => at += jump(word >= step.k),
            0x06 => return step.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

#[test]
fn only_local_internet_and_route_sockets_can_be_made() {
    for family in 0..=46 {
        for kind in 0..16 {
            for protocol in [0, 1, 6, 9, 16, 17, 58, 132, 255, 262] {
                let flags = 0o2_000_000 | 0o4_000;
                let call = Call::new(libc::SYS_socket, &[family, kind | flags, protocol]);
                let allowed = match family {
                    1 => true,
                    2 | 10 => [1, 2].contains(&kind) && [0, 6, 17].contains(&protocol),
                    16 => protocol == 0,
                    _ => false,
                };
                let expected = if allowed { ALLOW } else { PERMISSION };
                assert_eq!(call.verdict(), expected, "socket({family}, {kind}, {protocol})");
            }
        }
        let pair = Call::new(libc::SYS_socketpair, &[family, 1, 0]).verdict();
        assert_eq!(pair, if family == 1 { ALLOW } else { PERMISSION }, "socketpair({family})");
    }
}

#[test]
fn the_upper_half_of_an_argument_hides_nothing() {
    let vsock = 40;
    assert_eq!(Call::new(libc::SYS_socket, &[1 << 32 | vsock, 1, 0]).verdict(), PERMISSION);
    assert_eq!(Call::new(libc::SYS_ioctl, &[0, 1 << 32 | libc::TIOCSTI]).verdict(), PERMISSION);
}

#[test]
fn processes_and_threads_can_be_made_but_not_namespaces() {
    let fork = 0x0120_0011;
    let thread = 0x003D_0F00;
    for flags in [fork, thread, 0x4111] {
        assert_eq!(Call::new(libc::SYS_clone, &[flags]).verdict(), ALLOW, "{flags:#x}");
        for namespace in NEW_NAMESPACES {
            let call = Call::new(libc::SYS_clone, &[flags | number(namespace)]);
            assert_eq!(call.verdict(), PERMISSION, "{namespace:#x}");
        }
    }
    assert_eq!(Call::new(libc::SYS_clone3, &[]).verdict(), MISSING);
}

#[test]
fn what_is_denied_is_denied_and_ordinary_calls_are_not() {
    for call in DENIED {
        assert_eq!(Call::new(*call, &[]).verdict(), PERMISSION, "{call}");
    }
    for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_ptrace, libc::SYS_seccomp, libc::SYS_connect] {
        assert_eq!(Call::new(call, &[]).verdict(), ALLOW, "{call}");
    }
    assert_eq!(Call::new(libc::SYS_ioctl, &[0, libc::TIOCGWINSZ]).verdict(), ALLOW);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn other_sets_of_call_numbers_are_killed() {
    for number in [0x4000_0000, 0x4000_0029, 0x7FFF_FFFF, 0xFFFF_FFFE] {
        assert_eq!(Call { number, ..Call::new(0, &[]) }.verdict(), KILL, "{number:#x}");
    }
    assert_eq!(Call { number: u32::MAX, ..Call::new(0, &[]) }.verdict(), ALLOW);
    for number in [1, 102, 0x4000_0001] {
        assert_eq!(Call { architecture: I386, number, ..Call::new(0, &[]) }.verdict(), KILL, "{number:#x}");
    }
}

#[test]
fn the_kernel_takes_the_filter() {
    let confined = std::thread::spawn(|| {
        install().unwrap();
        let family = |number| {
            rustix::net::socket(
                rustix::net::AddressFamily::from_raw(number),
                rustix::net::SocketType::STREAM,
                None,
            )
        };
        assert_eq!(family(40).err(), Some(rustix::io::Errno::PERM));
        assert_eq!(family(38).err(), Some(rustix::io::Errno::PERM));
        assert!(family(1).is_ok() && family(2).is_ok());
        assert!(std::process::Command::new("/bin/true").status().unwrap().success());
        assert!(rustix::thread::no_new_privs().unwrap());
        let unshare = std::process::Command::new("unshare").args(["--user", "true"]).output();
        assert!(!unshare.unwrap().status.success());
    });
    confined.join().unwrap();
}

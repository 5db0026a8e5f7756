//! Red team, group C: what can be found and done inside the pod.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use ws_tests::{
    command::{Output, run_with_input},
    lab::Lab,
    namespace::with_namespace,
    project::Project,
    stock::Stock,
    unconfined::with_unconfined_pod,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

/// Runs `line` of bash in a workspace, and as root of a pod that nothing confines.
async fn both(line: &str, judge: impl Fn(&Output, &Output) -> Result<()>) -> Result<()> {
    against(line, &[], judge).await
}

/// The same; `prefix` is put before bash in the unconfined pod.
async fn against(line: &str, prefix: &[&str], judge: impl Fn(&Output, &Output) -> Result<()>) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("inside", Project::sample()?.path()).await?;
        let inside = ws.bash("inside", line).await?;
        let command = [prefix, &["bash", "-c", line]].concat();
        let control =
            with_unconfined_pod(lab, async |pod| lab.kubectl(&[pod.exec(), command].concat()).await).await?;
        judge(&inside, &control)
    })
    .await
}

/// Lines of `name`, a separator and a value.
fn values(output: &Output, separator: char) -> BTreeMap<&str, &str> {
    let lines = output.stdout.lines().filter_map(|line| line.split_once(separator));
    lines.map(|(name, value)| (name.trim(), value.trim())).collect()
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn c01_there_is_no_credential_to_find() -> Result<()> {
    with_namespace(async |lab, namespace| {
        // Its connections are carried by `exec`, whose processes get the container's variables.
        let session = Stock::up(lab, namespace, "bare").await?;
        // Everything that a user of the pod can read: environments, files, tokens.
        let search = r"env; cat /proc/*/environ 2>/dev/null | tr '\0' '\n'; ls -AR /var/run/secrets /run/secrets 2>&1;
            grep -rIl --exclude-dir=proc --exclude-dir=sys -e 'PRIVATE KEY' -e 'kubernetes.io/serviceaccount' \
                /home /tmp /run /etc /root /var/lib /ws 2>/dev/null; true";
        let carried = session.run(&[], &["pgrep -fc '[w]s-agent stdio'; test -r /ws/ws-agent || echo hidden"]);
        assert_eq!(carried.await?.ok()?.stdout, "1\nhidden\n", "the search is made while one is carried");
        let found = session.run(&[], &[search]).await?.ok()?;
        for secret in ["PRIVATE KEY", "WS_HOST_KEY", "KUBERNETES_SERVICE", "token", "serviceaccount"] {
            assert!(!found.stdout.contains(secret), "{secret}: {found}");
        }
        // The control: the host key is there to be found, in the pod's Secret.
        let secret = lab.kubectl(&["-n", namespace, "get", "secrets", "-o", "jsonpath={.items[*].data}"]).await?.ok()?;
        ensure!(secret.stdout.contains("ssh-host-key"), "{secret}");
        // The search finds one that lies around, and one that another process was given.
        let planted = format!("echo '-----BEGIN OPENSSH PRIVATE KEY-----' > /tmp/planted; {search}");
        ensure!(session.run(&[], &[&planted]).await?.stdout.contains("/tmp/planted"), "the search finds nothing");
        let mut exec = lab.kubectl_command(&["-n", namespace, "exec", "bare", "--", "sleep", "30"]);
        let _exec = exec.kill_on_drop(true).spawn()?;
        eventually(PATIENCE, "the variables of what the cluster's admin starts", async || {
            let found = session.run(&[], &[search]).await?.stdout.contains("WS_HOST_KEY=");
            anyhow::Ok(found.then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn c02_processes_have_no_privilege_to_give_up() -> Result<()> {
    let line = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; echo map: $(cat /proc/self/uid_map)";
    both(line, |inside, control| {
        let (fields, unconfined) = (values(inside, ':'), values(control, ':'));
        for (name, expected) in [
            ("CapEff", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapBnd", "0000000000000000"),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ] {
            ensure!(fields.get(name) == Some(&expected), "{name}: {inside}");
            let control = unconfined.get(name);
            ensure!(control.is_some_and(|value| *value != expected), "{name} proves nothing: {control:?}");
        }
        // The second number is where the pod's users begin among the node's.
        let first = |fields: &BTreeMap<&str, &str>| Some(fields.get("map")?.split(' ').nth(1)?.to_owned());
        ensure!(
            first(&fields).is_some_and(|first| first != "0"),
            "root of the pod is root of the node: {inside}"
        );
        ensure!(first(&unconfined).as_deref() == Some("0"), "nothing is proven: {control}");
        Ok(())
    })
    .await
}

/// Opens every socket family with every type and prints the ones that did not end with EPERM.
const FAMILIES: &str = r#"python3 - <<'PY'
import errno, socket
for family in range(0, 46):
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind).close()
            print(family, kind, "open")
        except OSError as error:
            if error.errno != errno.EPERM:
                print(family, kind, errno.errorcode[error.errno])
for family, kind, protocol in ((2, 2, 1), (2, 3, 1), (16, 3, 9), (16, 3, 16)):
    try:
        socket.socket(family, kind, protocol).close()
        print("protocol", family, protocol, "open")
    except OSError as error:
        if error.errno != errno.EPERM:
            print("protocol", family, protocol, errno.errorcode[error.errno])
PY"#;

#[tokio::test]
#[ignore = "needs the lab"]
async fn c03_only_ordinary_socket_families_exist() -> Result<()> {
    both(FAMILIES, |inside, control| {
        for line in inside.stdout.lines() {
            let family = line.split(' ').next().unwrap_or_default();
            ensure!(["1", "2", "10", "16"].contains(&family), "our filter let {line} through: {inside}");
        }
        ensure!(inside.stdout.contains("2 1 open"), "ordinary sockets work: {inside}");
        let refused_by_kernel = control.stdout.lines().filter(|line| !line.ends_with("open")).count();
        ensure!(refused_by_kernel > 50, "nothing is proven: {control}");
        Ok(())
    })
    .await
}

/// A foreign-ABI system call, in machine code: i386's getpid through `int 0x80`, and x32's through the bit in its number.
const FOREIGN: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    long result;
    if (!strcmp(argv[1], "i386")) __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    else result = syscall(0x40000000 + SYS_getpid);
    printf("%s answered %ld\n", argv[1], result);
    return 0;
}
"#;

#[tokio::test]
#[ignore = "needs the lab"]
async fn c03_system_calls_of_a_foreign_abi_are_deadly() -> Result<()> {
    let line = format!(
        "cd /tmp && cat > foreign.c <<'C'\n{FOREIGN}\nC\ngcc -o foreign foreign.c && for abi in i386 x32; do ./foreign $abi; echo $abi=$?; done"
    );
    both(&line, |inside, control| {
        // 128 + SIGSYS.
        ensure!(inside.stdout.contains("i386=159") && inside.stdout.contains("x32=159"), "{inside}");
        // A kernel may know only one of the two.
        ensure!(
            control.stdout.contains("i386=0") || control.stdout.contains("x32=0"),
            "nothing is proven: {control}"
        );
        Ok(())
    })
    .await
}

/// Each is a way out of a container, tried in a process of its own; what is printed is `name=result`.
const ESCAPES: &str = r#"python3 - <<'PY'
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    "unshare_user": (272, 0x10000000), "unshare_net": (272, 0x40000000), "setns": (308, 0, 0), "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0), "pivot_root": (155, 0, 0), "open_tree": (428, -1, 0, 0), "move_mount": (429, -1, 0, -1, 0, 0),
    "fsopen": (430, 0, 0), "fsmount": (432, -1, 0, 0), "bpf": (321, 0, 0, 0), "io_uring_setup": (425, 1, 0),
    "userfaultfd": (323, 0), "perf_event_open": (298, 0, 0, -1, -1, 0), "keyctl": (250, 0, 0), "add_key": (248, 0, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0), "ptrace_init": (101, 16, 1, 0, 0), "kexec_load": (246, 0, 0, 0, 0), "init_module": (175, 0, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0), "clone_newuser": (56, 0x10000000 | 17, 0, 0, 0, 0),
}
def answer(result, error):
    return "done" if result >= 0 else errno.errorcode[error]
for name, (number, *arguments) in calls.items():
    if os.fork() == 0:
        result = libc.syscall(number, *[ctypes.c_long(a) for a in arguments])
        if name == "clone_newuser" and result == 0: os._exit(0)
        print(f"{name}={answer(result, ctypes.get_errno())}", flush=True)
        os._exit(0)
    os.wait()
# In the first version of cgroups, each controller has a folder.
cgroup = next(filter(os.path.exists, ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs")))
for path in ("/proc/1/environ", "/proc/1/mem", "/proc/1/root/etc/passwd", "/proc/sys/kernel/core_pattern", cgroup):
    try:
        os.close(os.open(path, os.O_RDONLY if path.startswith("/proc/1/") else os.O_WRONLY))
        print(f"{path}=done")
    except OSError as error:
        print(f"{path}={errno.errorcode[error.errno]}")
PY"#;

#[tokio::test]
#[ignore = "needs the lab"]
async fn c04_ways_out_of_a_container_are_closed() -> Result<()> {
    both(ESCAPES, |inside, control| {
        let (inside_values, unconfined) = (values(inside, '='), values(control, '='));
        ensure!(inside_values.len() == 27 && unconfined.len() == 27, "{inside}\n{control}");
        for (name, result) in inside_values {
            let control = unconfined.get(name);
            if name.starts_with('/') {
                ensure!(result != "done", "{name}: {inside}");
                ensure!(control == Some(&"done"), "{name} proves nothing: {control:?}");
            } else {
                // Our filter's answer, or for init that of the kernel, which hides it.
                ensure!(result == "EPERM", "{name}: {inside}");
                ensure!(
                    control.is_some_and(|result| *result != "EPERM"),
                    "{name} proves nothing: {control:?}"
                );
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn c04_setuid_programs_give_nothing() -> Result<()> {
    // su waits for a password; who it is while it waits is what the kernel made of its setuid bit.
    let line = "sleep 3 | su -c id >/dev/null 2>&1 & sleep 1; grep ^Uid: /proc/$(pgrep -nx su)/status";
    let ordinary_user = ["setpriv", "--reuid", "10000", "--regid", "10000", "--clear-groups"];
    against(line, &ordinary_user, |inside, control| {
        assert_eq!(inside.stdout, "Uid:\t10000\t10000\t10000\t10000\n", "{inside}");
        ensure!(control.stdout == "Uid:\t10000\t0\t0\t0\n", "nothing is proven: {control}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn c05_only_the_own_processes_are_seen() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("peek", Project::sample()?.path()).await?;
        let line = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; ls -A /dev/shm; cat /proc/net/unix | tail -n +2";
        let seen = ws.bash("peek", line).await?.ok()?;
        for foreign in ["ws-gateway", "ws-operator", "kubelet", "containerd", "kube-"] {
            assert!(!seen.stdout.contains(foreign), "{foreign}: {seen}");
        }
        assert!(seen.stdout.contains("bash"), "the search sees processes: {seen}");
        let node = host_processes(lab).await?;
        ensure!(node.stdout.contains("kubelet"), "nothing is proven: {node}");
        Ok(())
    })
    .await
}

/// The same search where those processes are.
async fn host_processes(_: &Lab) -> Result<Output> {
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null"]);
    run_with_input(bash, Vec::new(), Duration::from_secs(10)).await
}

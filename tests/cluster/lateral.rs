//! Red team, group A: from a workspace, nothing of the cluster itself is reached, nor another session.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};
use ws_tests::{
    audit::Audit,
    lab::Lab,
    namespace::with_namespace,
    probe::{Kind, Target, from_pod, from_workspace, open_pod},
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

use crate::egress::{OPEN, only_the_open_pod_reaches};

/// A question for `kubernetes.default.svc.cluster.local`, which any DNS server answers somehow (RFC 1035, section 4.1).
pub(crate) const DNS_QUESTION: &str =
    "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x0akubernetes\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01";
/// What a kubelet, kube-proxy, etcd, a way to the control plane, a pod with a port of its node and an administrator listen on, where
/// nothing of the lab does by itself.
const PORTS_OF_NODES: [u16; 7] = [22, 2379, 8132, 10255, 10256, 18080, 30022];
/// Where the operator and the gateway answer who looks after them.
const ADMIN: u16 = 9090;
/// A port of the second session's server.
const PORT: u16 = 8080;

#[tokio::test]
#[ignore = "needs the lab"]
async fn a09_the_node_and_the_control_plane_are_out_of_reach() -> Result<()> {
    let mut servers: Vec<Child> = Vec::new();
    only_the_open_pod_reaches(async |lab, namespace| {
        let node = lab.addresses.node.as_str();
        let api_server = lab.fields("default", "service/kubernetes", "{.spec.clusterIP}").await?;
        for port in PORTS_OF_NODES {
            servers.push(server_on_the_node(lab, node, port)?);
        }
        let mut targets: Vec<_> =
            PORTS_OF_NODES.iter().chain(&[6443, 10250]).map(|port| Target::tcp(node, *port, "")).collect();
        targets.extend([
            Target::tcp(&api_server, 443, ""),
            Target::tcp(&lab.addresses.dns, 53, ""),
            Target { kind: Kind::Udp, ..Target::tcp(&lab.addresses.dns, 53, DNS_QUESTION) },
        ]);
        targets.push(Target::tcp(node, node_port(lab, namespace).await?, ""));
        Ok(targets)
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a09_no_socket_of_the_nodes_programs_is_in_the_pod() -> Result<()> {
    const SEARCH: &str = "find / -path /proc -prune -o -type s -print 2>/dev/null; cat /proc/net/unix";
    const PROGRAMS: [&str; 5] = ["containerd", "docker", "crio", "kubelet", "podman"];
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("searching", Project::empty()?.path()).await?;
        let found = async |before: &str| -> Result<Vec<String>> {
            let searched = ws.bash("searching", &format!("{before}{SEARCH}")).await?.ok()?.stdout;
            let is_meant = |line: &&str| PROGRAMS.iter().any(|program| line.contains(program));
            Ok(searched.lines().filter(is_meant).map(str::to_owned).collect())
        };
        let sockets = found("").await?;
        ensure!(sockets.is_empty(), "{sockets:?}");
        // The control: the same search finds what is planted, by its file and by the kernel's list.
        let plant = "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(\"/tmp/docker.sock\"); time.sleep(20)";
        let planted = found(&format!("python3 -c '{plant}' >/dev/null 2>&1 & sleep 1; ")).await?;
        ensure!(planted.len() == 2, "{planted:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a10_other_pods_and_services_are_out_of_reach() -> Result<()> {
    only_the_open_pod_reaches(async |lab, namespace| {
        let gateway = lab.fields(lab.ws_namespace(), "service/ws-gateway", "{.spec.clusterIP}").await?;
        // The canary port of the gateway: the one that no workspace may reach.
        let mut targets = vec![Target::tcp(&gateway, 3129, "")];
        let pods = lab.kubectl(&["-n", lab.ws_namespace(), "get", "pods", "-o", "json"]).await?.ok()?;
        let pods: serde_json::Value = serde_json::from_str(&pods.stdout)?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let (name, address) = (pod["metadata"]["name"].as_str(), pod["status"]["podIP"].as_str());
            if let (Some(name), Some(address)) = (name, address)
                && name.starts_with("ws-gateway")
            {
                targets.push(Target::tcp(address, 3129, ""));
            }
        }
        ensure!(targets.len() > 1, "no gateway pod in {pods}");
        targets.push(Target::tcp(&neighbour(lab, namespace).await?, PORT, ""));
        targets.push(Target::tcp(&service(lab, namespace, "neighbour").await?, PORT, ""));
        Ok(targets)
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a10_of_the_installation_a_session_reaches_the_gateways_proxy_alone() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, audit) = (Ws::new(lab, namespace)?, Audit::of(lab, namespace, "curious"));
        ws.up("curious", Project::empty()?.path()).await?;
        let gateway = lab.fields(lab.ws_namespace(), "service/ws-gateway", "{.spec.clusterIP}").await?;
        let http = "GET /metrics HTTP/1.0\r\n\r\n";
        let mut targets: Vec<_> =
            [22, 80, 443, 3_129, 8_080, ADMIN].map(|port| Target::tcp(&gateway, port, http)).into();
        let pods = ["get", "pods", "-l", "app.kubernetes.io/name in (ws-gateway, ws-operator)", "-o", "json"];
        let pods = lab.kubectl(&[&["-n", lab.ws_namespace()], &pods[..]].concat()).await?.ok()?;
        let pods: serde_json::Value = serde_json::from_str(&pods.stdout)?;
        let mut names = Vec::new();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let (name, address) = (pod["metadata"]["name"].as_str(), pod["status"]["podIP"].as_str());
            let (name, address) = (name.context("a name")?, address.context("an address")?);
            targets.extend([443, 3_129, 8_443, ADMIN].map(|port| Target::tcp(address, port, http)));
            names.push(name.to_owned());
        }
        for server in ["ws-gateway", "ws-operator"] {
            ensure!(names.iter().any(|name| name.starts_with(server)), "no {server} in {names:?}");
        }
        let reached = from_workspace(&ws, "curious", &targets).await?;
        ensure!(reached.is_empty(), "the workspace reached {reached:?}");
        // The controls: the port is open to who may have it, and the workspace reaches something.
        for name in names {
            let metrics =
                format!("/api/v1/namespaces/{}/pods/{name}:{ADMIN}/proxy/metrics", lab.ws_namespace());
            lab.kubectl(&["get", "--raw", &metrics]).await?.ok()?;
        }
        let proxy = [Target::tcp(&gateway, 3_128, http)];
        ensure!(from_workspace(&ws, "curious", &proxy).await?.len() == 1, "it reaches not even the proxy");
        audit.is_of_one_request(&ws).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a10_one_session_does_not_reach_another() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, project) = (Ws::new(lab, namespace)?, Project::empty()?);
        let audit = Audit::of(lab, namespace, "client");
        ws.up("server", project.path()).await?;
        ws.up("client", project.path()).await?;
        let mut servers = Vec::new();
        for name in ["client", "server"] {
            servers.push(serve_name(&ws, &project, name)?);
            let address = lab.fields(namespace, &format!("pod/{name}"), "{.status.podIP}").await?;
            let own = [Target::tcp(&address, PORT, "")];
            eventually(PATIENCE, "a session's answer to itself", async || {
                anyhow::Ok((!from_workspace(&ws, name, &own).await?.is_empty()).then_some(()))
            })
            .await?;
        }
        let address = lab.fields(namespace, "pod/server", "{.status.podIP}").await?;
        // What its own user comes by listens on its loopback alone.
        let [own, other] =
            ["127.0.0.1", address.as_str()].map(|host| Target::tcp(host, ws_api::ssh::PORT, ""));
        let reached = from_workspace(&ws, "server", std::slice::from_ref(&own)).await?;
        ensure!(reached.len() == 1, "the control: the session's own port answers it");
        let others = [Target::tcp(&address, PORT, ""), other];
        ensure!(from_workspace(&ws, "client", &others).await?.is_empty(), "a session reached another");
        // Nor does anything else come into a session.
        open_pod(lab, namespace, OPEN).await?;
        ensure!(from_pod(lab, namespace, OPEN, &others).await?.is_empty(), "a pod reached a session");
        let of_both = expose(lab, namespace, "server").await?;
        // A Service of both leads a session to itself, which no policy can forbid (Kubernetes' documentation says so), and never to
        // the other.
        let ask = format!(
            "for i in {{1..20}}; do curl -sm 2 --noproxy '*' http://{of_both}:{PORT}/name; done; true"
        );
        let told = eventually(PATIENCE, "the server's answer to itself by way of a Service", async || {
            let told = ws.bash("server", &ask).await?.ok()?.stdout;
            anyhow::Ok((!told.is_empty()).then_some(told))
        })
        .await?;
        ensure!(told.lines().all(|name| name == "server"), "by a Service it reached {told}");
        audit.is_of_one_request(&ws).await
    })
    .await
}

/// Has a workspace answer with its name on `PORT`, for as long as it is kept.
fn serve_name(ws: &Ws, project: &Project, name: &str) -> Result<Child> {
    let serve = format!("cd $(mktemp -d) && echo {name} > name && exec python3 -m http.server {PORT}");
    ws.start(project.path(), &["attach", name, "--", "bash", "-c", &serve])
}

/// Something that listens at this address of the node, for as long as it is kept.
pub(crate) fn server_on_the_node(lab: &Lab, address: &str, port: u16) -> Result<Child> {
    let mut server = Command::new(lab.program("lab")?);
    server.args(["exec", "ws-node", "--", "python3", "-m", "http.server", &port.to_string()]);
    server.args(["--bind", address]);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    server.spawn().context("a server on the node")
}

/// A pod of the same namespace that answers on `PORT`; returns its address.
async fn neighbour(lab: &Lab, namespace: &str) -> Result<String> {
    let serve = format!("python3 -m http.server {PORT} >/dev/null 2>&1 &");
    open_pod(lab, namespace, "neighbour").await?;
    lab.kubectl(&["-n", namespace, "label", "pod", "neighbour", "app=neighbour"]).await?.ok()?;
    lab.kubectl(&["-n", namespace, "exec", "neighbour", "--", "bash", "-c", &serve]).await?.ok()?;
    lab.fields(namespace, "pod/neighbour", "{.status.podIP}").await
}

/// Makes a Service of the pods with the label `app` of this value; returns its address.
async fn service(lab: &Lab, namespace: &str, app: &str) -> Result<String> {
    let ports = format!("--tcp={PORT}:{PORT}");
    lab.kubectl(&["-n", namespace, "create", "service", "clusterip", app, &ports]).await?.ok()?;
    lab.fields(namespace, &format!("service/{app}"), "{.spec.clusterIP}").await
}

/// Makes a Service of all pods that have a workspace's labels, as others of its class do; returns its address.
async fn expose(lab: &Lab, namespace: &str, pod: &str) -> Result<String> {
    let port = format!("--port={PORT}");
    lab.kubectl(&["-n", namespace, "expose", "pod", pod, "--name", "own", &port]).await?.ok()?;
    lab.fields(namespace, "service/own", "{.spec.clusterIP}").await
}

/// The port at which every node answers for the neighbour.
async fn node_port(lab: &Lab, namespace: &str) -> Result<u16> {
    neighbour(lab, namespace).await?;
    let service = format!("--tcp={PORT}:{PORT}");
    lab.kubectl(&["-n", namespace, "create", "service", "nodeport", "neighbour", &service]).await?.ok()?;
    Ok(lab.fields(namespace, "service/neighbour", "{.spec.ports[0].nodePort}").await?.parse()?)
}

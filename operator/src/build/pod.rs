//! The pod of a workspace: [Pod Security *restricted*](https://kubernetes.io/docs/concepts/security/pod-security-standards/)
//! and what that leaves open.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ImageVolumeSource,
        ObjectFieldSelector, Pod, PodDNSConfig, PodSecurityContext, PodSpec, ResourceRequirements,
        SeccompProfile, SecretKeySelector, SecurityContext, Sysctl, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
    jiff::Timestamp,
};
use ws_api::{
    CONTAINER, WORKSPACE_UID,
    agent::{self, Protocol, Settings, Target},
    class::default_limits,
    workspace::Workspace,
};

use super::{Surroundings, owned};
use crate::validate::Validated;

/// Where cloud providers answer for the node's credentials.
const METADATA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254));
const HOME: &str = "/home/ws";
/// Home where the image has no directory for the user: `/tmp` is there and writable in every image worth the name.
const HOME_ELSEWHERE: &str = "/tmp/ws";
const AGENT_VOLUME: &str = "agent";
/// Folder of [`agent::PATH`].
const AGENT_FOLDER: &str = "/ws";
/// Seconds from SIGTERM to SIGKILL. The agent ends within one; nothing in the pod is worth waiting for.
const GRACE: i64 = 2;

/// How the agent comes into the image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Delivery {
    InImage,
    ImageVolume,
    InitContainer,
}

impl Delivery {
    /// The first that works: a volume costs the start 300 ms, an init container more than a second.
    fn of(workspace: &Validated, surroundings: &Surroundings) -> Self {
        let stock = &surroundings.installation.stock_images;
        if stock.iter().any(|repository| workspace.image.is_within(repository)) {
            Self::InImage
        } else if surroundings.nodes.image_volumes {
            Self::ImageVolume
        } else {
            Self::InitContainer
        }
    }
}

/// The pod. It has the workspace's name.
pub fn pod(workspace: &Validated, surroundings: &Surroundings) -> Pod {
    let delivery = Delivery::of(workspace, surroundings);
    let agent_image = &surroundings.installation.agent_image;
    let some = |list: Vec<_>| (!list.is_empty()).then_some(list);
    Pod {
        metadata: owned(workspace, workspace.name.to_string()),
        spec: Some(PodSpec {
            containers: vec![container(workspace, surroundings, delivery)],
            init_containers: (delivery == Delivery::InitContainer).then(|| vec![installer(agent_image)]),
            volumes: volume(delivery, agent_image).map(|volume| vec![volume]),
            runtime_class_name: workspace.runtime_class.clone(),
            node_selector: Some(workspace.scheduling.node_selector.clone())
                .filter(|labels| !labels.is_empty()),
            tolerations: some(workspace.scheduling.tolerations.clone()),
            restart_policy: Some("Never".into()),
            // The pod ends on time even if the operator is not there to end it.
            active_deadline_seconds: Some(remaining(workspace.expires_at)),
            termination_grace_period_seconds: Some(GRACE),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            host_users: surroundings.nodes.user_namespaces.then_some(false),
            // No resolver: names are resolved by the gateway, once it has allowed them.
            dns_policy: Some("None".into()),
            dns_config: Some(PodDNSConfig {
                nameservers: Some(vec!["127.0.0.1".into()]),
                ..PodDNSConfig::default()
            }),
            security_context: Some(pod_security()),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// At least a second: the API server takes no less.
fn remaining(expires_at: Timestamp) -> i64 {
    expires_at.duration_since(Timestamp::now()).as_secs().max(1)
}

fn container(workspace: &Validated, surroundings: &Surroundings, delivery: Delivery) -> Container {
    Container {
        name: CONTAINER.into(),
        image: Some(workspace.image.to_string()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec![agent::PATH.into()]),
        env: Some(environment(workspace, surroundings, delivery)),
        resources: Some(limited(workspace.resources.clone())),
        security_context: Some(container_security()),
        termination_message_policy: Some("File".into()),
        volume_mounts: (delivery != Delivery::InImage).then(|| vec![mount(true)]),
        ..Container::default()
    }
}

fn environment(workspace: &Validated, surroundings: &Surroundings, delivery: Delivery) -> Vec<EnvVar> {
    let secret = SecretKeySelector {
        name: Workspace::host_key_secret(workspace.name.as_ref(), &workspace.uid),
        key: agent::HOST_KEY_SECRET_KEY.into(),
        optional: None,
    };
    let from = |name: &str, source| EnvVar { name: name.into(), value: None, value_from: Some(source) };
    let field = |name: &str, path: &str| {
        let field_ref = Some(ObjectFieldSelector { field_path: path.into(), api_version: Some("v1".into()) });
        from(name, EnvVarSource { field_ref, ..EnvVarSource::default() })
    };
    let settings = settings(workspace, surroundings, delivery).to_variables();
    let plain =
        |(name, value): (&str, String)| EnvVar { name: name.into(), value: Some(value), value_from: None };
    let mut variables: Vec<EnvVar> = settings.into_iter().map(plain).collect();
    variables.extend([
        from(agent::HOST_KEY, EnvVarSource { secret_key_ref: Some(secret), ..EnvVarSource::default() }),
        field(agent::PRINCIPAL, "metadata.uid"),
        field(agent::NODE_ADDRESS, "status.hostIP"),
    ]);
    variables
}

fn settings(workspace: &Validated, surroundings: &Surroundings, delivery: Delivery) -> Settings {
    let Surroundings { installation, gateway, cluster_dns, nodes: _ } = surroundings;
    let tcp = |address| Target { protocol: Protocol::Tcp, address };
    let mut forbidden = vec![tcp(installation.api_server), tcp(SocketAddr::new(METADATA, 80))];
    forbidden
        .extend(cluster_dns.map(|dns| Target { protocol: Protocol::Dns, address: SocketAddr::new(dns, 53) }));
    Settings {
        user_ca: installation.user_ca.clone(),
        gateway: *gateway,
        forbidden,
        isolation_deadline: installation.isolation_deadline,
        idle: workspace.idle,
        home: if delivery == Delivery::InImage { HOME } else { HOME_ELSEWHERE }.into(),
    }
}

/// The class's resources, with a limit for everything a pod can exhaust: one that the class leaves out is what it requests, or
/// the default.
fn limited(mut resources: ResourceRequirements) -> ResourceRequirements {
    let requests = resources.requests.clone().unwrap_or_default();
    let limits = resources.limits.get_or_insert_default();
    for (name, default) in default_limits() {
        let limit = requests.get(&name).cloned().unwrap_or(default);
        limits.entry(name).or_insert(limit);
    }
    resources
}

fn pod_security() -> PodSecurityContext {
    let id = Some(i64::from(WORKSPACE_UID));
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: id,
        run_as_group: id,
        fs_group: id,
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        // The agent listens where programs expect servers, on the pod's loopback: port 53, port 443. The sysctl is one of those
        // that Kubernetes holds for safe.
        sysctls: Some(vec![Sysctl { name: "net.ipv4.ip_unprivileged_port_start".into(), value: "0".into() }]),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
        privileged: Some(false),
        ..SecurityContext::default()
    }
}

fn volume(delivery: Delivery, agent_image: &str) -> Option<Volume> {
    let volume = Volume { name: AGENT_VOLUME.into(), ..Volume::default() };
    match delivery {
        Delivery::InImage => None,
        Delivery::ImageVolume => Some(Volume {
            image: Some(ImageVolumeSource {
                reference: Some(agent_image.into()),
                pull_policy: Some("IfNotPresent".into()),
            }),
            ..volume
        }),
        Delivery::InitContainer => Some(Volume {
            empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity("64Mi".into())) }),
            ..volume
        }),
    }
}

fn mount(read_only: bool) -> VolumeMount {
    VolumeMount {
        name: AGENT_VOLUME.into(),
        mount_path: AGENT_FOLDER.into(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}

/// Copies the agent out of its own image.
fn installer(agent_image: &str) -> Container {
    let quantities = [("cpu", "100m"), ("memory", "64Mi")]
        .map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())));
    Container {
        name: "install-agent".into(),
        image: Some(agent_image.into()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some([agent::PATH_IN_AGENT_IMAGE, agent::INSTALL, agent::PATH].map(Into::into).into()),
        resources: Some(ResourceRequirements {
            requests: Some(quantities.clone().into()),
            limits: Some(quantities.into()),
            claims: None,
        }),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![mount(false)]),
        ..Container::default()
    }
}

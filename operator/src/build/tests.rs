use k8s_openapi::jiff::Timestamp;
use ws_api::agent::{HOST_KEY, NODE_ADDRESS, PRINCIPAL, Settings};

use super::*;
use crate::{
    testing::{class, surroundings, workspace},
    user_ca::UserCa,
    validate::validate,
};

fn validated(change: impl FnOnce(&mut ws_api::class::WorkspaceClassSpec)) -> Validated {
    let mut class = class();
    change(&mut class.spec);
    let mut validated = validate(&workspace(), &class).unwrap();
    // Far enough for the rest of a lifetime to be the same number of seconds in every run.
    validated.expires_at = Timestamp::MAX;
    validated
}

fn built(workspace: &Validated, surroundings: &Surroundings) -> Desired {
    let ca = UserCa::new(crate::testing::ca()).unwrap();
    desired(workspace, surroundings, &ca.host_key(&workspace.uid).unwrap())
}

fn pod_of(workspace: &Validated, surroundings: &Surroundings) -> k8s_openapi::api::core::v1::PodSpec {
    let mut pod = built(workspace, surroundings).pod.spec.unwrap();
    let deadline = pod.active_deadline_seconds.replace(1);
    assert!(deadline > Some(1), "{deadline:?}");
    pod
}

#[test]
fn desired_state_of_a_plain_workspace() {
    let Desired { network_policy, mut host_key, mut pod } = built(&validated(|_| ()), &surroundings());
    pod.spec.as_mut().unwrap().active_deadline_seconds = Some(14_400);
    insta::assert_yaml_snapshot!("network_policy", network_policy);
    for key in host_key.data.as_mut().unwrap().values_mut() {
        assert!(key.0.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----"));
        key.0.clear();
    }
    insta::assert_yaml_snapshot!("host_key", host_key);
    insta::assert_yaml_snapshot!("pod", pod);
}

#[test]
fn an_image_without_the_agent_gets_it_from_a_volume() {
    let other = validated(|class| class.image = "ghcr.io/acme/app:1".into());
    let mut surroundings = surroundings();
    insta::assert_yaml_snapshot!("pod_with_image_volume", pod_of(&other, &surroundings));
    surroundings.nodes.image_volumes = false;
    surroundings.nodes.user_namespaces = false;
    insta::assert_yaml_snapshot!("pod_with_init_container", pod_of(&other, &surroundings));
}

#[test]
fn the_agent_reads_its_settings_from_the_pod() {
    let pod = pod_of(&validated(|_| ()), &surroundings());
    let variables = pod.containers[0].env.clone().unwrap();
    let plain = |name: &str| variables.iter().find(|variable| variable.name == name)?.value.clone();
    let settings = Settings::from_variables(plain).unwrap();
    assert_eq!(settings.forbidden.len(), 3);
    for name in [HOST_KEY, PRINCIPAL, NODE_ADDRESS] {
        assert!(
            variables.iter().any(|variable| variable.name == name && variable.value_from.is_some()),
            "{name}"
        );
    }
}

#[test]
fn every_exhaustible_resource_has_a_limit() {
    let resources = |yaml: &str| {
        let workspace = validated(|class| class.resources = serde_yaml::from_str(yaml).unwrap());
        let limits =
            pod_of(&workspace, &surroundings()).containers[0].resources.clone().unwrap().limits.unwrap();
        limits.into_iter().map(|(name, limit)| format!("{name}={}", limit.0)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(resources("{}"), "cpu=4 ephemeral-storage=20Gi memory=8Gi");
    assert_eq!(resources("{limits: {memory: 1Gi}}"), "cpu=4 ephemeral-storage=20Gi memory=1Gi");
    assert_eq!(resources("{requests: {memory: 64Gi}}"), "cpu=4 ephemeral-storage=20Gi memory=64Gi");
    assert_eq!(
        resources("{limits: {nvidia.com/gpu: 1}}"),
        "cpu=4 ephemeral-storage=20Gi memory=8Gi nvidia.com/gpu=1"
    );
}

#[test]
fn a_pod_whose_time_is_up_gets_one_second() {
    let mut late = validated(|_| ());
    late.expires_at = Timestamp::UNIX_EPOCH;
    assert_eq!(built(&late, &surroundings()).pod.spec.unwrap().active_deadline_seconds, Some(1));
}

#[test]
fn pods_of_a_class_have_the_same_labels_and_no_other() {
    let one = built(&validated(|_| ()), &surroundings()).pod.metadata.labels.unwrap();
    let mut other = validated(|_| ());
    other.name = "other".parse().unwrap();
    assert_eq!(built(&other, &surroundings()).pod.metadata.labels.unwrap(), one);
    assert_eq!(one, labels(&"default".parse().unwrap()));
}

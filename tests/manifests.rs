//! What is committed for admins is what the code and the chart make today. Needs no cluster, but the lab's helm.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;
use ws_api::reason::Reason;
use ws_policy::addresses::{GLOBAL_V6, SPECIAL_V4, SPECIAL_V6};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn committed(path: &str) -> Result<String> {
    fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())
}

/// helm, as the variable `HELM` or `lab build` has it.
fn helm() -> Result<Command> {
    if let Some(helm) = std::env::var_os("HELM") {
        return Ok(Command::new(helm));
    }
    let lab = Command::new(ws_tests::lab::built("lab")?).arg("build").output()?;
    ensure!(lab.status.success(), "`lab build` failed: {}", String::from_utf8_lossy(&lab.stderr));
    let folder = String::from_utf8(lab.stdout)?;
    Ok(Command::new(Path::new(folder.trim()).join("helm")))
}

/// What helm makes of the chart with these values set.
fn rendered(values: &[&str]) -> Result<String> {
    let mut helm = helm()?;
    // Without a cluster helm assumes one that is older than the chart allows.
    helm.current_dir(repository()).args([
        "template",
        "ws",
        "charts/ws",
        "-n",
        "ws-system",
        "--kube-version",
        "1.33.0",
    ]);
    helm.args(values.iter().flat_map(|value| ["--set", value]));
    let output = helm.output().context("helm is needed: set HELM, or run `make tools`")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn objects(manifest: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(manifest).map(Value::deserialize);
    let documents: Vec<Value> = documents.collect::<Result<_, _>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn the_definitions_are_those_of_the_code() -> Result<()> {
    let texts: Vec<_> = ws_api::definitions().iter().map(serde_yaml::to_string).collect::<Result<_, _>>()?;
    let code = texts.join("---\n");
    for path in ["manifests/crd.yaml", "charts/ws/crds/ws.yaml"] {
        ensure!(committed(path)? == code, "{path} is stale: run `make manifests`");
    }
    Ok(())
}

#[test]
fn the_install_manifest_is_the_chart() -> Result<()> {
    let chart = rendered(&["namespace.create=true"])?;
    ensure!(
        committed("manifests/install.yaml")? == chart,
        "manifests/install.yaml is stale: run `make manifests`"
    );
    Ok(())
}

#[test]
fn the_example_is_what_the_code_reads() -> Result<()> {
    let example = objects(&committed("operator/api/examples/team.yaml")?)?;
    let class: ws_api::class::WorkspaceClass = serde_json::from_value(example[0].clone())?;
    let workspace: ws_api::workspace::Workspace = serde_json::from_value(example[1].clone())?;
    assert_eq!(workspace.spec.class_name, class.metadata.name);
    Ok(())
}

/// `group/resource` or `group/resource[name]` → verbs.
fn permissions(role: &Value) -> Vec<(String, String)> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let mut permissions = vec![];
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names = texts(&rule["resourceNames"]).join(",");
        let names = if names.is_empty() { names } else { format!("[{names}]") };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                permissions.push((format!("{group}/{resource}{names}"), texts(&rule["verbs"]).join(" ")));
            }
        }
    }
    permissions
}

#[test]
fn nobody_may_do_more_than_this() -> Result<()> {
    let objects = objects(&committed("manifests/install.yaml")?)?;
    let mut found = BTreeMap::new();
    for kind in ["ClusterRole", "Role"] {
        for role in of_kind(&objects, kind) {
            let namespace = role["metadata"]["namespace"].as_str().unwrap_or("*");
            let name = role["metadata"]["name"].as_str().unwrap_or_default();
            for (resource, verbs) in permissions(role) {
                let resource = format!("{name} {namespace} {resource}");
                ensure!(!found.contains_key(&resource), "more than one rule for {resource}");
                found.insert(resource, verbs);
            }
        }
    }
    let allowed = [
        ("ws-operator * ws.dev/workspaces", "list watch delete"),
        ("ws-operator * ws.dev/workspaces/status", "patch"),
        ("ws-operator * ws.dev/workspaces/finalizers", "update"),
        ("ws-operator * ws.dev/workspaceclasses", "list watch"),
        ("ws-operator * /pods", "get list watch create delete"),
        ("ws-operator * /secrets", "create"),
        ("ws-operator * networking.k8s.io/networkpolicies", "list watch create patch delete"),
        ("ws-operator * /nodes", "list watch"),
        ("ws-operator * node.k8s.io/runtimeclasses", "list watch"),
        ("ws-operator * events.k8s.io/events", "create patch"),
        ("ws-operator ws-system /services[ws-gateway]", "list watch"),
        ("ws-operator ws-system /secrets[ws-user-ca]", "get"),
        ("ws-operator ws-system coordination.k8s.io/leases", "create"),
        ("ws-operator ws-system coordination.k8s.io/leases[ws-operator]", "get patch"),
        ("ws-operator kube-system /services[kube-dns]", "list watch"),
        ("ws-gateway * /pods", "list watch"),
        ("ws-gateway * ws.dev/workspaceclasses", "list watch"),
        ("ws-gateway * ws.dev/workspaces", "get list watch"),
        ("ws-gateway * ws.dev/workspaces/status", "patch"),
        ("ws-gateway ws-system /secrets[ws-gateway-ca]", "get update"),
        ("ws-user * ws.dev/workspaces", "get list watch create delete"),
        ("ws-user * /pods/portforward", "get create"),
        ("ws-class-viewer * ws.dev/workspaceclasses", "get list watch"),
        ("ws-viewer * ws.dev/workspaces", "get list watch"),
    ];
    let allowed: BTreeMap<_, _> = allowed.map(|(who, verbs)| (who.to_owned(), verbs.to_owned())).into();
    assert_eq!(found, allowed);
    Ok(())
}

#[test]
fn only_the_servers_are_bound() -> Result<()> {
    let objects = objects(&committed("manifests/install.yaml")?)?;
    let word = |value: &Value| value.as_str().unwrap_or("*").to_owned();
    let mut found = BTreeSet::new();
    for binding in ["ClusterRoleBinding", "RoleBinding"].iter().flat_map(|kind| of_kind(&objects, kind)) {
        let role = &binding["roleRef"];
        let where_ = word(&binding["metadata"]["namespace"]);
        for subject in binding["subjects"].as_array().context("a binding has subjects")? {
            let subject = ["kind", "namespace", "name"].map(|field| word(&subject[field])).join(" ");
            found.insert(format!("{where_}: {} {} to {subject}", word(&role["kind"]), word(&role["name"])));
        }
    }
    let allowed = [
        "*: ClusterRole ws-gateway to ServiceAccount ws-system ws-gateway",
        "*: ClusterRole ws-operator to ServiceAccount ws-system ws-operator",
        "kube-system: Role ws-operator to ServiceAccount ws-system ws-operator",
        "ws-system: Role ws-gateway to ServiceAccount ws-system ws-gateway",
        "ws-system: Role ws-operator to ServiceAccount ws-system ws-operator",
    ];
    assert_eq!(found, allowed.map(Into::into).into());
    Ok(())
}

/// Special networks that the second wall has no need of, since nothing of a cluster or a company is there: documentation (RFC 5737,
/// RFC 9637), AS 112 (RFC 7534, RFC 7535), multicast tunnels (RFC 7450), 6to4's relays (RFC 7526), and protocol assignments with Teredo
/// (RFC 2928). The gateway itself dials none of them.
const NOT_REPEATED: [&str; 10] = [
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.31.196.0/24",
    "192.175.48.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "2001::/23",
    "2620:4f:8000::/48",
    "3fff::/20",
];

#[test]
fn the_second_wall_keeps_the_gateway_from_what_it_does_not_dial_itself() -> Result<()> {
    let objects = objects(&committed("manifests/install.yaml")?)?;
    let is_the_gateways = |policy: &&Value| policy["metadata"]["name"] == "ws-gateway";
    let policy = of_kind(&objects, "NetworkPolicy").into_iter().find(is_the_gateways);
    let policy = policy.context("the gateway has a network policy")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let peers = list(&policy["spec"]["egress"]).into_iter().flat_map(|rule| list(&rule["to"]));
    let (mut open, mut closed) = (vec![], BTreeSet::new());
    for block in peers.map(|peer| peer["ipBlock"].clone()).filter(|block| block["except"].is_array()) {
        open.push(block["cidr"].as_str().unwrap_or_default().to_owned());
        closed.extend(list(&block["except"]).iter().filter_map(|network| Some(network.as_str()?.to_owned())));
    }
    assert_eq!(open, ["0.0.0.0/0".to_owned(), format!("{}/{}", GLOBAL_V6.0, GLOBAL_V6.1)]);

    let v4 = SPECIAL_V4.iter().map(|(network, length)| format!("{network}/{length}"));
    let v6 = SPECIAL_V6.iter().map(|(network, length)| format!("{network}/{length}"));
    let special: BTreeSet<String> = v4.chain(v6).collect();
    let omitted: BTreeSet<String> = NOT_REPEATED.map(Into::into).into();
    assert!(omitted.is_subset(&special), "not special: {:?}", omitted.difference(&special));
    assert_eq!(closed, &special - &omitted);
    Ok(())
}

#[test]
fn admins_are_told_what_to_do_about_each_reason_of_the_gateway() -> Result<()> {
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let docs = committed("docs/egress.md")?;
    let (_, section) = docs.split_once("### Reasons\n").context("docs/egress.md has the reasons")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    assert_eq!(rows.map(|(name, _)| name).collect::<BTreeSet<_>>(), names);
    Ok(())
}

#[test]
fn the_servers_pods_are_restricted() -> Result<()> {
    let objects = objects(&committed("manifests/install.yaml")?)?;
    let deployments = of_kind(&objects, "Deployment");
    assert_eq!(deployments.len(), 2);
    for deployment in deployments {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{deployment}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{deployment}");
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{deployment}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{deployment}");
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL", "{deployment}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{deployment}");
        assert!(pod["volumes"].is_null(), "{deployment}");
    }
    Ok(())
}

#[test]
fn values_that_are_misspelt_or_wrong_are_refused() -> Result<()> {
    rendered(&["operator.replicas=3", "gateway.nodeSelector.pool=edge", "imagePullSecrets[0].name=x"])?;
    for wrong in [
        "operater.replicas=3",
        "operator.replica=3",
        "operator.replicas=many",
        "operator.isolationDeadline=soon",
        "defaultClass.name=Default",
        "networkPolicy.apiServer.cidrs[0]=everywhere",
        "networkPolicy.apiServer.ports[0]=0",
        "image.tag=a b",
    ] {
        let refused = rendered(&[wrong]).err().with_context(|| format!("`{wrong}` was accepted"))?;
        ensure!(refused.to_string().contains("values don't meet the specifications"), "{wrong}: {refused}");
    }
    Ok(())
}

#[test]
fn each_option_of_the_chart_renders() -> Result<()> {
    let count = |values: &[&str], kind: &str| -> Result<usize> {
        Ok(of_kind(&objects(&rendered(values)?)?, kind).len())
    };
    assert_eq!(count(&[], "Namespace")?, 0);
    assert_eq!(count(&["defaultClass.create=false"], "WorkspaceClass")?, 0);
    assert_eq!(count(&["networkPolicy.enabled=false"], "NetworkPolicy")?, 0);
    assert_eq!(count(&["admissionPolicy.enabled=false"], "ValidatingAdmissionPolicy")?, 0);
    let metrics = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring";
    assert_eq!(rendered(&[metrics])?.matches("team: monitoring").count(), 2);
    let image = "defaultClass.spec.image=registry.example/x:1";
    assert!(rendered(&[image])?.contains("image: registry.example/x:1"));
    assert!(!rendered(&["users.aggregate=false"])?.contains("aggregate-to"));
    assert!(rendered(&["gateway.credentials={anthropic}"])?.contains("- anthropic"));
    let trust = rendered(&["gateway.trustedCAs=PEM"])?;
    assert_eq!(of_kind(&objects(&trust)?, "ConfigMap").len(), 1);
    assert!(trust.contains("name: WS_TRUSTED_CAS, value: /etc/ws/trusted.pem"));
    let forbidden = rendered(&["gateway.forbiddenNetworks={20.0.0.0/16,2a00::/32}"])?;
    assert!(forbidden.contains("value: \"20.0.0.0/16,2a00::/32\"") && forbidden.contains("- \"2a00::/32\""));
    let service = rendered(&["gateway.services[0].namespace=models", "gateway.services[0].port=11434"])?;
    assert!(service.contains("kubernetes.io/metadata.name: models"));
    Ok(())
}

//! Red team, B18: package managers and git, each with its preset as it ships, read what their rule names and nothing else, and
//! write nothing.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    command::Output,
    lab::Lab,
    probe::{WEB, canary, open_pod_of},
    project::Project,
};

use crate::{
    audited::are_told,
    egress::OPEN,
    toolchains::IMAGE,
    way_out::{Out, with_project},
};

/// Prints the status of an answer alone.
const STATUS: &str = "curl -sS -o /dev/null -w '%{http_code}'";

/// A registry and its client.
struct Registry {
    preset: &'static str,
    host: &'static str,
    /// Names of packages that may be fetched.
    names: &'static [&'static str],
    /// Installs version `$2` of package `ws-$1` anew, and shows what the package says.
    install: &'static str,
    /// A file of a package that may not be.
    stranger: &'static str,
    /// Publishes a package, each in another way.
    publish: &'static [&'static str],
}

const REGISTRIES: [Registry; 4] = [
    Registry {
        preset: "npm",
        host: "npm.example",
        names: &["ws-sample", "@ws/*"],
        install: "npm install --registry https://npm.example/ ws-$1@$2 && node -p \"require('ws-$1')\"",
        stranger: "/ws-stranger/-/ws-stranger-1.0.0.tgz",
        publish: &[
            "echo '{\"name\": \"ws-sample\", \"version\": \"3.0.0\"}' > package.json \
             && npm publish --registry https://npm.example/ --//npm.example/:_authToken=mine",
            "echo '{\"name\": \"@ws/scoped\", \"version\": \"3.0.0\"}' > package.json \
             && npm publish --registry https://npm.example/ --//npm.example/:_authToken=mine",
            "npm deprecate --registry https://npm.example/ --//npm.example/:_authToken=mine ws-sample 'use another'",
        ],
    },
    Registry {
        preset: "pypi",
        host: "pypi.example",
        names: &["ws-sample"],
        install: "python3 -m pip install --target . --index-url https://pypi.example/simple/ ws-$1==$2 \
                  && python3 -c \"import ws_$1; print(ws_$1.NAME)\"",
        stranger: "/packages/py3/w/ws-stranger/ws_stranger-1.0.0-py3-none-any.whl",
        publish: &[
            // As twine does it.
            "python3 -c \"import requests; \
             answer = requests.post('https://pypi.example/legacy/', auth=('__token__', 'mine'), \
                 data={':action': 'file_upload', 'name': 'ws-sample', 'version': '3.0.0'}, files={'content': b'PK'}); \
             answer.raise_for_status()\"",
        ],
    },
    Registry {
        preset: "cargo",
        host: "crates.example",
        names: &["ws-sample"],
        install: "cargo init --quiet --vcs none --name user \
                  && cargo add --quiet --registry lab ws-$1@=$2 \
                  && echo \"fn main() { println!(\\\"{}\\\", ws_$1::NAME) }\" > src/main.rs && cargo run --quiet",
        stranger: "/crates/ws-stranger/1.0.0/download",
        publish: &[
            "cargo init --quiet --vcs none --lib --name ws-sample --registry lab \
             && sed -i 's/0.1.0/3.0.0/' Cargo.toml \
             && CARGO_REGISTRIES_LAB_TOKEN=mine cargo publish --registry lab --allow-dirty --no-verify",
            "CARGO_REGISTRIES_LAB_TOKEN=mine cargo yank --registry lab ws-sample@1.0.0",
        ],
    },
    Registry {
        preset: "go",
        host: "go.example",
        names: &["lab.example/sample"],
        install: "export GOPROXY=https://go.example GOSUMDB=off && go mod init user.example/user \
                  && go get lab.example/$1@v$2 && cat $(go list -m -f '{{.Dir}}' lab.example/$1)/name.go",
        stranger: "/lab.example/stranger/@v/v1.0.0.zip",
        publish: &[],
    },
];

/// Clones a repository with all its branches, whose names git sends in a compressed request.
const CLONE: &str =
    "git clone --quiet --mirror https://github.com/ws-dev/$1 . && git branch | wc -l && git show main:number";
const PUSH: &str = "git init --quiet . && git -c user.name=a -c user.email=a commit --quiet --allow-empty -m a \
                    && git -c http.extraHeader='Authorization: Basic bWluZQ==' push https://github.com/ws-dev/$1 HEAD:refs/heads/$2";

/// Requests that no client above sends to one host but somebody's own would.
const WRITES: [&str; 5] = [
    "-X PUT -d {} https://$1/ws-sample",
    "-X PUT -d {} https://$1/ws-sample/-/ws-sample-1.0.0.tgz",
    "-X POST -d {} https://$1/simple/ws-sample/",
    "-X DELETE https://$1/ws-sample",
    "-X PATCH -d {} https://$1/v2/ws-sample/blobs/uploads/",
];

impl Registry {
    fn rule(&self) -> Value {
        let packages = json!({"names": self.names, "minimumAge": "72h"});
        json!({"name": self.preset, "preset": self.preset, "hosts": [self.host], "packages": packages})
    }

    async fn gives_what_its_rule_names_and_is_old_enough(&self, out: &Out<'_>) -> Result<()> {
        let Self { preset, install, .. } = self;
        let get = async |package: &str, version: &str| {
            fresh(out, &format!("set -- {package} {version}; {install}")).await
        };
        for (package, version) in [("sample", "1.1.0"), ("stranger", "1.0.0")] {
            let refused = get(package, version).await?;
            let says = format!("ws-{package} {version}");
            ensure!(!refused.is_ok() && !refused.stdout.contains(&says), "{preset}: {refused}");
        }
        let installed = get("sample", "1.0.0").await?.ok()?;
        ensure!(installed.stdout.contains("ws-sample 1.0.0"), "{preset}: {installed}");
        Ok(())
    }

    async fn takes_nothing(&self, out: &Out<'_>) -> Result<()> {
        for line in self.publish {
            let refused = fresh(out, line).await?;
            ensure!(!refused.is_ok() && refused.to_string().contains("403"), "{refused}");
        }
        let requests = WRITES.iter().map(|request| (*request).to_owned()).chain([self.asks_for_a_stranger()]);
        for request in requests {
            let line = format!("set -- {}; {STATUS} {request}", self.host);
            let refused = out.bash(&line).await?.ok()?;
            ensure!(refused.stdout == "403", "{refused}");
        }
        Ok(())
    }

    /// Arguments of curl: past the index, which would not name it.
    fn asks_for_a_stranger(&self) -> String {
        format!("https://$1{}", self.stranger)
    }
}

/// Runs a line of bash in an empty folder.
async fn fresh(out: &Out<'_>, line: &str) -> Result<Output> {
    let cargo = "export CARGO_REGISTRIES_LAB_INDEX=sparse+https://crates.example/index/";
    out.bash(&format!("rm -rf ~/fresh && mkdir ~/fresh && cd ~/fresh && {cargo} && {line}")).await
}

async fn git_clones_and_does_not_push(out: &Out<'_>) -> Result<()> {
    let stranger = fresh(out, &format!("set -- stranger; {CLONE}")).await?;
    ensure!(!stranger.is_ok() && stranger.stderr.contains("403"), "{stranger}");
    for repository in ["sample", "stranger"] {
        let pushed = fresh(out, &format!("set -- {repository} {}; {PUSH}", canary()?)).await?;
        ensure!(!pushed.is_ok() && pushed.stderr.contains("403"), "{pushed}");
    }
    // Past the question that git asks first.
    let receive = format!("{STATUS} https://github.com/ws-dev/sample.git/git-receive-pack -d 0000");
    let refused = out.bash(&receive).await?.ok()?;
    ensure!(refused.stdout == "403", "{refused}");
    let cloned = fresh(out, &format!("set -- sample; {CLONE}")).await?.ok()?;
    ensure!(cloned.stdout == "64\n0\n", "{cloned}");
    Ok(())
}

/// What arrived at the registries and at git, other than reading what the rules name.
fn arrived(lab: &Lab) -> Result<Vec<Value>> {
    let hosts: Vec<&str> = REGISTRIES.iter().map(|registry| registry.host).chain(["github.com"]).collect();
    let is_of_concern = |request: &Value| {
        let said = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default();
        let line = said("request");
        let reads = ["GET ", "HEAD "].iter().any(|method| line.starts_with(method));
        let fetches = line.starts_with("POST ") && said("uri").ends_with("/git-upload-pack");
        hosts.contains(&said("host"))
            && (line.contains("stranger") || line.contains("receive-pack") || !(reads || fetches))
    };
    Ok(lab.asked("/")?.into_iter().filter(is_of_concern).collect())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b18_registries_are_read_as_their_rules_say_and_never_written() -> Result<()> {
    let git = json!({"name": "github", "preset": "github", "repositories": ["ws-dev/sample"]});
    let rules: Vec<Value> = REGISTRIES.iter().map(Registry::rule).chain([git]).collect();
    let changes = json!({"image": IMAGE, "egress": {"rules": rules}});
    with_project(&Project::empty()?, changes, async |out| {
        let before = arrived(out.lab)?.len();
        for registry in &REGISTRIES {
            registry.gives_what_its_rule_names_and_is_old_enough(out).await?;
            registry.takes_nothing(out).await?;
        }
        git_clones_and_does_not_push(out).await?;
        let arrived = arrived(out.lab)?;
        ensure!(arrived.len() == before, "{:?}", &arrived[before..]);
        they_were_refused_for_what_they_are(out).await?;
        what_was_refused_would_have_arrived(out).await
    })
    .await
}

async fn they_were_refused_for_what_they_are(out: &Out<'_>) -> Result<()> {
    let reasons = ["too-new", "package-not-allowed", "request-not-allowed"];
    let refusals: Vec<_> =
        REGISTRIES.iter().flat_map(|registry| reasons.map(|reason| (registry.host, reason))).collect();
    are_told(out, &refusals).await
}

/// The control: from a pod that no policy selects.
async fn what_was_refused_would_have_arrived(out: &Out<'_>) -> Result<()> {
    open_pod_of(out.lab, out.namespace, OPEN, IMAGE).await?;
    let bash = async |line: &str| {
        let before = arrived(out.lab)?.len();
        let line = format!("cd $(mktemp -d) && {line}");
        let exec = ["-n", out.namespace, "exec", OPEN, "--", "bash", "-c", &line];
        let output = out.lab.kubectl(&exec).await?.ok()?;
        ensure!(arrived(out.lab)?.len() > before, "{output}");
        anyhow::Ok(())
    };
    for registry in &REGISTRIES {
        let host = registry.host;
        let curl =
            format!("set -- {host}; curl -sSk --fail -o answer --max-time 20 --resolve {host}:443:{WEB}");
        for request in WRITES {
            bash(&format!("{curl} {request} && grep taken answer")).await?;
        }
        bash(&format!("{curl} {}", registry.asks_for_a_stranger())).await?;
    }
    let git = format!(
        "git() {{ command git -c http.sslVerify=false -c http.curloptResolve=github.com:443:{WEB} \"$@\"; }}"
    );
    let push = format!("{git}; set -- stranger {}; {PUSH}", canary()?);
    bash(&push).await
}

//! The internet's real servers: `CoreDNS` for its names, nginx for its sites and registries, and behind it git, the providers of
//! models and a host that converses. What is asked of them is written down.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::components::Settings;
use crate::components::config::text;
use crate::{command, network, paths};

/// Name of the authority that vouches for all of them.
pub const AUTHORITY: &str = "hosts-ca";
/// Name of the certificate that all of them show.
pub const CERTIFICATE: &str = "hosts";

/// What nginx serves.
const SITES: &str = "hosts";
const WEB: &str = include_str!("../hosts/nginx.conf");
/// Makes what the registries and git serve.
const REGISTRIES_PROGRAM: &str = include_str!("../hosts/registries.py");
const REGISTRIES: &str = "registries";
/// Where git listens for nginx.
pub const GIT_SOCKET: &str = "git.socket";
/// The providers of models. They listen on the loopback, where only nginx is.
pub const MODELS: &str = "models.py";
const MODELS_PROGRAM: &str = include_str!("../hosts/models.py");
pub const MODELS_PORT: u16 = 8081;
/// The host that converses by `WebSockets`. It listens on the loopback as well.
pub const TALK: &str = "talk.py";
const TALK_PROGRAM: &str = include_str!("../hosts/talk.py");
pub const TALK_PORT: u16 = 8082;

/// Names that lead to the web server.
const WEB_NAMES: [&str; 5] =
    ["docs.example", "api.example", "registry.example", "hidden.example", "static.docs.example"];
/// Names of registries, each of which serves the folder of its name.
const REGISTRY_NAMES: [&str; 4] = ["crates.example", "go.example", "npm.example", "pypi.example"];
/// The host of repositories, as a preset names it.
const GIT_NAME: &str = "github.com";
/// Names of providers of models, as programs know them: they lead to the web server too.
const MODEL_NAMES: [&str; 3] = ["api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com"];
/// The host that converses.
const TALK_NAME: &str = "talk.example";
/// A host with a certificate for another name, by the authority that vouches for all.
pub const MISNAMED: &str = "misnamed.example";
/// A host with a certificate by an authority that nobody knows.
pub const UNVOUCHED: &str = "unvouched.example";
/// A host whose certificate was good once.
pub const EXPIRED: &str = "expired.example";
/// Names of hosts that cannot show who they are. They lead to the web server, where each has the certificate of its name.
const UNPROVEN_NAMES: [&str; 3] = [MISNAMED, UNVOUCHED, EXPIRED];
/// Names that lead elsewhere: to a sink, into the company, to the cluster, to the machine itself.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("telemetry.example", "20.0.113.66"),
    ("sink.example", "20.0.113.66"),
    ("intranet.company.example", "10.77.0.10"),
    ("rebound.example", "10.77.0.10"),
    // Both inside and outside, as a name is that is being moved from one to the other.
    ("mixed.example", "10.77.0.10"),
    ("mixed.example", "20.0.114.80"),
    ("metadata.example", "169.254.169.254"),
    ("cluster.example", "10.96.0.1"),
    ("loopback.example", "127.0.0.1"),
];

/// All names that the certificate is for.
pub fn names() -> Vec<&'static str> {
    [&WEB_NAMES[..], &REGISTRY_NAMES, &[GIT_NAME, TALK_NAME], &MODEL_NAMES].concat()
}

/// Puts what is served where nginx finds it.
pub fn prepare() -> Result<()> {
    let sites = paths::run(SITES);
    fs::create_dir_all(&sites).context("creating the folder of the sites")?;
    fs::write(paths::hosts(), "").context("creating the log of the web server")?;
    fs::write(paths::models(), "").context("creating the log of the providers of models")?;
    fs::write(paths::talks(), "").context("creating the log of the host that converses")?;
    fs::write(paths::run(MODELS), MODELS_PROGRAM).context("writing the providers of models")?;
    fs::write(paths::run(TALK), TALK_PROGRAM).context("writing the host that converses")?;
    fs::write(sites.join("index.html"), "ws-lab docs\n").context("writing a page")?;
    fs::write(sites.join("slow"), "slow\n".repeat(2_000)).context("writing a page")?;
    // It ends with this program: a lab that was killed half way leaves nothing that still writes.
    let mut program = Command::new("setpriv");
    program.args(["--pdeathsig", "KILL", "python3", "-c", REGISTRIES_PROGRAM]).arg(paths::run(REGISTRIES));
    command::output(&mut program).map(drop)
}

/// `CoreDNS`' settings.
pub fn dns() -> String {
    let mut hosts = String::new();
    let web = network::INTERNET_WEB.to_string();
    let names = names();
    let at_web = names.iter().chain(&UNPROVEN_NAMES).map(|name| (*name, web.as_str()));
    let addresses = at_web.chain(OTHER_NAMES);
    for (name, address) in addresses {
        // Writing to a String cannot fail.
        let _ = writeln!(hosts, "        {address} {name}");
    }
    let outside = names.iter().filter(|name| !name.ends_with(".example"));
    let zones = outside.map(|name| format!(" {name}:53")).collect::<Vec<_>>().concat();
    format!(
        "example:53{zones} {{\n    log\n    errors\n    hosts {{\n        ttl 1\n{hosts}    }}\n}}\n\
         .:53 {{\n    log\n    template ANY ANY {{\n        rcode NXDOMAIN\n    }}\n}}\n"
    )
}

/// nginx' settings.
pub fn web(settings: &Settings) -> String {
    let pki = |name: String| text(&settings.pki.path(&name));
    WEB.replace("{{address}}", &network::INTERNET_WEB.to_string())
        .replace("{{certificate}}", &pki(format!("{CERTIFICATE}.crt")))
        .replace("{{key}}", &pki(format!("{CERTIFICATE}.key")))
        .replace("{{log}}", &text(&paths::hosts()))
        .replace("{{registries}}", &REGISTRY_NAMES.join(" "))
        .replace("{{folder}}", &text(&paths::run(REGISTRIES)))
        .replace("{{git}}", GIT_NAME)
        .replace("{{git_socket}}", &text(&paths::run(GIT_SOCKET)))
        .replace("{{models}}", &MODEL_NAMES.join(" "))
        .replace("{{models_port}}", &MODELS_PORT.to_string())
        .replace("{{talk}}", TALK_NAME)
        .replace("{{talk_port}}", &TALK_PORT.to_string())
        .replace("{{unproven}}", &UNPROVEN_NAMES.join(" "))
        .replace("{{pki}}", &text(settings.pki.folder()))
        .replace("{{sites}}", &text(&paths::run(SITES)))
        .replace("{{scratch}}", &text(Path::new(paths::RUN)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::tests::settings;

    #[test]
    fn the_settings_of_the_servers() {
        insta::assert_snapshot!([dns(), web(&settings())].join("---\n"));
    }
}

//! The internet's real servers: `CoreDNS` for its names, nginx for its sites. What is asked of them is written down.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::components::Settings;
use crate::components::config::text;
use crate::{network, paths};

/// Name of the authority that vouches for all of them.
pub const AUTHORITY: &str = "hosts-ca";
/// Name of the certificate that all of them show.
pub const CERTIFICATE: &str = "hosts";

/// What nginx serves.
const SITES: &str = "hosts";
const WEB: &str = include_str!("../hosts/nginx.conf");

/// Names that lead to the web server.
const WEB_NAMES: [&str; 5] =
    ["docs.example", "api.example", "registry.example", "hidden.example", "static.docs.example"];
/// Names that lead elsewhere: to a sink, into the company, to the cluster, to the machine itself.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("telemetry.example", "20.0.113.66"),
    ("intranet.company.example", "10.77.0.10"),
    ("rebound.example", "10.77.0.10"),
    ("metadata.example", "169.254.169.254"),
    ("cluster.example", "10.96.0.1"),
    ("loopback.example", "127.0.0.1"),
];

/// All names with a certificate.
pub fn names() -> [&'static str; 5] {
    WEB_NAMES
}

/// Puts what is served where nginx finds it.
pub fn prepare() -> Result<()> {
    let sites = paths::run(SITES);
    fs::create_dir_all(&sites).context("creating the folder of the sites")?;
    fs::write(paths::hosts(), "").context("creating the log of the web server")?;
    fs::write(sites.join("index.html"), "ws-lab docs\n").context("writing a page")
}

/// `CoreDNS`' settings.
pub fn dns() -> String {
    let mut hosts = String::new();
    let web = network::INTERNET_WEB.to_string();
    let names = WEB_NAMES.iter().map(|name| (*name, web.as_str())).chain(OTHER_NAMES);
    for (name, address) in names {
        // Writing to a String cannot fail.
        let _ = writeln!(hosts, "        {address} {name}");
    }
    format!(
        "example:53 {{\n    log\n    errors\n    hosts {{\n        ttl 1\n{hosts}    }}\n}}\n\
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

//! What a program in the workspace is started with: what its image sets, and nothing that the agent was given.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{Access, access};
use ws_api::agent;

use crate::{key_store, relay, trust, way_out::Known};

/// Search path where the image names none: that of Debian's root.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How the names begin of what Kubernetes says about the cluster.
const OF_THE_CLUSTER: &[u8] = b"KUBERNETES_";
/// Shells, the best first.
const SHELLS: [&str; 3] = ["/bin/bash", "/usr/bin/bash", "/bin/sh"];
/// What is reached without the proxy.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";
/// Variables in which programs look for the file with the authorities that they trust.
const TRUST: [&str; 10] = [
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
];
/// The variable in which every Java looks for options. Whoever sets it himself has options that ours must not replace.
const JAVA_OPTIONS: &str = "JAVA_TOOL_OPTIONS";
/// Folder of the project, in the home directory.
const PROJECT: &str = "project";

/// What all sessions of a workspace share.
#[derive(Clone, Debug)]
pub struct Environment {
    home: PathBuf,
    image: BTreeMap<OsString, OsString>,
    way_out: Known,
    shell: &'static str,
}

/// What a session asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// A login shell.
    Shell,
    /// A command line for the shell.
    Command(Vec<u8>),
}

impl Environment {
    /// Programs see what the image set of the `container`'s variables, and the `way_out`.
    pub fn new(
        home: impl Into<PathBuf>,
        container: impl IntoIterator<Item = (OsString, OsString)>,
        way_out: Known,
    ) -> Self {
        let shell = SHELLS.into_iter().find(|shell| Path::new(shell).exists()).unwrap_or("/bin/sh");
        let image = container.into_iter().filter(|(name, _)| is_of_the_image(name)).collect();
        Self { home: home.into(), image, way_out, shell }
    }

    /// The folder that holds the project.
    pub fn project(&self) -> PathBuf {
        self.home.join(PROJECT)
    }

    /// Waits for what programs need to know, for as long as they may wait.
    pub async fn ready(&self) {
        self.way_out.wait().await;
    }

    /// The program that serves `request`; `variables` are the session's own.
    pub fn command(&self, request: &Request, variables: &[(String, String)]) -> Command {
        let mut command = Command::new(self.shell);
        match request {
            // A leading dash asks any shell to behave as at login.
            Request::Shell => command.arg0(login_name(self.shell)),
            Request::Command(line) => command.arg("-c").arg(OsStr::from_bytes(line)),
        };
        command.env_clear().env("PATH", DEFAULT_PATH).envs(&self.image).envs(self.variables());
        command.envs(&*self.way_out.placeholders());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.directory());
        command
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let proxy = format!("http://{}", relay::ADDRESS);
        let mut variables = vec![
            ("HOME", self.home.clone().into_os_string()),
            ("USER", ws_api::ssh::USER.into()),
            ("LOGNAME", ws_api::ssh::USER.into()),
            ("SHELL", self.shell.into()),
            ("LANG", "C.UTF-8".into()),
            ("NO_PROXY", NO_PROXY.into()),
            ("no_proxy", NO_PROXY.into()),
        ];
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
        variables.extend(proxies.map(|name| (name, proxy.clone().into())));
        let authorities = trust::for_programs(&self.home);
        variables.extend(TRUST.map(|name| (name, authorities.clone().into_os_string())));
        if !self.image.contains_key(OsStr::new(JAVA_OPTIONS)) {
            variables.push((JAVA_OPTIONS, java_options(&trust::for_java(&self.home))));
        }
        variables
    }

    /// The project, or the next best place if a session has removed it or locked itself out.
    fn directory(&self) -> PathBuf {
        let can_be_entered = |place: &PathBuf| place.is_dir() && access(place, Access::EXEC_OK).is_ok();
        let places = [self.project(), self.home.clone()];
        places.into_iter().find(can_be_entered).unwrap_or_else(|| "/".into())
    }
}

/// Has Java trust the authorities of this key store. It needs no proxy: it finds the names of the way out.
fn java_options(key_store: &Path) -> OsString {
    let mut options = OsString::from("-Djavax.net.ssl.trustStore=");
    options.push(key_store);
    options.push(" -Djavax.net.ssl.trustStorePassword=");
    options.push(key_store::PASSWORD);
    options
}

fn is_of_the_image(name: &OsStr) -> bool {
    !agent::VARIABLES.iter().any(|setting| name == *setting) && !name.as_bytes().starts_with(OF_THE_CLUSTER)
}

fn login_name(shell: &str) -> String {
    format!("-{}", shell.rsplit('/').next().unwrap_or(shell))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<const N: usize>(
        home: impl Into<PathBuf>,
        container: [(OsString, OsString); N],
    ) -> Environment {
        Environment::new(home, container, Known::none())
    }

    #[test]
    fn a_program_sees_only_what_is_listed() {
        let environment = environment("/home/ws", []);
        let term = [("TERM".to_owned(), "xterm".to_owned())];
        let command = environment.command(&Request::Command(b"env".to_vec()), &term);
        let names: BTreeMap<_, _> = command.get_envs().collect();
        let names: Vec<&str> = names.into_keys().filter_map(OsStr::to_str).collect();
        assert_eq!(
            names,
            [
                "ALL_PROXY",
                "AWS_CA_BUNDLE",
                "CARGO_HTTP_CAINFO",
                "CURL_CA_BUNDLE",
                "DENO_CERT",
                "GIT_SSL_CAINFO",
                "HOME",
                "HTTPS_PROXY",
                "HTTP_PROXY",
                "JAVA_TOOL_OPTIONS",
                "LANG",
                "LOGNAME",
                "NIX_SSL_CERT_FILE",
                "NODE_EXTRA_CA_CERTS",
                "NO_PROXY",
                "PATH",
                "PIP_CERT",
                "REQUESTS_CA_BUNDLE",
                "SHELL",
                "SSL_CERT_FILE",
                "TERM",
                "USER",
                "all_proxy",
                "http_proxy",
                "https_proxy",
                "no_proxy"
            ]
        );
        let output = environment
            .command(&Request::Command(b"echo $HTTPS_PROXY $no_proxy $0".to_vec()), &[])
            .output()
            .unwrap();
        let expected = format!("http://127.0.0.1:3127 localhost,127.0.0.1,::1 {}\n", environment.shell);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }

    #[test]
    fn a_program_sees_what_its_image_sets_and_nothing_of_the_agent_or_the_cluster() {
        let container = [
            ("PATH", "/opt/rust/bin:/usr/bin"),
            ("RUSTUP_HOME", "/opt/rust"),
            ("HOME", "/root"),
            ("HTTPS_PROXY", "http://elsewhere:1"),
            ("JAVA_TOOL_OPTIONS", "-Xmx1g"),
            ("WS_PORT", "8080"),
            ("WS_USER_CA", "ssh-ed25519 AAAA"),
            ("WS_HOST_KEY", "PRIVATE"),
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ];
        let container = container.map(|(name, value)| (name.into(), value.into()));
        let command = environment("/home/ws", container).command(&Request::Shell, &[]);
        let variables: BTreeMap<_, _> = command.get_envs().collect();
        let value = |name: &str| variables.get(OsStr::new(name)).copied().flatten().and_then(OsStr::to_str);
        assert_eq!(value("PATH"), Some("/opt/rust/bin:/usr/bin"));
        assert_eq!(value("RUSTUP_HOME"), Some("/opt/rust"));
        assert_eq!(value("HOME"), Some("/home/ws"), "ours win");
        assert_eq!(value("HTTPS_PROXY"), Some("http://127.0.0.1:3127"), "ours win");
        assert_eq!(value("JAVA_TOOL_OPTIONS"), Some("-Xmx1g"), "theirs win, for it is more than trust");
        assert_eq!(value("WS_PORT"), Some("8080"), "WebSockets are called so too");
        for hidden in ["WS_USER_CA", "WS_HOST_KEY", "KUBERNETES_SERVICE_HOST"] {
            assert_eq!(value(hidden), None, "{hidden}");
        }
    }

    #[test]
    fn a_program_starts_in_the_project_if_there_is_one() {
        let home = tempfile::tempdir().unwrap();
        let environment = environment(home.path(), []);
        assert_eq!(environment.directory(), home.path());
        std::fs::create_dir(environment.project()).unwrap();
        assert_eq!(environment.directory(), home.path().join("project"));
        drop(home);
        assert_eq!(environment.directory(), Path::new("/"));
    }
}

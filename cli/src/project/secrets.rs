//! Files whose name says that they hold a secret. They stay on the laptop, tracked or not.
//!
//! An ignore file cannot change that: it comes with the project, and this protects from the project.

use std::fmt;

use ws_tree::{
    TreePath,
    pattern::{Folded, NamePattern},
};

/// What kind of secret a name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    Environment,
    PrivateKey,
    Credentials,
    State,
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment variables with secrets",
            Self::PrivateKey => "a private key or a key store",
            Self::Credentials => "credentials",
            Self::State => "a state file with secrets",
        })
    }
}

const RULES: &[(NamePattern, Secret)] = &[
    (NamePattern::Name(".env"), Secret::Environment),
    (NamePattern::Prefix(".env."), Secret::Environment),
    (NamePattern::Suffix(".pem"), Secret::PrivateKey),
    (NamePattern::Suffix(".p12"), Secret::PrivateKey),
    (NamePattern::Suffix(".pfx"), Secret::PrivateKey),
    (NamePattern::Suffix(".jks"), Secret::PrivateKey),
    (NamePattern::Suffix(".keystore"), Secret::PrivateKey),
    (NamePattern::Suffix(".kdbx"), Secret::PrivateKey),
    (NamePattern::Suffix(".ppk"), Secret::PrivateKey),
    (NamePattern::Prefix("id_rsa"), Secret::PrivateKey),
    (NamePattern::Prefix("id_dsa"), Secret::PrivateKey),
    (NamePattern::Prefix("id_ecdsa"), Secret::PrivateKey),
    (NamePattern::Prefix("id_ed25519"), Secret::PrivateKey),
    (NamePattern::Component(".ssh"), Secret::PrivateKey),
    (NamePattern::Component(".gnupg"), Secret::PrivateKey),
    (NamePattern::Name(".netrc"), Secret::Credentials),
    (NamePattern::Name("_netrc"), Secret::Credentials),
    (NamePattern::Name(".npmrc"), Secret::Credentials),
    (NamePattern::Name(".pypirc"), Secret::Credentials),
    (NamePattern::Name(".pgpass"), Secret::Credentials),
    (NamePattern::Name(".git-credentials"), Secret::Credentials),
    (NamePattern::Name(".htpasswd"), Secret::Credentials),
    (NamePattern::Name(".vault-token"), Secret::Credentials),
    (NamePattern::Name("application_default_credentials.json"), Secret::Credentials),
    (NamePattern::Name("kubeconfig"), Secret::Credentials),
    (NamePattern::Suffix(".kubeconfig"), Secret::Credentials),
    (NamePattern::Tail(".docker/config.json"), Secret::Credentials),
    (NamePattern::Tail(".cargo/credentials.toml"), Secret::Credentials),
    (NamePattern::Component(".aws"), Secret::Credentials),
    (NamePattern::Component(".azure"), Secret::Credentials),
    (NamePattern::Component(".kube"), Secret::Credentials),
    (NamePattern::Component("gcloud"), Secret::Credentials),
    (NamePattern::Suffix(".tfstate"), Secret::State),
    (NamePattern::Suffix(".tfstate.backup"), Secret::State),
];

/// Ends of names that hold no secret although a rule matches: templates and public keys.
const HARMLESS: &[&str] = &[".example", ".sample", ".template", ".dist", ".defaults", ".pub"];

/// What kind of secret a path looks like, if any.
pub fn recognise(path: &TreePath) -> Option<Secret> {
    let folded = Folded::new(path);
    if HARMLESS.iter().any(|ending| folded.name().ends_with(ending.as_bytes())) {
        return None;
    }
    RULES.iter().find(|(pattern, _)| folded.matches(*pattern)).map(|(_, secret)| *secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_promise_a_secret_are_recognised() {
        let table = [
            (".env", Some(Secret::Environment)),
            ("app/.ENV.production", Some(Secret::Environment)),
            (".env.example", None),
            (".envrc", None),
            ("env", None),
            ("certs/server.PEM", Some(Secret::PrivateKey)),
            ("id_ed25519", Some(Secret::PrivateKey)),
            ("id_ed25519.pub", None),
            ("id_rsa.old", Some(Secret::PrivateKey)),
            (".ssh/config", Some(Secret::PrivateKey)),
            (".npmrc", Some(Secret::Credentials)),
            ("x/.docker/config.json", Some(Secret::Credentials)),
            ("x.docker/config.json", None),
            ("config.json", None),
            (".config/gcloud/access_tokens.db", Some(Secret::Credentials)),
            ("prod.tfstate", Some(Secret::State)),
            ("src/main.rs", None),
        ];
        for (path, secret) in table {
            assert_eq!(recognise(&TreePath::parse(path.as_bytes()).unwrap()), secret, "{path}");
        }
    }
}

//! A user of the cluster who has no rights but those given.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{command::run, lab::Lab};

pub struct User<'a> {
    lab: &'a Lab,
    namespace: &'a str,
    name: &'a str,
    kubeconfig: PathBuf,
}

impl<'a> User<'a> {
    /// A service account of this namespace, and a kubeconfig for it in `folder`.
    pub async fn create(lab: &'a Lab, namespace: &'a str, name: &'a str, folder: &Path) -> Result<Self> {
        lab.kubectl(&["-n", namespace, "create", "serviceaccount", name]).await?.ok()?;
        let token = lab.kubectl(&["-n", namespace, "create", "token", name]).await?.ok()?.stdout;
        let kubeconfig = folder.join(format!("{name}.kubeconfig"));
        fs::copy(lab.kubeconfig(), &kubeconfig)?;
        let path = kubeconfig.to_str().context("a folder of the tests has a name in UTF-8")?;
        for arguments in [
            &["set-credentials", name, "--token", token.trim()][..],
            &["set-context", "--current", "--user", name],
        ] {
            // A later `--kubeconfig` is the one that counts.
            let config = [&["config", "--kubeconfig", path], arguments].concat();
            run(lab.kubectl_command(&config), Duration::from_secs(10)).await?.ok()?;
        }
        Ok(Self { lab, namespace, name, kubeconfig })
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Lets the user do `verbs` with `resources` in the namespace; both are lists with commas.
    pub async fn may(&self, verbs: &str, resources: &str) -> Result<()> {
        let role = format!("{}-{}", self.name, resources.replace(|sign: char| !sign.is_alphanumeric(), "-"));
        let (verbs, resources) = (format!("--verb={verbs}"), format!("--resource={resources}"));
        self.lab.kubectl(&["-n", self.namespace, "create", "role", &role, &verbs, &resources]).await?.ok()?;
        self.bind(&role, &format!("--role={role}")).await
    }

    /// Gives the user a cluster role in the namespace.
    pub async fn has(&self, cluster_role: &str) -> Result<()> {
        self.bind(cluster_role, &format!("--clusterrole={cluster_role}")).await
    }

    async fn bind(&self, name: &str, role: &str) -> Result<()> {
        let subject = format!("--serviceaccount={}:{}", self.namespace, self.name);
        let create = ["-n", self.namespace, "create", "rolebinding", name, role, &subject];
        self.lab.kubectl(&create).await?.ok().map(drop)
    }
}

//! Packages that the lockfiles of the user's project name, and no others (T11): a name that a model came up with is not even asked
//! for.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{probe::canary, project::Project, ws::Ws};

use crate::way_out::with_class;

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_package_that_no_lockfile_of_the_laptop_names_is_not_asked_for() -> Result<()> {
    let rule = json!({"name": "npm", "preset": "npm", "hosts": ["registry.example"], "packages": {"fromLockfiles": "npm"}});
    with_class(json!({"egress": {"rules": [rule]}}), async |lab, namespace, class| {
        let (known, unknown) = (format!("known-{}", canary()?), format!("unknown-{}", canary()?));
        let lockfile = |name: &str| {
            json!({"lockfileVersion": 3, "packages": {format!("node_modules/{name}"): {}}}).to_string()
        };
        let (ws, project) = (Ws::new(lab, namespace)?, Project::empty()?);
        fs::write(project.path().join("package-lock.json"), lockfile(&known))?;
        ws.run_in(project.path(), &["up", "--name", "locked", "--class", class, "--detach"]).await?.ok()?;
        // What is written in the pod changes nothing.
        let fetch = async |name: &str| {
            let write = format!("echo '{}' > package-lock.json", lockfile(&unknown));
            ws.bash("locked", &format!("{write}; curl -sS -i https://registry.example/{name}")).await?.ok()
        };
        let denied = fetch(&unknown).await?;
        ensure!(denied.stdout.contains("x-ws-denied: package-not-allowed"), "{denied}");
        let allowed = fetch(&known).await?;
        ensure!(!allowed.stdout.contains("x-ws-denied"), "{allowed}");
        ensure!(lab.asked(&format!("/{known}"))?.len() == 1, "the control arrives");
        ensure!(lab.asked(&format!("/{unknown}"))?.is_empty(), "it was asked for");
        Ok(())
    })
    .await
}

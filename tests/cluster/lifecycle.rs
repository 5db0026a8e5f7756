//! From `ws up` to nothing.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::try_join;
use ws_tests::{
    class,
    namespace::{SOON, nothing_is_left, with_namespace},
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_run_shows_the_output_passes_the_exit_code_on_and_leaves_nothing() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        let command = "npm test >&2; echo done; exit 7";
        let run = ws.run_in(project.path(), &["run", "--", "bash", "-c", command]).await?.code(7)?;
        assert_eq!(run.stdout, "done\n", "{run}");
        assert!(run.stderr.contains("# pass 3"), "{run}");
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn standard_input_reaches_the_command_and_its_end_too() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::empty()?;
        ws.up("pipe", project.path()).await?;
        let input = b"one\ntwo\n".repeat(100_000);
        let length = input.len().to_string();
        let counted = ws.run_with_input(input, &["attach", "pipe", "--", "wc", "-c"]).await?.ok()?;
        assert_eq!(counted.stdout.trim(), length, "{counted}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_detached_workspace_stays_until_down() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        ws.up("stay", project.path()).await?;
        let listed = ws.run(&["ls", "--json"]).await?.ok()?;
        assert!(listed.stdout.contains("\"stay\""), "{listed}");
        let described = ws.run(&["describe", "stay"]).await?.ok()?;
        assert!(described.stdout.contains("Ready"), "{described}");
        assert_eq!(ws.bash("stay", "cat package.json").await?.ok()?.stdout, project.read("package.json")?);
        ws.run(&["down", "stay"]).await?.ok()?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn whoever_locks_themselves_out_of_the_project_still_gets_in() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
        ws.up("locked", project.path()).await?;
        ws.bash("locked", "echo new > new.txt; chmod 000 .").await?.ok()?;
        let down = ws.run(&["down", "locked"]).await?.code(1)?;
        assert!(down.stderr.contains("was not destroyed: its changes cannot be saved"), "{down}");
        assert_eq!(ws.bash("locked", "chmod 755 project; pwd").await?.ok()?.stdout, "/home/ws\n");
        let diff = ws.run_in(project.path(), &["diff", "locked"]).await?.ok()?;
        assert!(diff.stdout.contains("new.txt"), "{diff}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_workspace_deleted_with_kubectl_leaves_nothing() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("gone", Project::sample()?.path()).await?;
        lab.kubectl(&["-n", namespace, "delete", "workspace", "gone"]).await?.ok()?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_workspace_that_nobody_uses_ends_by_itself() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let class = class::create(lab, json!({"lifetime": {"idle": "5s"}})).await?;
        let project = Project::sample()?;
        let path = project.path().display().to_string();
        ws.run(&["up", &path, "--name", "idle", "--class", &class, "--detach"]).await?.ok()?;
        nothing_is_left(lab, namespace, Duration::from_secs(40)).await?;
        class::delete(lab, &class).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_workspace_whose_lifetime_is_over_is_destroyed_while_it_is_used_and_its_changes_are_kept()
-> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        let path = project.path().display().to_string();
        ws.run(&["up", &path, "--name", "short", "--lifetime", "1m", "--detach"]).await?.ok()?;
        let line = "echo kept >> src/slug.js; sleep 600";
        let attach = ["attach", "short", "--", "bash", "-c", line];
        let run = ["run", "-q", "--lifetime", "1m", "--", "bash", "-c", line];
        let (attached, ran) = try_join!(ws.run(&attach), ws.run_in(project.path(), &run))?;
        for cut in [attached, ran] {
            assert!(!cut.is_ok(), "{cut}");
            let kept = cut.stderr.split_whitespace().rfind(|word| word.ends_with("changes.patch"));
            let kept = kept.with_context(|| format!("no path is printed: {cut}"))?;
            assert!(fs::read_to_string(kept)?.contains("+kept"), "{cut}");
        }
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn the_status_tells_the_whole_story() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("story", Project::sample()?.path()).await?;
        let get = ["-n", namespace, "get", "workspace", "story", "-o", "json"];
        let status = eventually(PATIENCE, "phase Ready", async || {
            let object: serde_json::Value = serde_json::from_str(&lab.kubectl(&get).await?.ok()?.stdout)?;
            anyhow::Ok(Some(object["status"].clone()).filter(|status| status["phase"] == "Ready"))
        })
        .await?;
        for condition in ["PodRunning", "EgressEnforced", "Ready"] {
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            assert!(
                conditions.iter().any(|c| c["type"] == condition && c["status"] == "True"),
                "{condition}: {status}"
            );
        }
        for timing in ["claimed", "scheduled", "started", "isolated", "ready"] {
            assert!(status["timings"][timing].is_string(), "{timing}: {status}");
        }
        assert!(
            status["ssh"]["hostKey"].as_str().is_some_and(|key| key.starts_with("ssh-ed25519 ")),
            "{status}"
        );
        assert!(status["expiresAt"].is_string() && status["podUid"].is_string(), "{status}");
        Ok(())
    })
    .await
}

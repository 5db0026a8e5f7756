//! What comes back from a workspace, and what does not.

use anyhow::Result;
use ws_tests::{lab::Lab, namespace::with_namespace, project::Project, ws::Ws};

/// A workspace `edit` of the sample project in which `line` of bash was run.
async fn edited(lab: &Lab, namespace: &str, line: &str) -> Result<(Ws, Project)> {
    let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
    ws.up("edit", project.path()).await?;
    ws.bash("edit", line).await?.ok()?;
    Ok((ws, project))
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_edit_is_shown_and_pulled() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, project) =
            edited(lab, namespace, "echo '// edited' >> src/slug.js; echo new > new.txt; rm README* -f")
                .await?;
        let diff = ws.run_in(project.path(), &["diff", "edit"]).await?.ok()?;
        assert!(diff.stdout.contains("+// edited") && diff.stdout.contains("new.txt"), "{diff}");
        ws.run_in(project.path(), &["pull", "edit"]).await?.ok()?;
        assert!(project.read("src/slug.js")?.ends_with("// edited\n"));
        assert_eq!(project.read("new.txt")?, "new\n");
        let after = ws.run_in(project.path(), &["diff", "edit", "--json"]).await?.ok()?;
        assert!(!after.stdout.contains("slug.js"), "nothing is left to pull: {after}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_file_that_changed_on_the_laptop_is_never_overwritten_and_nothing_else_is_applied() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, project) = edited(lab, namespace, "echo pod >> src/slug.js; echo new > new.txt").await?;
        std::fs::write(project.file("src/slug.js"), "laptop")?;
        let pull = ws.run_in(project.path(), &["pull", "edit"]).await?.code(1)?;
        assert!(pull.stderr.contains("src/slug.js"), "{pull}");
        assert_eq!(project.read("src/slug.js")?, "laptop");
        assert!(!project.file("new.txt").exists(), "all or nothing");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn what_would_run_on_the_laptop_comes_only_by_name() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let line = "mkdir -p .git/hooks .vscode .github/workflows; echo evil > .git/hooks/pre-commit; echo evil > .envrc; \
            echo {} > .vscode/tasks.json; echo evil > .github/workflows/ci.yml; echo fine > notes.txt";
        let (ws, project) = edited(lab, namespace, line).await?;
        let pull = ws.run_in(project.path(), &["pull", "edit"]).await?.ok()?;
        for left_out in [".envrc", ".vscode/tasks.json", ".github/workflows/ci.yml"] {
            assert!(!project.file(left_out).exists(), "{left_out}");
            assert!(format!("{}{}", pull.stdout, pull.stderr).contains(left_out), "{left_out} is listed: {pull}");
        }
        assert_eq!(project.read("notes.txt")?, "fine\n");
        ws.run_in(project.path(), &["pull", "edit", "--include", ".envrc"]).await?.ok()?;
        assert_eq!(project.read(".envrc")?, "evil\n");
        ws.run_in(project.path(), &["pull", "edit", "--include", ".git/hooks/pre-commit"]).await?;
        assert!(!project.file(".git").exists(), "a pod's .git never comes back");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn changes_that_were_not_pulled_are_kept_as_a_patch() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        let command = "echo kept >> src/slug.js; printf '\\0\\1' > blob.bin";
        let run = ws.run_in(project.path(), &["run", "--", "bash", "-c", command]).await?.ok()?;
        assert!(!project.read("src/slug.js")?.contains("kept"), "nothing is applied");
        let patch = run.stderr.split_whitespace().find(|word| word.contains(".patch"));
        let patch = patch
            .ok_or_else(|| anyhow::anyhow!("no path is printed: {run}"))?
            .trim_matches(['`', '.', ',', '\'']);
        let mut git = tokio::process::Command::new("git");
        git.args(["apply", patch.trim_end_matches('.')]).current_dir(project.path());
        ws_tests::command::run(git, std::time::Duration::from_secs(10)).await?.ok()?;
        assert!(project.read("src/slug.js")?.ends_with("kept\n"));
        assert_eq!(std::fs::read(project.file("blob.bin"))?, [0, 1]);
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn names_and_contents_from_the_pod_are_escaped_on_the_terminal() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let line = r#"touch "$(printf 'a\033]0;title\007b')"; printf 'x\033[31mred\n' >> src/slug.js"#;
        let (ws, project) = edited(lab, namespace, line).await?;
        for arguments in [&["diff", "edit"][..], &["diff", "edit", "--json"], &["pull", "edit"]] {
            let shown = ws.run_in(project.path(), arguments).await?;
            assert!(
                !shown.stdout.contains('\u{1b}') && !shown.stderr.contains('\u{1b}'),
                "{}",
                shown.to_string().escape_debug()
            );
        }
        Ok(())
    })
    .await
}

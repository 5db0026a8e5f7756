//! What comes back from a workspace, and what does not.

use std::{
    fs::{Permissions, set_permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    time::Duration,
};

use anyhow::Result;
use ws_tests::{command::run, lab::Lab, namespace::with_namespace, project::Project, ws::Ws};

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
        ws.bash("edit", "rm new.txt").await?.ok()?;
        ws.run_in(project.path(), &["pull", "edit"]).await?.ok()?;
        assert!(!project.file("new.txt").exists(), "what the pod takes back is taken back here");
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
        // The agent does not even look there; what one that does is answered is a unit test's.
        let hook = ws.run_in(project.path(), &["pull", "edit", "--include", ".git/hooks/pre-commit"]).await?;
        let hook = hook.code(1)?;
        assert!(hook.stderr.contains("nothing changed at .git/hooks/pre-commit"), "{hook}");
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
async fn a_pull_that_may_not_write_changes_nothing() -> Result<()> {
    // Root, who runs the tests, may write everywhere.
    const NOBODY: u32 = 65_534;
    with_namespace(async |lab, namespace| {
        let project = Project::sample()?;
        for folder in [project.path(), &project.file("src")] {
            chown(folder, Some(NOBODY), Some(NOBODY))?;
        }
        let ws = Ws::new(lab, namespace)?.owned_by(NOBODY, lab).await?;
        let as_nobody = async |arguments: &[&str]| {
            let mut command = ws.command(project.path(), arguments);
            command.uid(NOBODY).gid(NOBODY);
            run(command, Duration::from_mins(2)).await
        };
        as_nobody(&["up", "--name", "edit", "--detach"]).await?.ok()?;
        let line = "echo '// edited' >> src/slug.js; echo new > a.txt; echo new > z.txt";
        as_nobody(&["attach", "edit", "--", "bash", "-c", line]).await?.ok()?;
        let names = || -> Result<Vec<_>> {
            let names = std::fs::read_dir(project.path())?.map(|entry| Ok(entry?.file_name()));
            let mut names = names.collect::<Result<Vec<_>>>()?;
            names.sort();
            Ok(names)
        };
        let before = (names()?, project.read("src/slug.js")?);
        for (closed, message) in [
            (project.file("src"), "src/slug.js could not be changed; everything was put back"),
            (project.path().to_owned(), "the changes could not be prepared in the project's folder"),
        ] {
            set_permissions(&closed, Permissions::from_mode(0o555))?;
            let pull = as_nobody(&["pull", "edit"]).await?.code(1)?;
            set_permissions(&closed, Permissions::from_mode(0o755))?;
            assert!(pull.stderr.contains(&format!("nothing was pulled: {message}")), "{pull}");
            assert!(pull.stderr.contains("hint: check space and permissions in the project"), "{pull}");
            assert_eq!((names()?, project.read("src/slug.js")?), before, "{pull}");
        }
        as_nobody(&["pull", "edit"]).await?.ok()?;
        assert!(project.read("src/slug.js")?.ends_with("// edited\n") && project.file("z.txt").exists());
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
        let table = [
            (&["diff", "edit"][..], [r"a\x1b]0;title\x07b", r"+x\x1b[31mred"].as_slice()),
            (&["diff", "edit", "--json"], &[r"a\\x1b]0;title\\x07b"]),
            (&["pull", "edit"], &[r"a\x1b]0;title\x07b"]),
        ];
        for (arguments, expected) in table {
            let shown = ws.run_in(project.path(), arguments).await?.ok()?;
            for text in expected {
                assert!(shown.stdout.contains(text), "{text}: {}", shown.to_string().escape_debug());
            }
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

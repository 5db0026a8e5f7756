//! What goes into a workspace: the project, all of it, and nothing else; however odd it is.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use ws_tests::{command::run, lab::Lab, namespace::with_namespace, project::Project, ws::Ws};

/// What `line` prints in a workspace of the project.
async fn in_workspace(lab: &Lab, namespace: &str, project: &Project, line: &str) -> Result<String> {
    let ws = Ws::new(lab, namespace)?;
    Ok(ws.run_in(project.path(), &["run", "--", "bash", "-c", line]).await?.ok()?.stdout)
}

async fn git(project: &Project, arguments: &[&str]) -> Result<()> {
    let mut git = tokio::process::Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(project.path());
    run(git, Duration::from_secs(20)).await?.ok().map(drop)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn ignored_files_stay_tracked_files_go_and_git_stays() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let project = Project::sample()?
            .with(".env", "SECRET=1")?
            .with("node_modules/x/index.js", "")?
            .with(".gitignore", "node_modules/\n.env\n*.log\n")?
            .with("tracked.log", "kept")?
            .with("other.log", "ignored")?
            .with("private/notes.txt", "not for the pod")?
            .with(".wsignore", "private/\n")?;
        git(&project, &["init", "-q"]).await?;
        git(&project, &["add", "-f", "tracked.log", "package.json", "private/notes.txt"]).await?;
        let files = in_workspace(lab, namespace, &project, "find . -type f | sort").await?;
        let expected = [
            "./.gitignore",
            "./.wsignore",
            "./package.json",
            "./src/slug.js",
            "./test/slug.test.js",
            "./tracked.log",
        ];
        assert_eq!(files.lines().collect::<Vec<_>>(), expected);
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn f02_links_that_leave_the_project_are_not_followed() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let outside = Project::empty()?.with("secret", "outside-secret")?;
        let project = Project::sample()?;
        symlink(outside.path(), project.file("folder"))?;
        symlink(outside.file("secret"), project.file("file"))?;
        symlink("package.json", project.file("inside"))?;
        symlink("loop", project.file("loop"))?;
        let found = in_workspace(
            lab,
            namespace,
            &project,
            "cat inside; cat file folder/secret loop 2>&1; grep -r outside-secret .",
        )
        .await;
        let found = found.or_else(|error| {
            if error.to_string().contains("outside-secret\n") { Err(error) } else { Ok(error.to_string()) }
        })?;
        ensure!(found.contains("\"slugs\""), "a link that stays inside works: {found}");
        ensure!(!found.contains("outside-secret\n"), "{found}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn odd_names_and_kinds_of_files_do_no_harm() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let project = Project::sample()?;
        fs::write(project.path().join(OsStr::from_bytes(b"caf\xe9 \xff\n.txt")), "latin")?;
        fs::create_dir(project.file("read-only"))?;
        fs::write(project.file("read-only/file"), "x")?;
        fs::set_permissions(project.file("read-only"), Permissions::from_mode(0o555))?;
        fs::write(project.file("run.sh"), "#!/bin/sh\necho ran\n")?;
        fs::set_permissions(project.file("run.sh"), Permissions::from_mode(0o755))?;
        let _listener = UnixListener::bind(project.file("socket"))?;
        run(command("mkfifo", project.file("pipe").as_os_str()), Duration::from_secs(5)).await?.ok()?;
        let seen = in_workspace(
            lab,
            namespace,
            &project,
            "./run.sh; cat caf*; cat read-only/file; ls socket pipe 2>&1; true",
        )
        .await?;
        fs::set_permissions(project.file("read-only"), Permissions::from_mode(0o755))?;
        ensure!(seen.starts_with("ran\nlatinx") && seen.matches("No such file").count() == 2, "{seen}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn what_cannot_be_read_is_left_out_and_named() -> Result<()> {
    // Root, who runs the tests, reads everything.
    const NOBODY: u32 = 65_534;
    with_namespace(async |lab, namespace| {
        let project = Project::sample()?.with("secret-plan", "x")?.with("closed/file", "x")?;
        chown(project.path(), Some(NOBODY), Some(NOBODY))?;
        for name in ["secret-plan", "closed"] {
            fs::set_permissions(project.file(name), Permissions::from_mode(0o000))?;
        }
        let ws = Ws::new(lab, namespace)?.owned_by(NOBODY, lab).await?;
        let mut listing = ws.command(project.path(), &["run", "--", "ls"]);
        listing.uid(NOBODY).gid(NOBODY);
        let seen = run(listing, Duration::from_mins(1)).await?.ok()?;
        ensure!(seen.stdout.contains("package.json") && !seen.stdout.contains("secret-plan"), "{seen}");
        ensure!(seen.stderr.contains("secret-plan") && seen.stderr.contains("closed"), "{seen}");
        Ok(())
    })
    .await
}

fn command(program: &str, argument: &OsStr) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command.arg(argument);
    command
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn no_file_at_all_is_a_project_too() -> Result<()> {
    with_namespace(async |lab, namespace| {
        assert_eq!(in_workspace(lab, namespace, &Project::empty()?, "ls -A | wc -l").await?, "0\n");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_file_of_four_gibibytes_arrives_whole() -> Result<()> {
    const SIZE: u64 = 4 << 30;
    with_namespace(async |lab, namespace| {
        let project = Project::empty()?;
        // Sparse here, so the test costs no disk on this side.
        File::create(project.file("big"))?.set_len(SIZE)?;
        assert_eq!(in_workspace(lab, namespace, &project, "stat -c %s big").await?, format!("{SIZE}\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_home_folder_is_no_project() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let refused = ws.run(&["up", "--detach"]).await?.code(1)?;
        ensure!(refused.stderr.to_lowercase().contains("home"), "{refused}");
        Ok(())
    })
    .await
}

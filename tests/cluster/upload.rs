//! What goes into a workspace: the project, all of it, and nothing else; however odd it is.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use ws_tests::{
    command::{Output, run},
    lab::Lab,
    namespace::with_namespace,
    project::Project,
    ws::Ws,
};

/// Runs a line of bash in a workspace of the project.
async fn bash(lab: &Lab, namespace: &str, project: &Project, line: &str) -> Result<Output> {
    let ws = Ws::new(lab, namespace)?;
    ws.run_in(project.path(), &["run", "--", "bash", "-c", line]).await?.ok()
}

/// What it prints.
async fn in_workspace(lab: &Lab, namespace: &str, project: &Project, line: &str) -> Result<String> {
    Ok(bash(lab, namespace, project, line).await?.stdout)
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
        let line = "cat inside; cat file folder/secret loop 2>&1; grep -r outside-secret .; true";
        let seen = bash(lab, namespace, &project, line).await?;
        ensure!(seen.stdout.contains("\"slugs\""), "a link that stays inside works: {seen}");
        ensure!(!seen.stdout.contains("outside-secret"), "{seen}");
        for name in ["file", "folder"] {
            let warning = format!("not sent: {name} (a symbolic link that leads out of the project)");
            ensure!(seen.stderr.contains(&warning), "{seen}");
        }
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
        let line = "./run.sh; cat caf*; cat read-only/file; ls socket pipe 2>&1; true";
        let seen = bash(lab, namespace, &project, line).await?;
        fs::set_permissions(project.file("read-only"), Permissions::from_mode(0o755))?;
        ensure!(seen.stdout.starts_with("ran\nlatinx"), "{seen}");
        ensure!(seen.stdout.matches("No such file").count() == 2, "{seen}");
        for warning in ["not sent: socket (a socket)", "not sent: pipe (a named pipe)"] {
            ensure!(seen.stderr.contains(warning), "{seen}");
        }
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
    const BLOCK: usize = 4096;
    // Written ones at both ends and around two gibibytes, and one of zeros.
    const LINE: &str = "stat -c %s big; for at in 0 1 524287 524288 1048575; do \
        dd if=big bs=4096 skip=$at count=1 status=none | sha256sum; done";
    with_namespace(async |lab, namespace| {
        let project = Project::empty()?;
        // Sparse here, so the test costs hardly any disk on this side.
        let big = File::create(project.file("big"))?;
        big.set_len(SIZE)?;
        for (fill, block) in (1_u8..).zip([0, 524_287, 524_288, 1_048_575]) {
            big.write_all_at(&[fill; BLOCK], block * BLOCK as u64)?;
        }
        let mut here = command("bash", OsStr::new("-c"));
        here.arg(LINE).current_dir(project.path());
        let here = run(here, Duration::from_secs(10)).await?.ok()?;
        ensure!(here.stdout.lines().collect::<HashSet<_>>().len() == 6, "all differ: {here}");
        assert_eq!(in_workspace(lab, namespace, &project, LINE).await?, here.stdout);
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

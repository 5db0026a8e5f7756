//! The whole project into a pod.
//!
//! Rivals: `kubectl cp`, `tar | kubectl exec … tar`, and `rsync -e ssh` to sshd through `kubectl port-forward`, each as its
//! documentation says, into a pod of the same image that already runs. ws does not copy into a pod that runs: it reads and
//! packs while the pod starts. So two things are compared. What the project costs: for ws, `ws up` of it less `ws up` of an
//! empty one. And what the user waits for in all: for ws, `ws up`; for the rivals, a bare pod's start through the API and the
//! copy.

use std::{fs, path::Path, time::Instant};

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use ws_tests::{lab::Lab, namespace::with_namespace, project::Project, ws::Ws};

use crate::{
    cold::start_bare_pod,
    report::{Bar, Report, Samples},
    rival::{POD, Rival},
};

/// Name, number of files, rounds: many for what takes little time and varies much.
const TREES: [(&str, usize, usize); 3] =
    [("1 file", 1, 9), ("1,500 files", 1_500, 9), ("50,000 files", 50_000, 3)];

/// The bare pod whose start is measured.
const BARE: &str = "bare";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let rival = Rival::start(lab, namespace).await?;
        let ws = Ws::new(lab, namespace)?;
        for (name, files, rounds) in TREES {
            let project = tree(files)?;
            compare(report, lab, namespace, (&rival, &ws), (name, &project, rounds)).await?;
        }
        Ok(())
    })
    .await
}

async fn compare(
    report: &mut Report,
    lab: &Lab,
    namespace: &str,
    (rival, ws): (&Rival, &Ws),
    (name, project, rounds): (&str, &Project, usize),
) -> Result<()> {
    let kubectl = format!(
        "{} --kubeconfig {} -n {namespace}",
        lab.program_path("kubectl").display(),
        lab.kubeconfig().display()
    );
    let folder = project.path().display();
    let lines = [
        ("kubectl cp", format!("{kubectl} cp {folder} {POD}:/tmp/target")),
        (
            "tar, kubectl exec",
            format!("tar c -C {folder} . | {kubectl} exec -i {POD} -- tar x -C /tmp/target"),
        ),
        ("rsync -e ssh", format!("rsync -a -e '{}' {folder}/ ws@127.0.0.1:/tmp/target/", rival.ssh())),
    ];
    let pods: Api<Pod> = Api::namespaced(lab.client().await?, namespace);
    let image = lab.workspace_image().await?;
    let (mut copies, mut starts_and_copies) = ([const { Samples::new() }; 3], [const { Samples::new() }; 3]);
    let (mut with, mut without) = (Samples::new(), Samples::new());
    let empty = Project::empty()?;
    for _ in 0..rounds {
        let start = Instant::now();
        start_bare_pod(&pods, BARE, &image).await?;
        let started = start.elapsed();
        lab.kubectl(&["-n", namespace, "delete", "pod", BARE]).await?.ok()?;
        for ((_, line), (copy, start_and_copy)) in
            lines.iter().zip(copies.iter_mut().zip(&mut starts_and_copies))
        {
            let clean =
                ["-n", namespace, "exec", POD, "--", "bash", "-c", "rm -rf /tmp/target; mkdir /tmp/target"];
            lab.kubectl(&clean).await?.ok()?;
            let start = Instant::now();
            rival.bash(line).await?.ok()?;
            let took = start.elapsed();
            copy.push_ms(took);
            start_and_copy.push_ms(started + took);
        }
        with.push_ms(up(ws, project.path()).await?);
        without.push_ms(up(ws, empty.path()).await?);
    }
    let ours = with.less(&without);
    for ((rival, _), copy) in lines.iter().zip(&copies) {
        report.ratio(&format!("upload, {name}"), "ms", (rival, copy), &ours, Some(Bar::Below(1.0)));
    }
    for ((rival, _), start_and_copy) in lines.iter().zip(&starts_and_copies) {
        report.ratio(&format!("start and upload, {name}"), "ms", (rival, start_and_copy), &with, None);
    }
    Ok(())
}

async fn up(ws: &Ws, folder: &Path) -> Result<std::time::Duration> {
    let start = Instant::now();
    ws.up("upload", folder).await?;
    let elapsed = start.elapsed();
    ws.run(&["down", "upload"]).await?.ok()?;
    Ok(elapsed)
}

/// A tree of source-like files, 100 in a folder, of 1 to 16 KiB.
fn tree(files: usize) -> Result<Project> {
    let project = Project::empty()?;
    for number in 0..files {
        let folder = project.path().join(format!("folder{}/sub{}", number / 1000, number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder)?;
        }
        let line =
            format!("fn function_{number}(argument: u32) -> u32 {{ argument.wrapping_mul({number}) }}\n");
        fs::write(folder.join(format!("file{number}.rs")), line.repeat(12 + number * 7919 % 200))?;
    }
    Ok(project)
}

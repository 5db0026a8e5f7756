//! From `ws down` to nothing of the session on the cluster.
//!
//! Rival: `kubectl delete pod` of a bare pod whose command, like the agent, ends when it is asked to.

use std::time::Instant;

use anyhow::Result;
use ws_tests::{
    namespace::with_namespace,
    pod::{bare_pod, changed},
    project::Project,
    ws::Ws,
};

use crate::report::{Bar, Report, Samples};

const ROUNDS: usize = 10;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let (mut bare, mut ours) = (Samples::new(), Samples::new());
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        let image = lab.workspace_image().await?;
        for _ in 0..ROUNDS {
            ws.up("destroy", project.path()).await?;
            let start = Instant::now();
            ws.run(&["down", "destroy"]).await?.ok()?;
            ours.push_ms(start.elapsed());

            let pod = bare_pod("destroy", &image, &["bash", "-c", "trap 'exit 0' TERM; sleep 600 & wait"]);
            // Kubernetes' default, as the pod's owner would have it.
            let pod = changed(pod, &[("/spec/terminationGracePeriodSeconds", 30.into())])?;
            lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &pod.to_string()).await?.ok()?;
            lab.kubectl(&["-n", namespace, "wait", "--for=condition=Ready", "pod/destroy"]).await?.ok()?;
            let start = Instant::now();
            lab.kubectl(&["-n", namespace, "delete", "pod", "destroy"]).await?.ok()?;
            bare.push_ms(start.elapsed());
        }
        Ok(())
    })
    .await?;
    report.ratio("destroy", "ms", ("kubectl delete pod", &bare), &ours, None);
    report.samples("destroy, median", "ms", &ours, Some(Bar::AtMost(2_000.0)));
    Ok(())
}

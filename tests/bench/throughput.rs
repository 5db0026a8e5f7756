//! Bytes a second through SSH, both ways, over the API server's port-forward.
//!
//! Rival: stock `ssh` and sshd of the same machine's OpenSSH, through `kubectl port-forward`: with the cipher that it prefers,
//! and with the one that ws prefers.

use std::time::Instant;

use anyhow::Result;
use ws_tests::{namespace::with_namespace, project::Project, ws::Ws};

use crate::{
    report::{Bar, Report, Samples},
    rival::Rival,
};

const ROUNDS: usize = 5;
const MEBIBYTES: u32 = 256;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let [mut ours_up, mut ours_down, mut up, mut down, mut gcm_up, mut gcm_down] =
        [const { Samples::new() }; 6];
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("bulk", Project::empty()?.path()).await?;
        let rival = Rival::start(lab, namespace).await?;
        let attach = format!(
            "HOME={} KUBECONFIG={} {} -n {namespace} attach bulk --",
            ws.home().display(),
            lab.kubeconfig().display(),
            lab.program("ws")?.display()
        );
        let ssh = format!("{} 127.0.0.1 -l ws", rival.ssh());
        let gcm = format!("{ssh} -c aes256-gcm@openssh.com");
        for _ in 0..ROUNDS {
            for (client, upward, downward) in [
                (&attach, &mut ours_up, &mut ours_down),
                (&ssh, &mut up, &mut down),
                (&gcm, &mut gcm_up, &mut gcm_down),
            ] {
                let zeros = format!("head -c {MEBIBYTES}M /dev/zero");
                upward.push(rate(&rival, &format!("{zeros} | {client} 'cat >/dev/null'")).await?);
                downward.push(rate(&rival, &format!("{client} '{zeros}' >/dev/null")).await?);
            }
        }
        Ok(())
    })
    .await?;
    let bar = Some(Bar::AtLeast(1.5));
    report.ratio("SSH, laptop to pod", "MB/s", ("OpenSSH, its cipher", &up), &ours_up, bar);
    report.ratio("SSH, pod to laptop", "MB/s", ("OpenSSH, its cipher", &down), &ours_down, bar);
    report.ratio("SSH, laptop to pod", "MB/s", ("OpenSSH, aes256-gcm", &gcm_up), &ours_up, bar);
    report.ratio("SSH, pod to laptop", "MB/s", ("OpenSSH, aes256-gcm", &gcm_down), &ours_down, bar);
    Ok(())
}

/// Megabytes a second of a line that carries [`MEBIBYTES`].
async fn rate(rival: &Rival, line: &str) -> Result<f64> {
    let start = Instant::now();
    rival.bash(line).await?.ok()?;
    Ok(f64::from(MEBIBYTES) * 1.048_576 / start.elapsed().as_secs_f64())
}

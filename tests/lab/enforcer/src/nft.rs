//! The kernel's side of the node: the settings that the rules need, and the program that loads them.

use std::{fs, process::Stdio};

use anyhow::{Context as _, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::ruleset::TABLE;

/// Packets between two ports of a bridge meet the hooks of the `inet` table only if this is `1`.
const BRIDGE_IS_FILTERED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// The types of ICMP messages that are limited, for each receiver and for all together.
const LIMITED_MESSAGES: &str = "/proc/sys/net/ipv4/icmp_ratemask";

/// Makes the network namespace one in which the rules work.
///
/// Every denied attempt is to be answered, not only the first few of a second, hence no limits.
pub(crate) fn prepare_node() -> anyhow::Result<()> {
    let filtered = fs::read_to_string(BRIDGE_IS_FILTERED).context("the kernel has no br_netfilter")?;
    ensure!(filtered.trim() == "1", "net.bridge.bridge-nf-call-iptables is off: pods would not be filtered");
    fs::write(LIMITED_MESSAGES, "0").context("could not set net.ipv4.icmp_ratemask")
}

/// Whether rules of an earlier run are in force.
pub(crate) async fn is_loaded() -> anyhow::Result<bool> {
    let mut list = Command::new("nft");
    list.args(["list", "table", "inet", TABLE]).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(list.status().await.context("could not run nft")?.success())
}

/// Loads a ruleset as a whole or not at all.
pub(crate) async fn load(ruleset: &str) -> anyhow::Result<()> {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut nft = nft.spawn().context("could not run nft")?;
    let mut input = nft.stdin.take().context("nft takes no input")?;
    input.write_all(ruleset.as_bytes()).await.context("nft does not read")?;
    drop(input);
    let output = nft.wait_with_output().await.context("could not wait for nft")?;
    ensure!(
        output.status.success(),
        "nft refused the rules: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

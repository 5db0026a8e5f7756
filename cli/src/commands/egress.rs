//! `ws egress`.

use std::time::Duration;

use tokio::time::timeout;
use ws_api::names::WorkspaceName;

use super::{Context, existing::find};
use crate::{
    cluster::Observed,
    decisions,
    dial::over,
    error::{Error, Kind},
    state::State,
};

/// How long the cluster may take to say that the workspace is over, once the connection to it broke.
const SAID_LIMIT: Duration = Duration::from_secs(5);

/// Show what the gateway allowed and denied a workspace, the last 256 decisions
///
/// The gateway itself answers, through the workspace, which cannot change what it says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the workspace [default: the only one of this project]
    #[arg(value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Keep printing new decisions
    #[arg(short, long)]
    follow: bool,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let cluster = context.cluster().await?;
    let state = State::open()?;
    let ui = &context.ui;
    let work = async {
        let existing = find(args.name.as_ref(), &cluster, &state).await?;
        let (connection, observed) = existing.connect(&cluster, ui).await?;
        ui.progress("asking the gateway");
        let shown = decisions::show(&connection, &observed.latest().workspace, args.follow, ui).await;
        connection.close().await;
        match shown {
            Ok(()) => Ok(0),
            Err(error) => Err(cause(&observed, error).await),
        }
    };
    context.interrupts.unless(work).await
}

/// The reason behind an error: a connection breaks when its workspace ends, which the cluster may say a little later.
async fn cause(observed: &Observed, error: Error) -> Error {
    if error.kind != Kind::Lost {
        return error;
    }
    let mut sight = observed.subscribe();
    drop(timeout(SAID_LIMIT, sight.wait_for(|sight| over(sight).is_some())).await);
    over(&observed.latest()).unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::{Cluster, told::stored_workspace};

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_because_the_workspace_ends_says_so() {
        let lost = || Error::lost("connection closed before message completed");
        let ended = "workspace `fix` was ended by someone or something else";
        let deleted = json!({"type": "DELETED", "object": stored_workspace()});
        for (events, error, expected) in [
            (Some((200, deleted.clone())), lost(), ended),
            (None, lost(), lost().message.as_str()),
            (Some((200, deleted)), Error::user("the gateway answered 503"), "the gateway answered 503"),
        ] {
            let cluster = Cluster::told(move |_| events.clone());
            let observed = cluster.observe(serde_json::from_value(stored_workspace()).unwrap());
            assert_eq!(cause(&observed, error).await.message, expected);
        }
    }
}

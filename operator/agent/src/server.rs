//! The SSH server of a workspace.
//!
//! ```text
//! listener ─▶ Severable ─▶ Unblocked ─▶ russh ─▶ Connection (who, which channel, what for)
//!                             │ Gate                │ Feed            one task a channel:
//!                             └──────────▶ Outlet ◀─┼───────────────  Program, forward or transfer
//!                                                   └─▶ Inbox ─────▶
//! ```
//!
//! [`connection`] only translates; what a channel does is done by its own task, so that no channel waits for another.

use std::{path::PathBuf, sync::Arc, time::Duration};

use russh::{keys::PrivateKey, server};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ws_ssh::{certificate::Authority, inbox::Store};

use crate::{
    accept, activity::Activity, gateway::Gateway, reaper::Reaper, session::environment::Environment,
    transfer::Project,
};

pub mod channel;
pub mod connection;
pub mod forward;
pub mod places;
pub mod severable;
pub mod variables;

use self::{
    connection::Connection,
    places::{Place, Places},
    severable::Severable,
};

/// Connections at a time. Whoever is not yet logged in counts.
const MAX_CONNECTIONS: usize = 64;
/// Time to log in.
const LOGIN: Duration = Duration::from_secs(10);

/// What a server needs to know.
pub struct Options {
    pub host_key: PrivateKey,
    pub authority: Authority,
    pub environment: Environment,
    pub gateway: Gateway,
    /// Folder for input that programs do not read.
    pub spool: PathBuf,
    /// The server's own port, to which nothing is forwarded.
    pub port: u16,
}

/// Serves SSH to whoever the authority lets in.
#[derive(Clone)]
pub struct Server {
    config: Arc<server::Config>,
    shared: Arc<Shared>,
    places: Arc<Places>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub authority: Authority,
    pub environment: Environment,
    pub gateway: Gateway,
    pub store: Store,
    pub port: u16,
    pub reaper: Arc<Reaper>,
    pub activity: Arc<Activity>,
    pub project: Project,
    pub tasks: TaskTracker,
}

impl Server {
    /// A server whose programs `reaper` waits for.
    pub fn new(options: Options, reaper: Arc<Reaper>) -> Self {
        let Options { host_key, authority, environment, gateway, spool, port } = options;
        let shared = Shared {
            authority,
            project: Project::new(environment.project()),
            environment,
            gateway,
            store: Store::in_directory(&spool),
            port,
            reaper,
            activity: Arc::default(),
            tasks: TaskTracker::new(),
        };
        Self {
            config: Arc::new(ws_ssh::server_config(host_key)),
            shared: Arc::new(shared),
            places: Arc::new(Places::new(MAX_CONNECTIONS)),
        }
    }

    /// Who is connected.
    pub fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.shared.activity)
    }

    /// Accepts connections for ever.
    pub async fn serve(&self, listener: TcpListener) {
        loop {
            let socket = accept::next(&listener).await;
            socket.set_nodelay(true).ok();
            let server = self.clone();
            self.shared.tasks.spawn(async move { server.connection(socket).await });
        }
    }

    /// Serves one connection to its end.
    pub async fn connection<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let cut = CancellationToken::new();
        // russh runs the connection in a task of its own, which ends with its stream.
        let _cut_when_dropped = cut.clone().drop_guard();
        let Some(place) = self.places.enter(cut.clone()) else {
            tracing::warn!("too many connections");
            return;
        };
        let stream = ws_ssh::unblocked(Severable::new(stream, cut.clone()));
        let (login, logged_in) = oneshot::channel();
        let handler = Connection::new(Arc::clone(&self.shared), stream.gate(), login);
        let run = async { server::run_stream(Arc::clone(&self.config), stream, handler).await?.await };
        tokio::pin!(run);
        let ended = tokio::select! {
            ended = &mut run => ended,
            () = overdue(logged_in, &place) => {
                cut.cancel();
                run.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Resolves if the login takes too long; a user keeps the place.
async fn overdue(logged_in: oneshot::Receiver<()>, place: &Place) {
    if let Ok(login) = timeout(LOGIN, logged_in).await {
        if login.is_ok() {
            place.keep();
        }
        std::future::pending::<()>().await;
    }
}
